package line

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"strings"
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

// Apart is [Guard] for a caller whose own goroutine must go on: it runs f on
// another one, waits for it, and returns its error.
func Apart(f func() error) (err error) {
	done := make(chan struct{})
	go Guard(f, func(e error) { err = e; close(done) })
	<-done
	return err
}

// GuardReader keeps a reader of other people's, which is read on goroutines of
// net/http's, from ending the process: what Read, Seek and Close do that is no
// error becomes one, see [Guard], and so does a count that no Read may return.
// It seeks if r does. The standard library's readers of memory are returned as
// they are: they cannot panic, and net/http sends what it knows to be one of them
// together with the header, in one packet.
func GuardReader(r io.ReadCloser) io.ReadCloser {
	if inMemory(r) {
		return r
	}
	if s, ok := r.(io.Seeker); ok {
		return &guardedSeeker{guarded{r}, s}
	}
	return &guarded{r}
}

// The two types that io.NopCloser returns.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// inMemory reports whether r reads from memory, by the types that net/http knows.
func inMemory(r io.Reader) bool {
	switch m := r.(type) {
	case *bytes.Reader:
		return m != nil
	case *bytes.Buffer:
		return m != nil
	case *strings.Reader:
		return m != nil
	}
	if t := reflect.TypeOf(r); t == nopCloser || t == nopCloserWriterTo {
		inner, _ := reflect.ValueOf(r).Field(0).Interface().(io.Reader)
		return inMemory(inner)
	}
	return false
}

type guarded struct{ r io.ReadCloser }

func (g *guarded) Read(p []byte) (n int, err error) {
	Guard(func() error { n, err = g.r.Read(p); return err }, func(e error) { err = e })
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("its Read returned %d for %d bytes", n, len(p))
	}
	return n, err
}

func (g *guarded) Close() (err error) {
	Guard(g.r.Close, func(e error) { err = e })
	return err
}

type guardedSeeker struct {
	guarded
	s io.Seeker
}

func (g *guardedSeeker) Seek(offset int64, whence int) (at int64, err error) {
	Guard(func() error { at, err = g.s.Seek(offset, whence); return err }, func(e error) { err = e })
	return at, err
}
