package runpod

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"
)

// spending counts what wakes and holds cost together, against the cap of
// [WithMaxWorkerSeconds]. It is safe for concurrent use.
type spending struct {
	most   time.Duration // worker-time; 0: no cap
	logger *slog.Logger
	told   sync.Once
	over   chan struct{} // closed when the cap is reached

	mu    sync.Mutex
	spent time.Duration
}

func newSpending(most time.Duration, logger *slog.Logger) *spending {
	return &spending{most: most, logger: logger, over: make(chan struct{})}
}

// spend adds worker-time. It logs nothing, so that it may be called under a lock.
func (s *spending) spend(d time.Duration) {
	if s.most == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.spent
	s.spent += d
	if before < s.most && s.spent >= s.most {
		close(s.over)
	}
}

// capped reports whether the cap is reached.
func (s *spending) capped() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// lasts is how long so many workers can still be paid for.
func (s *spending) lasts(workers int) time.Duration {
	if s.most == 0 || workers < 1 {
		return math.MaxInt64
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.most-s.spent, 0)/time.Duration(workers) + 1 // not a moment too early, which would be looked at once more
}

// tell logs, once, that the cap is reached.
func (s *spending) tell() {
	s.told.Do(func() {
		s.logger.Warn("the cap of worker-seconds is reached: workers are let go, calls go on", slog.Float64("cap", s.most.Seconds()))
	})
}

// err is why no workers are woken or held any more.
func (s *spending) err(op string) *Error { return capReached(op, s.most) }

func capReached(op string, most time.Duration) *Error {
	return &Error{Op: op, Kind: ErrCapReached, Err: fmt.Errorf("%.0f worker-seconds", most.Seconds()),
		Advice: "raise WithMaxWorkerSeconds, or make another Client; calls go on without"}
}
