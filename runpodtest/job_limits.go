package runpodtest

import (
	"maps"
	"sync"
	"time"
)

// jobLimits are the rate limits (Runpod docs): so many requests of an operation
// in any 10 s, and so many at once.
type jobLimits struct {
	cfg     *Config
	mu      sync.Mutex
	ops     map[string]*jobLimit
	calls   map[string]int
	limited int
}

type jobLimit struct {
	perWindow, atOnce int
	recent            []time.Time // of the requests in the last window
	now               int
}

// jobWindow is what the limits are counted over.
const jobWindow = 10 * time.Second

func newJobLimits(cfg *Config) *jobLimits {
	return &jobLimits{cfg: cfg, calls: map[string]int{}, ops: map[string]*jobLimit{
		"runsync": {perWindow: 2000, atOnce: 400}, "run": {perWindow: 1000, atOnce: 200},
		"status": {perWindow: 2000, atOnce: 400}, "status-sync": {perWindow: 2000, atOnce: 400},
		"stream": {perWindow: 2000, atOnce: 400}, "cancel": {perWindow: 100, atOnce: 20},
		"purge-queue": {perWindow: 2},
	}}
}

// enter counts a request, and says how long to stay away if it is one too many;
// leave is its end.
func (l *jobLimits) enter(op string, now time.Time) (leave func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[op]++
	limit := l.ops[op]
	if limit == nil {
		return nil, 0
	}
	window := l.cfg.real(jobWindow)
	for len(limit.recent) > 0 && now.Sub(limit.recent[0]) >= window {
		limit.recent = limit.recent[1:]
	}
	switch {
	case len(limit.recent) >= limit.perWindow:
		l.limited++
		return nil, window - now.Sub(limit.recent[0])
	case limit.atOnce > 0 && limit.now >= limit.atOnce:
		l.limited++
		return nil, l.cfg.real(time.Second)
	}
	limit.recent = append(limit.recent, now)
	limit.now++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		limit.now--
	}, 0
}

func (l *jobLimits) counts() (map[string]int, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.calls), l.limited
}
