package queue

import (
	"context"
	"sync"

	"github.com/gpuburst/runpod-go"
)

// life knows who waits for something, so that closing can end the waits and
// return after them. Calls that are under way are the runpod.Client's.
type life struct {
	mu     sync.Mutex
	ctx    context.Context // ends with the Client
	end    context.CancelCauseFunc
	closed bool
	waits  sync.WaitGroup
}

func newLife() *life {
	l := new(life)
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

// during runs wait in a context that ends with the caller's and with the Client.
// Its error is that of op.
func (l *life) during(ctx context.Context, op string, wait func(context.Context) error) error {
	if !l.begin() {
		return &runpod.Error{Op: op, Kind: runpod.ErrClosed}
	}
	defer l.waits.Done()
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(runpod.ErrClosed) })()
	if err := wait(own); err != nil {
		return waitEnded(own, op, err)
	}
	return nil
}

func (l *life) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.waits.Add(1)
	}
	return !l.closed
}

// close ends the waits. Those who waited may still be returning.
func (l *life) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.end(runpod.ErrClosed)
}
