package runpod

import (
	"container/list"
	"context"
	"sync"
)

// places are those of the S3 connection pool. A free one goes to the caller
// who holds the fewest, among equals to the one who has waited longest: thirty
// small files are not stuck behind the hundred parts of a large one. No lock
// is held while anybody waits. It is safe for concurrent use.
//
// The pool narrows while the gateway refuses (reported by users: 403 to a
// third of the requests at 16 at once, to none at 6) and widens again while
// things go well.
type places struct {
	mu      sync.Mutex
	size    int // never more
	limit   int // for now, 1 to size
	held    int
	peak    int
	waiting int
	lines   []list.List // lines[n]: the waiting callers that hold n places

	era  int // grows with each narrowing
	good int // answers since the limit last changed
}

// caller is whoever shares the pool fairly with the others: one upload, one
// download, one folder.
type caller struct {
	held  int
	turns list.List     // of chan turn, one for each place waited for
	place *list.Element // in the line it waits in; nil: it does not wait
}

// turn is the right to make one attempt.
type turn struct{ era int }

func newPlaces(size int) *places {
	return &places{size: size, limit: size, lines: make([]list.List, size+1)}
}

// acquire takes a place, or fails with the context's cause.
func (p *places) acquire(ctx context.Context, c *caller) (turn, error) {
	if ctx.Err() != nil {
		return turn{}, context.Cause(ctx)
	}
	p.mu.Lock()
	if p.held < p.limit && p.waiting == 0 {
		defer p.mu.Unlock()
		return p.take(c), nil
	}
	given := make(chan turn, 1)
	mine := c.turns.PushBack(given)
	p.waiting++
	p.line(c)
	p.mu.Unlock()

	select {
	case t := <-given:
		return t, nil
	case <-ctx.Done():
		p.leave(c, mine, given)
		return turn{}, context.Cause(ctx)
	}
}

// leave ends a wait. A place that was given in the same instant goes on to the
// next in line.
func (p *places) leave(c *caller, mine *list.Element, given chan turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-given:
		p.giveBack(c)
	default:
		c.turns.Remove(mine)
		p.waiting--
		p.line(c)
	}
}

// release gives a place back.
func (p *places) release(c *caller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBack(c)
}

// giveBack frees a place of c's and admits who comes next. The lock is held,
// as in all that follow.
func (p *places) giveBack(c *caller) {
	p.unline(c)
	c.held--
	p.held--
	p.line(c)
	p.admit()
}

func (p *places) admit() {
	for p.held < p.limit && p.waiting > 0 {
		c := p.next()
		given := c.turns.Remove(c.turns.Front()).(chan turn)
		p.waiting--
		p.unline(c)
		given <- p.take(c)
		p.line(c)
	}
}

func (p *places) take(c *caller) turn {
	c.held++
	p.held++
	p.peak = max(p.peak, p.held)
	return turn{p.era}
}

// next is the caller who holds the fewest places of those who wait.
func (p *places) next() *caller {
	for i := range p.lines {
		if front := p.lines[i].Front(); front != nil {
			return front.Value.(*caller)
		}
	}
	return nil
}

// line puts a caller at the end of its line, if it waits and stands in none;
// one that no longer waits leaves it.
func (p *places) line(c *caller) {
	switch {
	case c.turns.Len() == 0:
		p.unline(c)
	case c.place == nil:
		c.place = p.lines[c.held].PushBack(c)
	}
}

func (p *places) unline(c *caller) {
	if c.place != nil {
		p.lines[c.held].Remove(c.place)
		c.place = nil
	}
}

// refused narrows the pool to half: the gateway has refused, or lost, an
// attempt that was made in t. Attempts that were under way when it last
// narrowed say nothing new.
func (p *places) refused(t turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.era < p.era {
		return
	}
	p.era++
	p.limit, p.good = max(1, p.limit/2), 0
}

// answered widens the pool by one when as many attempts went well as it has
// places.
func (p *places) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == p.size {
		return
	}
	if p.good++; p.good >= p.limit {
		p.limit, p.good = p.limit+1, 0
		p.admit()
	}
}

// counts gives the places held, the most ever held, and who waits.
func (p *places) counts() (held, peak, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held, p.peak, p.waiting
}

type callerKey struct{}

// asCaller makes everything under the context one caller of the pool, unless
// it is one already.
func asCaller(ctx context.Context) context.Context {
	if ctx.Value(callerKey{}) != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, &caller{})
}

// callerFrom is the caller that a context belongs to; without one, a new one.
func callerFrom(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}
