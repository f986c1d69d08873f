package runpodtest

import "time"

// rescale brings the number of workers to what the rule wants. The caller holds
// the lock.
func (b *balancer) rescale() {
	if b.closed {
		return
	}
	want := b.wanted()
	for len(b.crew.workers) < want {
		b.start(b.crew.hire(""))
	}
	b.shed(want)
	b.grantCapacity()
	b.armIdle(want)
	b.armScaler()
	b.ledger.note(func() { b.ledger.peakWorkers = max(b.ledger.peakWorkers, b.crew.occupied()) })
}

// wanted is how many workers the rule asks for now.
func (b *balancer) wanted() int {
	d := demand{queued: b.line.queued, inProgress: b.inProgress}
	if b.set.scalerType == QueueDelay {
		d.overdue, _ = b.line.overdue(b.scalerDelay())
	}
	return wanted(b.set.scalerType, b.set.scalerValue, d, b.set.min, b.set.max)
}

// scalerDelay is how long a request waits before QueueDelay counts it.
func (b *balancer) scalerDelay() time.Duration {
	return b.cfg.real(time.Duration(b.set.scalerValue) * time.Second)
}

// start begins a worker's cold start, if there is a GPU for it.
func (b *balancer) start(w *worker) {
	if b.set.capacity == 0 || b.crew.occupied() < b.set.capacity {
		b.begin(w)
	}
}

// grantCapacity starts throttled workers, oldest first, while GPUs are free.
func (b *balancer) grantCapacity() {
	if b.set.capacity == 0 {
		return
	}
	for _, w := range b.crew.workers {
		if w.phase == throttled {
			b.start(w)
		}
	}
}

// shed drops workers above want that have not begun to serve, newest first, and
// above the maximum idle ones too.
func (b *balancer) shed(want int) {
	for i := len(b.crew.workers) - 1; i >= 0 && len(b.crew.workers) > want; i-- {
		w := b.crew.workers[i]
		over := len(b.crew.workers) > b.set.max
		switch {
		case w.pinned && !over:
		case w.phase == throttled, w.phase == starting && (over || b.cfg.CancelStarting):
			b.crew.dismiss(w, "cancelled", errStopped)
		case w.phase == idle && over:
			b.crew.dismiss(w, "scaled down", errStopped)
		}
	}
}

// armIdle sets the idle timeout of workers that are not wanted any more.
func (b *balancer) armIdle(want int) {
	if len(b.crew.workers) <= want {
		return
	}
	for _, w := range b.crew.workers {
		if w.phase == idle && w.alarm == nil {
			left := time.Until(w.idleSince.Add(b.cfg.real(b.set.idleTimeout)))
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
	if len(b.crew.workers) > b.wanted() {
		b.crew.dismiss(w, "scaled down", errStopped)
		b.react()
	}
}

// armScaler makes the queue-delay rule look again when the next request has
// waited long enough.
func (b *balancer) armScaler() {
	if b.set.scalerType != QueueDelay {
		return
	}
	b.scaleAlarm.stop()
	b.scaleAlarm = nil
	if _, next := b.line.overdue(b.scalerDelay()); !next.IsZero() {
		b.scaleAlarm = b.after(time.Until(next), b.reactNow)
	}
}

func (b *balancer) reactNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.react()
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
		b.lower(0)
		return // until a person raises it
	case unused >= idlePolicyFirst:
		b.lower(2)
	default:
		next = idlePolicyFirst
	}
	b.policyAlarm = b.after(b.cfg.real(next-unused), b.applyIdlePolicy)
}

// lower brings the bounds down to most workers. The caller holds the lock.
func (b *balancer) lower(most int) {
	b.set.max = min(b.set.max, most)
	b.set.min = min(b.set.min, b.set.max)
	b.rescale()
}
