package queue

import (
	"sync"
	"time"
)

// recent knows which jobs this process has queued a moment ago. A 404 about one
// of them means that the service does not know it yet, not that it has expired.
type recent struct {
	mu    sync.Mutex
	at    map[string]time.Time
	order []string // by when they were queued; the oldest first
}

// note records that a job was queued, and drops those older than keep.
func (r *recent) note(id string, now time.Time, keep time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[string]time.Time{}
	}
	for len(r.order) > 0 && now.Sub(r.at[r.order[0]]) >= keep {
		delete(r.at, r.order[0])
		r.order = r.order[1:]
	}
	r.at[id], r.order = now, append(r.order, id)
}

// has reports whether a job was queued less than within ago.
func (r *recent) has(id string, now time.Time, within time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.at[id]
	return ok && now.Sub(at) < within
}
