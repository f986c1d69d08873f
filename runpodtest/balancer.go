package runpodtest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// balancer decides who waits, who works, and how many workers there are. One
// lock guards its line and its crew and is never held across a wait; what it
// decides by are pure functions: wanted, Routing.less, parseAffinity.
type balancer struct {
	cfg    *Config
	ledger *ledger
	ctx    context.Context // ends with the server
	tasks  sync.WaitGroup  // timers that are set, requests in work, jobs

	mu         sync.Mutex
	closed     bool
	set        settings
	crew       crew
	line       line
	inProgress int // requests with a worker that count as demand
	lastUse    time.Time
	failing    bool // the last worker to start crashed at that

	scaleAlarm, policyAlarm *alarm
}

func newBalancer(ctx context.Context, cfg *Config, l *ledger, volumeDir string) *balancer {
	b := &balancer{
		cfg: cfg, ledger: l, ctx: ctx, lastUse: time.Now(),
		set: settings{
			min: cfg.MinWorkers, max: cfg.MaxWorkers, capacity: cfg.Capacity,
			idleTimeout: cfg.IdleTimeout, scalerType: cfg.ScalerType, scalerValue: cfg.ScalerValue,
		},
	}
	b.crew = crew{cfg: cfg, ledger: l, volumeDir: volumeDir, crash: b.crash, ctx: ctx, stopped: map[string]bool{}}
	return b
}

// open brings the minimum workers up, warm: such an endpoint has long been
// running when a test meets it.
func (b *balancer) open() {
	b.mu.Lock()
	for range b.set.min {
		b.crew.enter(b.crew.hire(""), starting)
	}
	warm := append([]*worker(nil), b.crew.workers...)
	if b.cfg.IdlePolicy {
		b.policyAlarm = b.after(b.cfg.real(idlePolicyFirst), b.applyIdlePolicy)
	}
	b.mu.Unlock()
	for _, w := range warm {
		if b.cfg.Start != nil {
			b.launch(w, 0, false)
		} else {
			b.ready(w)
		}
	}
}

// close ends every worker, and returns when no timer, program or job runs.
func (b *balancer) close() {
	b.mu.Lock()
	b.closed = true
	b.scaleAlarm.stop()
	b.policyAlarm.stop()
	for len(b.crew.workers) > 0 {
		b.crew.dismiss(b.crew.workers[0], "closed", errStopped)
	}
	b.mu.Unlock()
	b.tasks.Wait()
}

// after runs f, without the lock, after d of this server's time. The caller
// holds the lock, and close has not begun.
func (b *balancer) after(d time.Duration, f func()) *alarm { return newAlarm(&b.tasks, d, f) }

// react lets waiting requests and the autoscaler see what has changed. The
// caller holds the lock.
func (b *balancer) react() {
	if !b.closed {
		b.dispatch()
		b.rescale()
	}
}

// enqueue puts a request in line; ok is false if that is full or the server is
// closing.
func (b *balancer) enqueue(wt *waiter) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	wt.since, wt.verdict = time.Now(), make(chan verdict, 1)
	b.lastUse = wt.since
	b.line.add(wt)
	b.dispatch()
	if full := b.cfg.MaxWaiting > 0 && b.line.waiters.Len() > b.cfg.MaxWaiting; full && wt.entry != nil {
		b.line.drop(wt)
		return false
	}
	b.ledger.note(func() { b.ledger.peakWait = max(b.ledger.peakWait, b.line.waiters.Len()) })
	b.rescale()
	return true
}

// giveUp takes a request out of the line, unless it has just been given a
// worker: then it returns that.
func (b *balancer) giveUp(wt *waiter) *worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wt.entry == nil {
		return (<-wt.verdict).worker
	}
	b.line.drop(wt)
	b.rescale()
	return nil
}

// dispatch gives waiting requests, oldest first, to the workers that are free.
// The caller holds the lock.
func (b *balancer) dispatch() {
	for e := b.line.waiters.Front(); e != nil && b.crew.anyFree(); {
		wt := e.Value.(*waiter)
		e = e.Next()
		if w := b.crew.choose(wt.affinity); w != nil {
			b.give(wt, w)
		}
	}
	b.serveStrict()
}

// give hands a request to a worker. The caller holds the lock.
func (b *balancer) give(wt *waiter, w *worker) {
	b.line.drop(wt)
	if !wt.free {
		b.inProgress++
	}
	w.inWork++
	w.served++
	w.alarm.stop()
	w.alarm = nil
	if w.phase != busy {
		b.crew.enter(w, busy)
	}
	b.tasks.Add(1) // until finish
	wt.verdict <- verdict{worker: w}
}

// finish takes back a worker that give handed out.
func (b *balancer) finish(wt *waiter, w *worker) {
	defer b.tasks.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(wt, w)
}

// socketOpened notes that a request has become a WebSocket.
func (b *balancer) socketOpened(wt *waiter, w *worker) {
	if !b.cfg.SocketsIdle {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(wt, w)
}

// release frees the request's place on its worker, once. The caller holds the
// lock.
func (b *balancer) release(wt *waiter, w *worker) {
	if wt.released {
		return
	}
	wt.released = true
	if !wt.free {
		b.inProgress--
	}
	w.inWork--
	if w.phase == busy && w.inWork == 0 {
		w.idleSince = time.Now()
		b.crew.enter(w, idle)
	}
	b.react()
}

// serveStrict looks after requests that insist on one worker: a stopped one is
// resumed if they ask for it, one that is gone is reported. The caller holds the
// lock.
func (b *balancer) serveStrict() {
	if b.line.strict == 0 {
		return
	}
	for e := b.line.waiters.Front(); e != nil; {
		wt := e.Value.(*waiter)
		e = e.Next()
		id := wt.affinity.worker
		switch {
		case !wt.affinity.strict || b.crew.member(id) != nil:
		case !wt.affinity.resume || !b.crew.stopped[id]:
			b.line.drop(wt)
			wt.verdict <- verdict{}
		case len(b.crew.workers) < b.set.max:
			w := b.crew.hire(id)
			w.pinned = true
			b.start(w)
		}
	}
}

// change changes the settings, all or nothing, and lets the balancer and the
// autoscaler react.
func (b *balancer) change(f func(*settings) error) error {
	return b.locked(func() error {
		next := b.set
		if err := f(&next); err != nil {
			return err
		}
		b.set = next
		return nil
	})
}

// withWorker changes one living worker.
func (b *balancer) withWorker(id string, f func(*worker)) error {
	return b.locked(func() error {
		w := b.crew.member(id)
		if w == nil {
			return fmt.Errorf("runpodtest: no worker %q is alive", id)
		}
		f(w)
		return nil
	})
}

func (b *balancer) locked(f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("runpodtest: the server is closed")
	}
	if err := f(); err != nil {
		return err
	}
	b.react()
	return nil
}

// view calls f with the settings and the living workers, under the lock.
func (b *balancer) view(f func(settings, *crew)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.set, &b.crew)
}
