package line

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is returned by [Gate.AcquireAgain] if its closed channel ends the
// wait.
var ErrClosed = errors.New("closed while waiting in line")

// Gate admits at most a limit of holders at once. Callers that find it full
// wait, first come, first served. It is safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	limit   int
	held    int
	peak    int
	tickets int64
	first   *waiter // of the line
	last    *waiter
	waiting int
}

// waiter is a caller's position in the line.
type waiter struct {
	ticket     int64
	turn       chan struct{} // closed when its turn has come
	in         bool          // it stands in line
	prev, next *waiter
}

// NewGate returns a gate that admits limit holders.
func NewGate(limit int) *Gate { return &Gate{limit: limit} }

// Acquire waits until it is admitted. It returns the context's cause if that
// ends first. Whoever was admitted calls Release once.
func (g *Gate) Acquire(ctx context.Context) error {
	var ticket int64
	return g.AcquireAgain(ctx, nil, &ticket)
}

// AcquireAgain is Acquire for a caller that may come back: *ticket, 0 at first,
// records when it first came, and it stands in line by that. It returns
// ErrClosed if closed is closed while it waits; closed may be nil.
func (g *Gate) AcquireAgain(ctx context.Context, closed <-chan struct{}, ticket *int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := g.enter(ticket)
	if w == nil {
		return nil
	}
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		g.quit(w)
		return context.Cause(ctx)
	case <-closed:
		g.quit(w)
		return ErrClosed
	}
}

// enter admits the caller and returns nil, or puts it in line.
func (g *Gate) enter(ticket *int64) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if *ticket == 0 {
		g.tickets++
		*ticket = g.tickets
	}
	if g.held < g.limit && g.waiting == 0 {
		g.hold()
		return nil
	}
	w := &waiter{ticket: *ticket, turn: make(chan struct{})}
	g.join(w)
	g.admit()
	return w
}

// join puts a waiter in line, behind all that came before it. The lock is held,
// as in part, admit and hold.
func (g *Gate) join(w *waiter) {
	after := g.last
	for after != nil && after.ticket > w.ticket {
		after = after.prev
	}
	w.in, w.prev = true, after
	if after == nil {
		w.next, g.first = g.first, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		g.last = w
	} else {
		w.next.prev = w
	}
	g.waiting++
}

// part takes a waiter out of the line.
func (g *Gate) part(w *waiter) {
	if w.prev == nil {
		g.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		g.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.in = false
	g.waiting--
}

// quit ends a wait. If the waiter was admitted in the same instant, the next
// in line is admitted for it.
func (g *Gate) quit(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.in {
		g.part(w)
	} else {
		g.held--
	}
	g.admit()
}

// Release gives back what Acquire got.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held--
	g.admit()
}

// SetLimit changes how many are admitted at once. If more hold the gate now,
// nobody is admitted until enough have released it.
func (g *Gate) SetLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.admit()
}

// admit admits as many waiters as there is room for.
func (g *Gate) admit() {
	for g.held < g.limit && g.first != nil {
		w := g.first
		g.part(w)
		g.hold()
		close(w.turn)
	}
}

func (g *Gate) hold() {
	g.held++
	g.peak = max(g.peak, g.held)
}

// Counts returns how many hold the gate, the most that ever did, and how many
// wait.
func (g *Gate) Counts() (held, peak, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held, g.peak, g.waiting
}

// Limit returns how many are admitted at once.
func (g *Gate) Limit() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}
