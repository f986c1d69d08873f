package runpodtest

import (
	"context"
	"slices"
	"time"
)

// crew is the endpoint's living workers and their bills. The balancer's lock
// guards it.
type crew struct {
	cfg       *Config
	ledger    *ledger
	volumeDir string
	crash     func(*worker)   // ends a worker, without the lock
	ctx       context.Context // ends with the server
	hired     int             // workers ever asked for
	workers   []*worker
	stopped   map[string]bool // ids of workers that scaled down and could resume
}

// hire makes a worker that the autoscaler asked for. id is "" for a new one, or
// that of a stopped one that is resumed.
func (c *crew) hire(id string) *worker {
	c.hired++
	n := c.hired
	if id == "" {
		id = name(c.cfg.Seed, drawName, n, 14)
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	w := &worker{
		Worker: Worker{ID: id, Number: n, VolumeDir: c.volumeDir, Context: ctx},
		cancel: cancel,
		since:  time.Now(),
		favour: draw(c.cfg.Seed, drawPreference, n).Float64(),
		life:   &WorkerLife{Number: n, ID: id},
	}
	w.Crash = func() { c.crash(w) }
	w.unhealthy = draw(c.cfg.Seed, drawUnhealthy, n).Float64() < c.cfg.UnhealthyRate
	w.life.Unhealthy = w.unhealthy
	c.ledger.hire(w.life)
	c.workers = append(c.workers, w)
	delete(c.stopped, id)
	return w
}

// enter moves a worker to another phase and books the one it leaves.
func (c *crew) enter(w *worker, next phase) {
	now := time.Now()
	spent := c.cfg.service(now.Sub(w.since))
	c.ledger.note(func() {
		switch w.phase {
		case starting:
			w.life.Starting += spent
		case idle:
			w.life.Idle += spent
		case busy:
			w.life.Busy += spent
		}
		w.life.Served = w.served
	})
	w.phase, w.since = next, now
}

// dismiss ends a worker.
func (c *crew) dismiss(w *worker, end string, cause error) {
	if w.phase == dead {
		return
	}
	w.alarm.stop()
	w.health.stop()
	c.enter(w, dead)
	c.ledger.note(func() { w.life.End, w.life.Stopped = end, c.ledger.since() })
	w.cancel(cause)
	if i := slices.Index(c.workers, w); i >= 0 {
		c.workers = append(c.workers[:i:i], c.workers[i+1:]...)
	}
	if cause == errStopped {
		c.stopped[w.ID] = true
	}
}

// settle books what living workers have cost up to now.
func (c *crew) settle() {
	for _, w := range c.workers {
		c.enter(w, w.phase)
	}
}

// member returns the living worker of that id, or nil.
func (c *crew) member(id string) *worker {
	for _, w := range c.workers {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// occupied is how many workers have a GPU.
func (c *crew) occupied() (n int) {
	for _, w := range c.workers {
		if w.phase != throttled {
			n++
		}
	}
	return n
}

// anyFree reports whether some worker can take a request now.
func (c *crew) anyFree() bool {
	for _, w := range c.workers { // asked for every request: no closure
		if w.free(c.cfg.Concurrency) {
			return true
		}
	}
	return false
}

// choose returns the free worker that the request should get, or nil.
func (c *crew) choose(a affinity) *worker {
	var best *worker
	for _, w := range c.workers {
		if !w.free(c.cfg.Concurrency) {
			continue
		}
		if w.ID == a.worker {
			return w
		}
		if !a.strict && (best == nil || c.cfg.Routing.less(w.candidate(), best.candidate())) {
			best = w
		}
	}
	return best
}

// census counts the workers in the words of the job API's health call.
func (c *crew) census() map[string]int {
	n := map[string]int{"idle": 0, "initializing": 0, "ready": 0, "running": 0, "throttled": 0, "unhealthy": 0}
	for _, w := range c.workers {
		switch {
		case w.unhealthy || w.unwell:
			n["unhealthy"]++
		case w.phase == throttled:
			n["throttled"]++
		case w.phase == starting:
			n["initializing"]++
		case w.phase == idle:
			n["idle"]++
			n["ready"]++
		case w.phase == busy:
			n["running"]++
		}
	}
	return n
}
