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
// wait: the highest priority first, and among equals first come, first served.
// Every eighth of those who waited is the one that came first of all, so that a
// low priority waits longer but not for ever. It is safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	limit   int
	held    int
	peak    int
	tickets int64
	first   *waiter // of the line
	last    *waiter
	waiting int
	turns   int // how many of those who waited were admitted
}

// fairTurn is how often the one that came first of all is admitted, whatever
// its priority.
const fairTurn = 8

// Ticket is a caller's claim to a place. It records when the caller first came,
// so that one that comes back stands where it would have.
type Ticket struct {
	Priority int // higher is sooner
	number   int64
}

// waiter is a caller's position in the line.
type waiter struct {
	ticket     Ticket
	turn       chan struct{} // closed when its turn has come
	in         bool          // it stands in line
	prev, next *waiter
}

// NewGate returns a gate that admits limit holders.
func NewGate(limit int) *Gate { return &Gate{limit: limit} }

// Acquire waits until it is admitted. It returns the context's cause if that
// ends first. Whoever was admitted calls Release once.
func (g *Gate) Acquire(ctx context.Context) error {
	return g.AcquireAgain(ctx, nil, &Ticket{})
}

// AcquireAgain is Acquire for a caller that may come back, with the same ticket.
// It returns ErrClosed if closed is closed while it waits; closed may be nil.
func (g *Gate) AcquireAgain(ctx context.Context, closed <-chan struct{}, ticket *Ticket) error {
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
func (g *Gate) enter(ticket *Ticket) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ticket.number == 0 {
		g.tickets++
		ticket.number = g.tickets
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

// before reports whether a stands in front of b.
func (a Ticket) before(b Ticket) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.number < b.number
}

// join puts a waiter in line. The lock is held, as in part, next, admit and hold.
func (g *Gate) join(w *waiter) {
	after := g.last
	for after != nil && w.ticket.before(after.ticket) {
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

// Release lets the next caller in. It is called once for each Acquire that returned
// nil.
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
		w := g.next()
		g.part(w)
		g.hold()
		close(w.turn)
	}
}

// next is whose turn it is.
func (g *Gate) next() *waiter {
	w := g.first
	if g.turns++; g.turns%fairTurn == 0 {
		for other := w.next; other != nil; other = other.next {
			if other.ticket.number < w.ticket.number {
				w = other
			}
		}
	}
	return w
}

func (g *Gate) hold() {
	g.held++
	g.peak = max(g.peak, g.held)
}

// Ahead returns how many stand in line in front of a ticket's holder; 0 if it is
// not in line.
func (g *Gate) Ahead(ticket *Ticket) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	ahead := 0
	for w := g.first; w != nil; w = w.next {
		if w.ticket.number == ticket.number {
			return ahead
		}
		ahead++
	}
	return 0
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
