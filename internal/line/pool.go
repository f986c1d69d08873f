package line

import (
	"container/list"
	"context"
	"sync"
)

// Pool shares a number of places fairly. A free one goes to the [Sharer] that
// holds the fewest, among equals to the one that has waited longest: thirty
// small files are not stuck behind the hundred parts of a large one. It is safe
// for concurrent use.
//
// A pool narrows while its places are refused and widens again while things go
// well. A gateway was reported to answer 403 to a third of the requests at 16
// at once, and to none at 6.
type Pool struct {
	mu      sync.Mutex
	size    int // never more
	limit   int // for now, 1 to size
	held    int
	peak    int
	waiting int
	lines   []list.List // lines[n]: the waiting sharers that hold n places

	era  int // grows with each narrowing
	good int // answers since the limit last changed
}

// Sharer is one of those that share a pool fairly: an upload, a download, a
// folder. The zero value is ready; it serves one pool.
type Sharer struct {
	held  int
	turns list.List     // of chan Place, one for each place waited for
	spot  *list.Element // in the line it waits in; nil: it does not wait
}

// Place is the right to make one attempt.
type Place struct {
	pool   *Pool
	sharer *Sharer
	era    int
}

// NewPool returns a pool of size places.
func NewPool(size int) *Pool {
	return &Pool{size: size, limit: size, lines: make([]list.List, size+1)}
}

// Size returns how many places the pool has when it is not narrowed.
func (p *Pool) Size() int { return p.size }

// Limit returns how many places may be held for now.
func (p *Pool) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Acquire waits for a place. It returns the context's cause if that ends first.
func (p *Pool) Acquire(ctx context.Context, s *Sharer) (Place, error) {
	if ctx.Err() != nil {
		return Place{}, context.Cause(ctx)
	}
	p.mu.Lock()
	if p.held < p.limit && p.waiting == 0 {
		defer p.mu.Unlock()
		return p.grant(s), nil
	}
	given := make(chan Place, 1)
	mine := s.turns.PushBack(given)
	p.waiting++
	p.enlist(s)
	p.mu.Unlock()

	select {
	case place := <-given:
		return place, nil
	case <-ctx.Done():
		p.quit(s, mine, given)
		return Place{}, context.Cause(ctx)
	}
}

// quit ends a wait. A place that was given in the same instant goes on to the
// next in line.
func (p *Pool) quit(s *Sharer, mine *list.Element, given chan Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-given:
		p.giveBack(s)
	default:
		s.turns.Remove(mine)
		p.waiting--
		p.enlist(s)
	}
}

// Release returns the place to the pool. It must be called once.
func (pl Place) Release() {
	pl.pool.mu.Lock()
	defer pl.pool.mu.Unlock()
	pl.pool.giveBack(pl.sharer)
}

// giveBack frees a place of s and admits who comes next. The lock is held, as
// in all that follow.
func (p *Pool) giveBack(s *Sharer) {
	p.delist(s)
	s.held--
	p.held--
	p.enlist(s)
	p.admit()
}

func (p *Pool) admit() {
	for p.held < p.limit && p.waiting > 0 {
		s := p.neediest()
		given := s.turns.Remove(s.turns.Front()).(chan Place)
		p.waiting--
		p.delist(s)
		given <- p.grant(s)
		p.enlist(s)
	}
}

func (p *Pool) grant(s *Sharer) Place {
	s.held++
	p.held++
	p.peak = max(p.peak, p.held)
	return Place{p, s, p.era}
}

// neediest returns the sharer that holds the fewest places of those that wait.
func (p *Pool) neediest() *Sharer {
	for i := range p.lines {
		if front := p.lines[i].Front(); front != nil {
			return front.Value.(*Sharer)
		}
	}
	return nil
}

// enlist puts a sharer at the end of its line if it waits and stands in none;
// one that no longer waits leaves its line.
func (p *Pool) enlist(s *Sharer) {
	switch {
	case s.turns.Len() == 0:
		p.delist(s)
	case s.spot == nil:
		s.spot = p.lines[s.held].PushBack(s)
	}
}

func (p *Pool) delist(s *Sharer) {
	if s.spot != nil {
		p.lines[s.held].Remove(s.spot)
		s.spot = nil
	}
}

// Refused narrows the pool to half, because the attempt made in this place was
// refused or lost. Attempts that were under way when the pool last narrowed say
// nothing new and change nothing.
func (pl Place) Refused() {
	p := pl.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.era < p.era {
		return
	}
	p.era++
	p.limit, p.good = max(1, p.limit/2), 0
}

// Answered notes that the attempt made in this place went well. The pool widens
// by one when as many did as it has places.
func (pl Place) Answered() {
	p := pl.pool
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

// Counts returns how many places are held, the most that ever were, and how
// many are waited for.
func (p *Pool) Counts() (held, peak, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held, p.peak, p.waiting
}
