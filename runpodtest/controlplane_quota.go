package runpodtest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// quotas are how many requests the control plane takes in each window.
type quotas struct {
	cfg *Config
	mu  sync.Mutex
	all [2]quota
}

// quota is so many requests in a window, which begins with its first one.
type quota struct {
	name   string
	limit  int
	window time.Duration
	used   int
	until  time.Time
}

// hourly is how many minutes' worth of requests an hour allows. The docs show
// that there is a quota by the hour, not which: inferred.
const hourly = 20

func newQuotas(cfg *Config) *quotas {
	return &quotas{cfg: cfg, all: [2]quota{
		{name: "minute", limit: cfg.ControlPerMinute, window: time.Minute},
		{name: "hour", limit: hourly * cfg.ControlPerMinute, window: time.Hour},
	}}
}

// admit counts a request against the quotas and writes their headers. Times in
// them are whole seconds of the client's time.
func (q *quotas) admit(h http.Header) (ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, wait := time.Now(), 0
	var state, policy []string
	for i := range q.all {
		one := &q.all[i]
		left := one.spend(now, q.cfg)
		if one.used > one.limit {
			wait = max(wait, left)
		}
		state = append(state, fmt.Sprintf("%q;r=%d;t=%d", one.name, max(0, one.limit-one.used), left))
		policy = append(policy, fmt.Sprintf("%q;q=%d;w=%d", one.name, one.limit, int(one.window.Seconds())))
	}
	h.Set("RateLimit", strings.Join(state, ", "))
	h.Set("RateLimit-Policy", strings.Join(policy, ", "))
	if wait > 0 {
		h.Set("Retry-After", fmt.Sprint(wait))
	}
	return wait == 0
}

// spend counts a request and returns how many seconds the window has left.
func (q *quota) spend(now time.Time, cfg *Config) (left int) {
	if !now.Before(q.until) {
		q.used, q.until = 0, now.Add(cfg.real(q.window))
	}
	q.used++
	return int((q.until.Sub(now) + time.Second - 1) / time.Second)
}
