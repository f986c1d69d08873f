package runpod

import (
	"context"
	"sync"
)

// gate lets at most limit holders in at once. Who waits is let in first come,
// first served, and stops waiting when its context ends. It is safe for
// concurrent use; no lock is held while anybody waits.
type gate struct {
	mu      sync.Mutex
	limit   int
	held    int
	peak    int
	tickets int64
	first   *waiter // of the line
	last    *waiter
	waiting int
}

// waiter is a place in line.
type waiter struct {
	ticket     int64
	turn       chan struct{} // closed when its turn has come
	in         bool          // it stands in line
	prev, next *waiter
}

func newGate(limit int) *gate { return &gate{limit: limit} }

// acquire takes a place, or fails with the context's cause.
func (g *gate) acquire(ctx context.Context) error {
	var ticket int64
	return g.acquireAgain(ctx, nil, &ticket)
}

// acquireAgain takes a place for one that may come back: its ticket, 0 at
// first, is when it first came, and it stands in line by that. The wait ends
// with ErrClosed when closed is.
func (g *gate) acquireAgain(ctx context.Context, closed <-chan struct{}, ticket *int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	g.mu.Lock()
	if *ticket == 0 {
		g.tickets++
		*ticket = g.tickets
	}
	if g.held < g.limit && g.waiting == 0 {
		g.take()
		g.mu.Unlock()
		return nil
	}
	w := &waiter{ticket: *ticket, turn: make(chan struct{})}
	g.join(w)
	g.admit()
	g.mu.Unlock()

	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		g.leave(w)
		return context.Cause(ctx)
	case <-closed:
		g.leave(w)
		return ErrClosed
	}
}

// join puts a waiter in line, behind all that came before it.
func (g *gate) join(w *waiter) {
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
func (g *gate) part(w *waiter) {
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

// leave ends a wait. A place that was given in the same instant goes on to the
// next in line.
func (g *gate) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.in {
		g.part(w)
	} else {
		g.held--
	}
	g.admit()
}

// release gives a place back.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held--
	g.admit()
}

// setLimit changes how many are let in; who is in stays in.
func (g *gate) setLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.admit()
}

// admit lets in as many as there is room for. The caller holds the lock.
func (g *gate) admit() {
	for g.held < g.limit && g.first != nil {
		w := g.first
		g.part(w)
		g.take()
		close(w.turn)
	}
}

func (g *gate) take() {
	g.held++
	g.peak = max(g.peak, g.held)
}

// counts gives the places held, the most ever held, and who waits.
func (g *gate) counts() (held, peak, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held, g.peak, g.waiting
}

// most is how many are let in.
func (g *gate) most() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}
