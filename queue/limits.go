package queue

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/gpuburst/runpod-go/internal/line"
)

const (
	// maxAtOnce is the most of any call that the service takes at once (Runpod
	// docs).
	maxAtOnce = 400
	// maxInFlight is more than the limits of all calls together.
	maxInFlight = 5 * maxAtOnce
	// maxHeld bounds the requests that the service holds until a job ends, so that
	// there is room for other calls beside them.
	maxHeld = maxAtOnce / 2
)

// limits are the service's rate limits by call, the first word of its path.
type limits map[string]*limit

// limit keeps one call within the service's rate limits, which are per endpoint:
// if several Clients use one endpoint, the service's 429 has the last word, and
// is obeyed.
type limit struct {
	pace *rate.Limiter
	gate *line.Gate // nil: no limit on how many at once
}

func newLimits() limits {
	return limits{
		"run":         newLimit(1000, 200),
		"runsync":     newLimit(2000, maxAtOnce),
		"status":      newLimit(2000, maxAtOnce),
		"status-sync": newLimit(2000, maxHeld), // of which the docs say nothing: like status
		"stream":      newLimit(2000, maxAtOnce),
		"cancel":      newLimit(100, 20),
		"purge-queue": newLimit(2, 0),
	}
}

// newLimit takes the documented limits: so many in any 10 s, so many at once. A
// tenth may go in a burst and the rest sets the pace, so that no 10 s have more.
func newLimit(perWindow, atOnce int) *limit {
	const window = 10 // s
	burst := max(1, perWindow/10)
	l := &limit{pace: rate.NewLimiter(rate.Limit(float64(perWindow-burst)/window), burst)}
	if atOnce > 0 {
		l.gate = line.NewGate(atOnce)
	}
	return l
}

// enter waits until a call is within its limit. Whoever entered calls leave once.
func (l *limit) enter(ctx context.Context) error {
	if l == nil {
		return nil
	}
	if err := l.pace.Wait(ctx); err != nil || l.gate == nil {
		return err
	}
	return l.gate.Acquire(ctx)
}

func (l *limit) leave() {
	if l != nil && l.gate != nil {
		l.gate.Release()
	}
}
