package runpod

import (
	"context"
	"sync"
	"sync/atomic"
)

// lifetime knows what is in progress, so that closing can end it and wait for
// it: operations, whose contexts it ends, and calls, which watch done
// themselves, since a context for each would cost more than the rest of a call.
// The zero value belongs to a Client that was not made by New, and lets nothing
// begin.
type lifetime struct {
	ctx  context.Context // ends with the Client
	end  context.CancelFunc
	done <-chan struct{} // ctx's

	mu      sync.RWMutex
	stage   stage
	active  *operation    // the newest of a list
	changed chan struct{} // closed, and made anew, when busy or reading has become 0

	busy    atomic.Int64 // operations and calls in progress
	reading atomic.Int64 // answers whose bodies their callers read
	watched atomic.Bool  // somebody waits for changed
}

// stage is how far a Client's life is.
type stage uint8

const (
	stageUnmade stage = iota
	stageOpen
	stageDraining // nothing more begins
	stageClosed   // what was in progress is being ended
)

func newLifetime() *lifetime {
	l := &lifetime{stage: stageOpen, changed: make(chan struct{})}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.done = l.ctx.Done()
	return l
}

// enter lets a call begin; leave is its end.
func (l *lifetime) enter(ctx context.Context, op string) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.admits(ctx, op); err != nil {
		return err
	}
	l.busy.Add(1)
	return nil
}

func (l *lifetime) leave() { l.less(&l.busy) }

// read counts an answer's body in its caller's hands; unread is its end.
func (l *lifetime) read() { l.reading.Add(1) }

func (l *lifetime) unread() { l.less(&l.reading) }

// less takes one off a counter, and wakes who waits for it to become 0.
func (l *lifetime) less(counter *atomic.Int64) {
	if counter.Add(-1) > 0 || !l.watched.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// admits says why nothing can begin under a context; nil if it can. The lock is
// held.
func (l *lifetime) admits(ctx context.Context, op string) error {
	switch {
	case ctx == nil:
		return refuse(op, "ctx", "it is nil")
	case l.stage == stageUnmade:
		return errUnmade(op)
	case ctx.Err() != nil:
		return ended(ctx, op)
	case l.stage > stageOpen:
		return &Error{Op: op, Kind: ErrClosed}
	}
	return nil
}

func errUnmade(op string) error {
	return refuse(op, "Client", "it is nil or a zero value: make one with New")
}

// isClosed reports whether what is in progress is to end.
func (l *lifetime) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// bind returns a context that ends with ctx, and with [ErrClosed] when the Client
// is closed, for what a call waits for outside of us. Cancel it when done.
func (l *lifetime) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(ErrClosed) })
	return bound, func() { stop(); cancel(nil) }
}

// isEnding reports whether nothing more may begin.
func (l *lifetime) isEnding() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.stage > stageOpen
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admits(ctx, op); err != nil {
		return nil, err
	}
	o := &operation{life: l, older: l.active, waited: waited}
	o.Context, o.cancel = context.WithCancelCause(ctx)
	if o.older != nil {
		o.older.newer = o
	}
	l.active = o
	if waited {
		l.busy.Add(1)
	}
	return o, nil
}

// end ends the operation. It is called once.
func (o *operation) end() {
	o.cancel(nil)
	o.unlist()
	if o.waited {
		o.life.leave()
	}
}

func (o *operation) unlist() {
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
}

// drain lets nothing more begin. It may be called again.
func (l *lifetime) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drainLocked()
}

func (l *lifetime) drainLocked() {
	l.watched.Store(true)
	if l.stage == stageOpen {
		l.stage = stageDraining
	}
}

// close ends what is in progress and lets nothing more begin. It may be called
// again.
func (l *lifetime) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drainLocked()
	if l.stage == stageClosed {
		return
	}
	if l.stage != stageUnmade {
		l.stage = stageClosed
		l.end()
	}
	for o := l.active; o != nil; o = o.older {
		o.cancel(ErrClosed)
	}
}

// settle waits until nothing is in progress, bodies that callers read not
// counted.
func (l *lifetime) settle() { l.await(context.Background(), l.busy.Load) }

// drained waits until nothing is in progress and no body is read any more, or
// until ctx ends. It returns how many of them there are still.
func (l *lifetime) drained(ctx context.Context) int64 {
	return l.await(ctx, func() int64 { return l.busy.Load() + l.reading.Load() })
}

func (l *lifetime) await(ctx context.Context, count func() int64) int64 {
	for {
		l.mu.RLock()
		changed := l.changed
		l.mu.RUnlock()
		n := count()
		if n == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return count()
		}
	}
}
