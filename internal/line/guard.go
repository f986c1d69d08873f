package line

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrGoexit says that a function ended its goroutine by runtime.Goexit, as
// t.FailNow does.
var ErrGoexit = errors.New("it called runtime.Goexit, as t.FailNow does")

// Panic is the error that a panic has become.
type Panic struct {
	Value any    // what panic was called with
	Stack []byte // the goroutine's, as runtime/debug.Stack prints it
}

// Error is the value and the stack.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Guard runs f, which calls other people's code on a goroutine of ours, and
// then done with its error: once, whatever f does. A panic, which nobody else
// could recover there, becomes a [*Panic]; runtime.Goexit, which goes on to end
// the goroutine, becomes [ErrGoexit].
func Guard(f func() error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{Value: v, Stack: debug.Stack()}
		}
		done(err)
	}()
	err = f()
}
