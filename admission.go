package runpod

import (
	"container/list"
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
	waiting list.List // of chan struct{}, closed when its place is given
}

func newGate(limit int) *gate { return &gate{limit: limit} }

// acquire takes a place, or fails with the context's cause.
func (g *gate) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	g.mu.Lock()
	if g.held < g.limit && g.waiting.Len() == 0 {
		g.take()
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := g.waiting.PushBack(turn)
	g.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		g.leave(place, turn)
		return context.Cause(ctx)
	}
}

// leave ends a wait. A place that was given in the same instant goes on to the
// next in line.
func (g *gate) leave(place *list.Element, turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn:
		g.held--
	default:
		g.waiting.Remove(place)
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

// admit lets in as many as there is room for. The caller holds the lock.
func (g *gate) admit() {
	for g.held < g.limit && g.waiting.Len() > 0 {
		close(g.waiting.Remove(g.waiting.Front()).(chan struct{}))
		g.take()
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
	return g.held, g.peak, g.waiting.Len()
}
