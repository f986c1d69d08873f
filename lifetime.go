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
	active  *operation // the newest of a list
	waiting sync.WaitGroup
}

// operation is one method's work, and its context: the caller's, ended early
// when the Client is closed.
type operation struct {
	context.Context
	caller context.Context
	cancel context.CancelCauseFunc
	life   *lifetime
	back   bool // its method has returned
	over   bool // it is not in the list any more

	newer, older *operation
}

func (l *lifetime) begin(ctx context.Context, op string) (*operation, error) {
	o := new(operation)
	if err := l.join(o, ctx); err != nil {
		err.Op = op
		return nil, err
	}
	return o, nil
}

// join begins an operation. It fails where the context has ended or the Client
// is closed.
func (l *lifetime) join(o *operation, ctx context.Context) *Error {
	if ctx.Err() != nil {
		return ended(ctx, "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &Error{Kind: ErrClosed}
	}
	o.life, o.caller = l, ctx
	o.Context, o.cancel = context.WithCancelCause(ctx)
	if o.older = l.active; o.older != nil {
		o.older.newer = o
	}
	l.active = o
	l.waiting.Add(1)
	return nil
}

// renew gives the operation a new context where the old one was ended for a
// reason of its own.
func (o *operation) renew() {
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	o.Context, o.cancel = context.WithCancelCause(o.caller)
	if o.life.closed {
		o.cancel(ErrClosed)
	}
}

// returned says that the method has returned, though its context lives on in a
// body that the caller reads.
func (o *operation) returned() {
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	o.leave()
}

// end ends the operation. It may be called again.
func (o *operation) end() {
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	o.leave()
	o.cancel(nil)
	if o.over {
		return
	}
	o.over = true
	if o.newer == nil {
		o.life.active = o.older
	} else {
		o.newer.older = o.older
	}
	if o.older != nil {
		o.older.newer = o.newer
	}
}

// leave stops the Client's closing from waiting. The caller holds the lock.
func (o *operation) leave() {
	if !o.back {
		o.back = true
		o.life.waiting.Done()
	}
}

func (l *lifetime) close() {
	l.mu.Lock()
	l.closed = true
	for o := l.active; o != nil; o = o.older {
		o.cancel(ErrClosed)
	}
	l.mu.Unlock()
	l.waiting.Wait()
}
