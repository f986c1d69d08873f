package runpodtest

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// balancer decides who waits, who works, and how many workers there are. One
// lock guards it all and is never held across a wait; what it decides by are
// pure functions: wanted, Routing.less, parseAffinity.
type balancer struct {
	cfg       *Config
	ledger    *ledger
	volumeDir string
	ctx       context.Context // ends with the server
	tasks     sync.WaitGroup  // timers that are set, requests in work

	mu          sync.Mutex
	closed      bool
	min, max    int
	capacity    int
	idleTimeout time.Duration
	scalerType  ScalerType
	scalerValue int
	hired       int // workers ever asked for
	workers     []*worker
	stopped     map[string]bool // ids of workers that scaled down and could resume
	queue       list.List       // of *waiter, in the order they are served
	queued      int             // of these, how many count as demand
	inProgress  int             // requests with a worker that count as demand
	strict      int             // requests in the queue that insist on one worker
	lastUse     time.Time
	failing     bool // the last worker to start crashed at that

	scaleAlarm, policyAlarm *alarm
}

// waiter is a request in the queue.
type waiter struct {
	since    time.Time
	affinity affinity
	place    int  // in line; see the function place
	free     bool // does not count as demand
	released bool // its place on its worker is free again
	entry    *list.Element
	verdict  chan verdict // buffered: the balancer never waits
}

// verdict is what became of a wait.
type verdict struct {
	worker *worker // nil: the one it insisted on is gone
}

func newBalancer(ctx context.Context, cfg *Config, l *ledger, volumeDir string) *balancer {
	return &balancer{
		cfg: cfg, ledger: l, volumeDir: volumeDir, ctx: ctx,
		min: cfg.MinWorkers, max: cfg.MaxWorkers, capacity: cfg.Capacity,
		idleTimeout: cfg.IdleTimeout, scalerType: cfg.ScalerType, scalerValue: cfg.ScalerValue,
		stopped: map[string]bool{}, lastUse: time.Now(),
	}
}

// open brings the minimum workers up, warm: such an endpoint has long been
// running when a test meets it.
func (b *balancer) open() {
	b.mu.Lock()
	for range b.min {
		b.enter(b.newWorker(""), starting)
	}
	warm := append([]*worker(nil), b.workers...)
	if b.cfg.IdlePolicy {
		b.policyAlarm = b.after(b.cfg.real(idlePolicyFirst), b.applyIdlePolicy)
	}
	b.mu.Unlock()
	for _, w := range warm {
		b.ready(w)
	}
}

// close ends every worker, and returns when no timer and no program runs.
func (b *balancer) close() {
	b.mu.Lock()
	b.closed = true
	b.scaleAlarm.stop()
	b.policyAlarm.stop()
	for len(b.workers) > 0 {
		b.remove(b.workers[0], "closed", errStopped)
	}
	b.mu.Unlock()
	b.tasks.Wait()
}

// alarm is a timer whose function close waits for. A nil alarm is not set.
type alarm struct {
	timer *time.Timer
	tasks *sync.WaitGroup
}

// after runs f, without the lock, after d of this server's time. The caller
// holds the lock, and close has not begun.
func (b *balancer) after(d time.Duration, f func()) *alarm {
	b.tasks.Add(1)
	return &alarm{tasks: &b.tasks, timer: time.AfterFunc(d, func() {
		defer b.tasks.Done()
		f()
	})}
}

func (a *alarm) stop() {
	if a != nil && a.timer.Stop() {
		a.tasks.Done()
	}
}

// enqueue puts a request in the queue; ok is false if that is full or the server
// is closing.
func (b *balancer) enqueue(wt *waiter) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	wt.since, wt.verdict = time.Now(), make(chan verdict, 1)
	b.lastUse = wt.since
	b.insert(wt)
	b.count(wt, 1)
	b.dispatch()
	if full := b.cfg.MaxWaiting > 0 && b.queue.Len() > b.cfg.MaxWaiting; full && wt.entry != nil {
		b.unqueue(wt)
		return false
	}
	b.ledger.note(func() { b.ledger.peakWait = max(b.ledger.peakWait, b.queue.Len()) })
	b.rescale()
	return true
}

// insert puts a request in its place in the queue. The caller holds the lock.
func (b *balancer) insert(wt *waiter) {
	e := b.queue.Back()
	for e != nil && wt.place < e.Value.(*waiter).place {
		e = e.Prev()
	}
	if e == nil {
		wt.entry = b.queue.PushFront(wt)
	} else {
		wt.entry = b.queue.InsertAfter(wt, e)
	}
}

func (b *balancer) count(wt *waiter, by int) {
	if !wt.free {
		b.queued += by
	}
	if wt.affinity.strict {
		b.strict += by
	}
}

// unqueue takes a request out of the queue. The caller holds the lock.
func (b *balancer) unqueue(wt *waiter) {
	b.queue.Remove(wt.entry)
	wt.entry = nil
	b.count(wt, -1)
}

// giveUp takes a request out of the queue, unless it has just been given a
// worker: then it returns that.
func (b *balancer) giveUp(wt *waiter) *worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wt.entry == nil {
		return (<-wt.verdict).worker
	}
	b.unqueue(wt)
	b.rescale()
	return nil
}

// dispatch gives waiting requests, oldest first, to the workers that are free.
// The caller holds the lock.
func (b *balancer) dispatch() {
	for e := b.queue.Front(); e != nil && b.anyFree(); {
		wt := e.Value.(*waiter)
		e = e.Next()
		if w := b.choose(wt.affinity); w != nil {
			b.give(wt, w)
		}
	}
	b.serveStrict()
}

func (b *balancer) anyFree() bool {
	for _, w := range b.workers {
		if w.free(b.cfg.Concurrency) {
			return true
		}
	}
	return false
}

// choose returns the free worker that the request should get, or nil.
func (b *balancer) choose(a affinity) *worker {
	var best *worker
	for _, w := range b.workers {
		if !w.free(b.cfg.Concurrency) {
			continue
		}
		if w.ID == a.worker {
			return w
		}
		if !a.strict && (best == nil || b.cfg.Routing.less(w.candidate(), best.candidate())) {
			best = w
		}
	}
	return best
}

func (w *worker) candidate() candidate { return candidate{w.Number, w.served, w.favour} }

// give hands a request to a worker. The caller holds the lock.
func (b *balancer) give(wt *waiter, w *worker) {
	b.unqueue(wt)
	if !wt.free {
		b.inProgress++
	}
	w.inWork++
	w.served++
	w.alarm.stop()
	w.alarm = nil
	if w.phase != busy {
		b.enter(w, busy)
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

// socketOpened tells that a request has become a WebSocket.
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
		b.enter(w, idle)
	}
	if !b.closed {
		b.dispatch()
		b.rescale()
	}
}

// serveStrict looks after requests that insist on one worker: a stopped one is
// resumed if they ask for it, one that is gone is reported. The caller holds the
// lock.
func (b *balancer) serveStrict() {
	if b.strict == 0 {
		return
	}
	for e := b.queue.Front(); e != nil; {
		wt := e.Value.(*waiter)
		e = e.Next()
		if !wt.affinity.strict || b.lives(wt.affinity.worker) {
			continue
		}
		if !wt.affinity.resume || !b.stopped[wt.affinity.worker] {
			b.unqueue(wt)
			wt.verdict <- verdict{}
		} else if len(b.workers) < b.max {
			w := b.newWorker(wt.affinity.worker)
			w.pinned = true
			b.start(w)
		}
	}
}

func (b *balancer) lives(id string) bool {
	for _, w := range b.workers {
		if w.ID == id {
			return true
		}
	}
	return false
}

// crash kills a worker, as a panic of its program does.
func (b *balancer) crash(w *worker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(w, "crashed", errCrashed)
	if !b.closed {
		b.dispatch()
		b.rescale()
	}
}
