package runpod

import (
	"sync"
	"sync/atomic"
	"time"
)

// budget is a token bucket for retries: each takes a token, and where none is
// left it waits until one comes. It never fails a call. Pure: the time is told.
type budget struct {
	size   float64
	refill time.Duration // the time in which one token comes
	tokens float64       // below zero: promised to retries that wait for them
	last   time.Time
}

// earned is what an answer by a worker puts into the budget for troubles:
// retries may be a fifth of the traffic for ever (Finagle's retry budget; gRPC's
// tokenRatio and the AWS retryers' refund are of that kind).
const earned = 0.2

func newBudget(size float64, refill time.Duration) *budget {
	return &budget{size: size, refill: max(refill, 1), tokens: size}
}

// spend takes a token and returns how long to wait for it.
func (b *budget) spend(now time.Time) time.Duration {
	b.fill(now)
	b.tokens--
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens * float64(b.refill))
}

// earn adds to the bucket, which holds no more than its size.
func (b *budget) earn(tokens float64) { b.tokens = min(b.size, b.tokens+tokens) }

func (b *budget) fill(now time.Time) {
	if !b.last.IsZero() {
		b.earn(float64(now.Sub(b.last)) / float64(b.refill))
	}
	b.last = now
}

// budgets pay for retries: one for those on trouble, one for those that a
// refusal of the balancer asks for.
type budgets struct {
	spent   atomic.Bool // something was taken from trouble
	mu      sync.Mutex
	trouble *budget
	cold    *budget
}

// left returns how many tokens there are for retries on trouble. A retry that
// waits for one makes them fewer than none.
func (b *budgets) left(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble.fill(now)
	return b.trouble.tokens
}

// newBudgets sizes the budget for refusals by the backoff itself: it pays for
// what as many calls as may be in flight send while they all back off, and so
// bounds what more calls than that can send.
func newBudgets(inFlight int, p RetryPolicy) *budgets {
	b := &budgets{trouble: newBudget(float64(p.BudgetSize), 0), cold: newBudget(5*float64(inFlight), 0)}
	b.sizeFor(inFlight, p)
	return b
}

// sizeFor makes the budgets those of so many calls in flight. What was spent
// stays spent.
func (b *budgets) sizeFor(inFlight int, p RetryPolicy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := float64(inFlight)
	b.trouble.refill = max(p.BudgetRefill, 1)
	if p.BudgetRefill == 0 {
		b.trouble.refill = max(time.Duration(float64(p.MaxBackoff)/n), 1)
	}
	b.cold.tokens += 5*n - b.cold.size
	b.cold.size, b.cold.refill = 5*n, max(time.Duration(float64(p.MaxBackoff)/2/n), 1)
}

// charge pays for a retry and returns how long the payment takes. A refusal that
// has waited its 2 minutes has paid by waiting.
func (b *budgets) charge(now time.Time, d *decision) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !d.cold:
		b.spent.Store(true)
		return b.trouble.spend(now)
	case d.verdict != VerdictRetryNow:
		return b.cold.spend(now)
	}
	return 0
}

// refund gives back what was paid for a retry that is not made, and had this
// verdict.
func (b *budgets) refund(d *decision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !d.cold:
		b.trouble.earn(1)
	case d.verdict != VerdictRetryNow:
		b.cold.earn(1)
	}
}

// reward puts an answer's share into the budget for troubles. Nearly always that
// is full, and nobody needs the lock.
func (b *budgets) reward() {
	if !b.spent.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble.earn(earned)
	b.spent.Store(b.trouble.tokens < b.trouble.size)
}
