package runpodtest

import (
	"fmt"
	"time"
)

// ScalerType is the rule by which an endpoint decides how many workers it wants.
type ScalerType uint8

const (
	// RequestCount wants ceil((queued + in progress) / value) workers (Runpod
	// docs: what load-balancing endpoints use).
	RequestCount ScalerType = iota
	// QueueDelay wants one worker for every request in progress and for every one
	// that has waited for value seconds. Runpod documents the idea; this formula
	// is inferred.
	QueueDelay
)

func (t ScalerType) String() string {
	switch t {
	case RequestCount:
		return "REQUEST_COUNT"
	case QueueDelay:
		return "QUEUE_DELAY"
	}
	return fmt.Sprintf("ScalerType(%d)", uint8(t))
}

// demand is what the autoscaler looks at.
type demand struct {
	queued     int // requests waiting for a worker
	overdue    int // of these, how many have waited for ScalerValue seconds
	inProgress int
}

// wanted is how many workers the rule asks for, within the bounds.
func wanted(rule ScalerType, value int, d demand, minWorkers, maxWorkers int) int {
	n := d.inProgress + d.overdue
	if rule == RequestCount {
		n = (d.queued + d.inProgress + value - 1) / value
	}
	return min(max(n, minWorkers), maxWorkers)
}

// rescale brings the number of workers to what the rule wants. The caller holds
// the lock.
func (b *balancer) rescale() {
	if b.closed {
		return
	}
	want := wanted(b.scalerType, b.scalerValue, b.demand(), b.min, b.max)
	for len(b.workers) < want {
		b.start(b.newWorker(""))
	}
	b.shed(want)
	b.grantCapacity()
	b.armIdle(want)
	b.armScaler()
	b.ledger.note(func() { b.ledger.peakWorkers = max(b.ledger.peakWorkers, b.occupied()) })
}

// start begins a worker's cold start, if there is a GPU for it.
func (b *balancer) start(w *worker) {
	if b.capacity == 0 || b.occupied() < b.capacity {
		b.begin(w, b.coldStart(w))
	}
}

// restartPause is the least time between a start that crashed and the next one:
// without it, and with cold starts of no length, time would stand still.
const restartPause = 5 * time.Second

func (b *balancer) coldStart(w *worker) time.Duration {
	d := b.cfg.ColdStart.at(b.cfg.Seed, drawColdStart, w.Number)
	if b.failing {
		d = max(d, restartPause)
	}
	return b.cfg.real(d)
}

// occupied is how many workers have a GPU.
func (b *balancer) occupied() (n int) {
	for _, w := range b.workers {
		if w.phase != throttled {
			n++
		}
	}
	return n
}

// grantCapacity starts throttled workers, oldest first, while GPUs are free.
func (b *balancer) grantCapacity() {
	if b.capacity == 0 {
		return
	}
	for _, w := range b.workers {
		if w.phase == throttled {
			b.start(w)
		}
	}
}

// shed drops workers above want that have not begun to serve, newest first, and
// above the maximum idle ones too.
func (b *balancer) shed(want int) {
	for i := len(b.workers) - 1; i >= 0 && len(b.workers) > want; i-- {
		w := b.workers[i]
		over := len(b.workers) > b.max
		switch {
		case w.pinned && !over:
		case w.phase == throttled, w.phase == starting && (over || b.cfg.CancelStarting):
			b.remove(w, "cancelled", errStopped)
		case w.phase == idle && over:
			b.remove(w, "scaled down", errStopped)
		}
	}
}

// armIdle sets the idle timeout of workers that are not wanted any more.
func (b *balancer) armIdle(want int) {
	if len(b.workers) <= want {
		return
	}
	for _, w := range b.workers {
		if w.phase == idle && w.alarm == nil {
			left := time.Until(w.idleSince.Add(b.cfg.real(b.idleTimeout)))
			w.alarm = b.after(max(left, 0), func() { b.idled(w) })
		}
	}
}

// idled stops a worker whose idle timeout has passed, if there are still more
// workers than wanted. Otherwise rescale sets the timeout again when there are.
func (b *balancer) idled(w *worker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || w.phase != idle || w.alarm == nil {
		return
	}
	w.alarm = nil
	want := wanted(b.scalerType, b.scalerValue, b.demand(), b.min, b.max)
	if len(b.workers) > want {
		b.remove(w, "scaled down", errStopped)
		b.dispatch()
		b.rescale()
	}
}

// demand is what the autoscaler sees now.
func (b *balancer) demand() demand {
	d := demand{queued: b.queued, inProgress: b.inProgress}
	if b.scalerType == QueueDelay {
		d.overdue, _ = b.overdue()
	}
	return d
}

// overdue is how many requests have waited for ScalerValue seconds, and when the
// next one will have (zero: none waits).
func (b *balancer) overdue() (n int, next time.Time) {
	patience := b.cfg.real(time.Duration(b.scalerValue) * time.Second)
	now := time.Now()
	for e := b.queue.Front(); e != nil; e = e.Next() {
		wt := e.Value.(*waiter)
		due := wt.since.Add(patience)
		switch {
		case wt.free:
		case !due.After(now):
			n++
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	return n, next
}

// armScaler makes the queue-delay rule look again when the next request has
// waited long enough.
func (b *balancer) armScaler() {
	if b.scalerType != QueueDelay {
		return
	}
	b.scaleAlarm.stop()
	b.scaleAlarm = nil
	if _, next := b.overdue(); !next.IsZero() {
		b.scaleAlarm = b.after(time.Until(next), b.rescaleNow)
	}
}

func (b *balancer) rescaleNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.dispatch()
		b.rescale()
	}
}

// The idle policy, as Runpod documents it.
const (
	idlePolicyFirst  = 3 * 24 * time.Hour // without a request: at most 2 workers
	idlePolicySecond = 7 * 24 * time.Hour // none, until a person raises it
)

// applyIdlePolicy lowers the maximum of an endpoint nobody has used for days.
func (b *balancer) applyIdlePolicy() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	unused, next := b.cfg.service(time.Since(b.lastUse)), idlePolicySecond
	switch {
	case unused >= idlePolicySecond:
		b.min, b.max = 0, 0
		b.rescale()
		return // until a person raises it
	case unused >= idlePolicyFirst:
		b.max = min(b.max, 2)
		b.min = min(b.min, b.max)
		b.rescale()
	default:
		next = idlePolicyFirst
	}
	b.policyAlarm = b.after(b.cfg.real(next-unused), b.applyIdlePolicy)
}
