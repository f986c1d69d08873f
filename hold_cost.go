package runpod

import (
	"sync"
	"time"
)

// holdCost counts what a Client's holds cost, against its cap. It is safe for
// concurrent use.
type holdCost struct {
	spending *spending

	mu    sync.Mutex
	extra map[string]int // workers beyond what was there before, by the hold's id
	spent time.Duration  // worker-time up to since
	since time.Time
}

func newHoldCost(s *spending) *holdCost {
	return &holdCost{spending: s, extra: map[string]int{}}
}

// enlist counts a hold from now on.
func (c *holdCost) enlist(r HoldRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	c.extra[r.ID] = r.Workers - r.Before
}

// strike counts a hold no longer, and reports false if it was not counted.
func (c *holdCost) strike(r HoldRecord) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	_, counted := c.extra[r.ID]
	delete(c.extra, r.ID)
	return counted
}

// settle books what has been held up to now. The caller holds the lock.
func (c *holdCost) settle() {
	now := time.Now()
	d := now.Sub(c.since) * time.Duration(c.held())
	c.spent += d
	c.spending.spend(d)
	c.since = now
}

// held is how many workers are held beyond what was there before. The caller
// holds the lock.
func (c *holdCost) held() (n int) {
	for _, extra := range c.extra {
		n = max(n, extra)
	}
	return n
}

// lasts is how long the cap allows what is held now.
func (c *holdCost) lasts() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	return c.spending.lasts(c.held())
}

// totals returns the workers held now, and the worker-seconds held so far.
func (c *holdCost) totals() (workers int, seconds float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	return c.held(), c.spent.Seconds()
}
