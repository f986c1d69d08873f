package runpod

import (
	"context"
	"sync"
)

// lifetime knows what is in progress, so that closing can end it and wait for
// it: operations, whose contexts it ends, and calls, which watch done
// themselves, since a context for each would cost more than the rest of a call.
type lifetime struct {
	mu      sync.RWMutex
	closed  bool
	done    chan struct{} // closed with the Client
	active  *operation    // the newest of a list
	waiting sync.WaitGroup
}

func newLifetime() *lifetime { return &lifetime{done: make(chan struct{})} }

// enter lets a call begin, unless its context has ended or the Client is closed;
// leave is its end.
func (l *lifetime) enter(ctx context.Context, op string) error {
	if err := unfit(ctx, op); err != nil {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return &Error{Op: op, Kind: ErrClosed}
	}
	l.waiting.Add(1)
	return nil
}

func (l *lifetime) leave() { l.waiting.Done() }

// unfit says why nothing can begin under a context; nil if it can.
func unfit(ctx context.Context, op string) error {
	switch {
	case ctx == nil:
		return refuse(op, "ctx", "it is nil")
	case ctx.Err() != nil:
		return ended(ctx, op)
	}
	return nil
}

// isClosed reports whether done is closed.
func (l *lifetime) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// operation is one method's work, and its context: the caller's, ended early
// when the Client is closed.
type operation struct {
	context.Context
	cancel context.CancelCauseFunc
	life   *lifetime
	waited bool // closing waits for its end
	newer  *operation
	older  *operation
}

// begin begins an operation that closing ends and waits for. It fails if the
// context has ended or the Client is closed.
func (l *lifetime) begin(ctx context.Context, op string) (*operation, error) {
	return l.open(ctx, op, true)
}

// follow begins an operation that closing ends but does not wait for: the
// caller's own code runs within it, and may be what closes the Client.
func (l *lifetime) follow(ctx context.Context, op string) (*operation, error) {
	return l.open(ctx, op, false)
}

func (l *lifetime) open(ctx context.Context, op string, waited bool) (*operation, error) {
	if err := unfit(ctx, op); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, &Error{Op: op, Kind: ErrClosed}
	}
	o := &operation{life: l, older: l.active, waited: waited}
	o.Context, o.cancel = context.WithCancelCause(ctx)
	if o.older != nil {
		o.older.newer = o
	}
	l.active = o
	if waited {
		l.waiting.Add(1)
	}
	return o, nil
}

// end ends the operation. It is called once.
func (o *operation) end() {
	o.cancel(nil)
	o.life.mu.Lock()
	defer o.life.mu.Unlock()
	if o.newer == nil {
		o.life.active = o.older
	} else {
		o.newer.older = o.older
	}
	if o.older != nil {
		o.older.newer = o.newer
	}
	if o.waited {
		o.life.waiting.Done()
	}
}

// close ends what is in progress and lets nothing more begin. It may be called
// again.
func (l *lifetime) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	for o := l.active; o != nil; o = o.older {
		o.cancel(ErrClosed)
	}
}
