package runpod

import "time"

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

// take takes a token and says how long to wait for it.
func (b *budget) take(now time.Time) time.Duration {
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
