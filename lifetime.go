package runpod

import (
	"context"
	"sync"
)

// lifetime knows the operations in progress, so that closing can end them and
// wait for them.
type lifetime struct {
	mu      sync.Mutex
	closed  bool
	active  map[*operation]struct{}
	waiting sync.WaitGroup
}

func newLifetime() *lifetime { return &lifetime{active: map[*operation]struct{}{}} }

// operation is one method's work, and its context: the caller's, ended early
// when the Client is closed.
type operation struct {
	context.Context
	cancel context.CancelCauseFunc
	life   *lifetime
	back   bool // returned was called
}

func (l *lifetime) begin(ctx context.Context, op string) (*operation, error) {
	if ctx.Err() != nil {
		return nil, ended(ctx, op)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, &Error{Op: op, Kind: ErrClosed}
	}
	o := &operation{life: l}
	o.Context, o.cancel = context.WithCancelCause(ctx)
	l.active[o] = struct{}{}
	l.waiting.Add(1)
	return o, nil
}

// returned says that the method has returned, though its context lives on in a
// body that the caller reads.
func (o *operation) returned() {
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	if !o.back {
		o.back = true
		o.life.waiting.Done()
	}
}

// end ends the operation. It may be called again.
func (o *operation) end() {
	o.returned()
	o.cancel(nil)
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	delete(o.life.active, o)
}

func (l *lifetime) close() {
	l.mu.Lock()
	l.closed = true
	for o := range l.active {
		o.cancel(ErrClosed)
	}
	l.mu.Unlock()
	l.waiting.Wait()
}
