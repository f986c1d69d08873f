package runpod

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// wake has workers start and stay while a burst is getting ready. It belongs to
// the Client, not to a caller: callers ask (Warm), take leases (jobs that
// upload), or leave it to WithKeepWarm. While any of these wants workers one
// goroutine looks at things every renewal; each light request has one of its own.
// It is safe for concurrent use, and holds no lock across a wait.
type wake struct {
	ep      *endpoint
	config  warmConfig
	path    string
	control ControlPlane // nil: not given
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	nudged  chan struct{} // something has changed: look again soon
	live    atomic.Bool   // the goroutine runs; read by every attempt

	mu       sync.Mutex
	closed   bool
	asks     []*ask
	leases   int
	leased   time.Time // when the first of them began
	holdN    int       // workers to be kept for the calls that follow Warm
	holdFrom time.Time // since when
	workers  map[string]sighting
	pings    map[*ping]struct{}
	failed   error     // the endpoint refuses for good
	progress time.Time // when a worker was last seen for the first time
	pressed  time.Time // when pressure was last made
	looked   time.Time // when step was last taken
	listed   time.Time
	lastCall time.Time // when a call was last seen under way
	scaling  Scaling   // zero: not known
	learnt   time.Time // when the control plane was last asked for it
	level    int       // how many requests, calls included, are to be at the endpoint
	idle     time.Duration
	sent     int64
}

// sighting is what is known of a worker.
type sighting struct {
	at    time.Time
	ready bool // it answers; otherwise it is there, and loading
}

func newWake(ep *endpoint, c *config) *wake {
	w := &wake{
		ep: ep, config: c.warm, control: c.control, path: c.warm.path,
		nudged: make(chan struct{}, 1), workers: map[string]sighting{}, pings: map[*ping]struct{}{},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// counts gives the light requests sent, and the worker-seconds kept idle.
func (w *wake) counts() (sent int64, idle float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.idle.Seconds()
}

// close ends the wake and waits for it.
func (w *wake) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.tasks.Wait()
}

// start has the goroutine run. The caller holds the lock.
func (w *wake) start() {
	if w.closed || w.live.Load() {
		return
	}
	w.live.Store(true)
	w.looked, w.pressed = time.Now(), time.Time{}
	w.tasks.Go(w.run)
}

func (w *wake) nudge() {
	select {
	case w.nudged <- struct{}{}:
	default:
	}
}

func (w *wake) renewal() time.Duration { return max(w.ep.policy.IdleTimeout*3/5, 1) }

// run looks at things until nobody wants workers any more.
func (w *wake) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if w.ignorant() {
			w.learn()
		}
		if !w.step(time.Now()) {
			return
		}
		timer.Reset(w.renewal())
		select {
		case <-timer.C:
		case <-w.nudged:
			// When the last upload has become a call, the light requests that are
			// left go a moment after it: demand must not fall in between.
			sleep(w.ctx, w.ep.policy.Jitter)
		case <-w.ctx.Done():
		}
	}
}

// ignorant reports whether the control plane should be asked how the endpoint
// scales.
func (w *wake) ignorant() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control != nil && (w.learnt.IsZero() || time.Since(w.learnt) > time.Minute)
}

// step does what is due now, and reports false when the wake is over.
func (w *wake) step(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls, _, waiting := w.ep.admission.gate.Counts()
	w.idle += now.Sub(w.looked) * time.Duration(max(0, w.up()-calls))
	w.looked = now
	if calls+waiting > 0 {
		w.lastCall = now
	} else {
		w.forget(now, 2*w.ep.policy.IdleTimeout)
	}
	w.settleAsks(now)
	want := w.wanted(now)
	if w.ctx.Err() != nil || want == 0 {
		w.stop()
		return false
	}
	w.level = pressure(want, w.perWorker())
	w.trim(calls)
	if now.Sub(w.pressed) >= w.renewal() || w.pressed.IsZero() {
		w.pressed = now
		w.renew(now, want, calls)
		w.press(want, calls)
		w.lookUp(now, want)
	} else if w.up() < want && len(w.pings) > 0 { // more is wanted than a moment ago
		w.press(want, calls)
	}
	return true
}

// stop ends the goroutine and the requests. The caller holds the lock.
func (w *wake) stop() {
	w.live.Store(false)
	w.holdN = 0
	for p := range w.pings {
		p.cancel()
	}
	for _, a := range w.asks { // the Client is being closed
		a.settle(w.up(), &Error{Kind: ErrClosed})
	}
	w.asks = nil
}

// wanted is how many workers are to be there; 0 ends the wake.
func (w *wake) wanted(now time.Time) int {
	w.release(now)
	want := w.holdN
	for _, a := range w.asks {
		want = max(want, a.n)
	}
	if w.leases > 0 && w.failed == nil && w.fresh(now) {
		want = max(want, w.config.n, 1)
		if w.config.n == 0 {
			want = max(want, w.coming())
		}
	}
	if w.config.keep > 0 && now.Sub(w.lastCall) < w.config.keep {
		want = max(want, len(w.workers))
	}
	return w.most(want)
}

// fresh reports whether the leases still count: uploads that go on and on
// without a call between them must not keep workers for ever.
func (w *wake) fresh(now time.Time) bool {
	patience := w.ep.policy.WarmFor
	if w.up() == 0 {
		patience = w.ep.policy.GiveUp
	}
	for _, event := range []time.Time{w.leased, w.progress, w.lastCall} {
		if now.Sub(event) < patience {
			return true
		}
	}
	return false
}

// coming is how many workers the jobs under way will ask for.
func (w *wake) coming() int {
	calls, _, _ := w.ep.admission.gate.Counts()
	n := min(w.leases+calls, w.ep.admission.gate.Limit())
	return (n + w.perWorker() - 1) / w.perWorker()
}

// hold keeps n workers for the calls that are to follow.
func (w *wake) hold(n int) { w.holdN, w.holdFrom = max(w.holdN, n), time.Now() }

// release lets the workers go when the calls have come and gone, or have not
// come for too long.
func (w *wake) release(now time.Time) {
	p := w.ep.policy
	gone := w.lastCall.After(w.holdFrom) && now.Sub(w.lastCall) >= p.IdleTimeout && w.leases == 0
	if len(w.asks) == 0 && (gone || now.Sub(w.holdFrom) >= p.WarmFor) {
		w.holdN = 0
	}
}

// most caps n at the endpoint's maximum, where that is known.
func (w *wake) most(n int) int {
	if w.scaling.MaxWorkers > 0 {
		n = min(n, w.scaling.MaxWorkers)
	}
	return n
}

// perWorker is how many requests ask for one worker.
func (w *wake) perWorker() int {
	switch {
	case w.scaling.MaxWorkers == 0: // not known
		return scalerValue
	case w.scaling.RequestsPerWorker == 0:
		return 1 // every request that has waited asks for one
	}
	return w.scaling.RequestsPerWorker
}

// up is how many workers are known to answer.
func (w *wake) up() (n int) {
	for _, s := range w.workers {
		if s.ready {
			n++
		}
	}
	return n
}

// sight notes that a worker is there.
func (w *wake) sight(worker string, ready bool, now time.Time) {
	if !w.workers[worker].ready && ready {
		w.progress = now
	}
	w.workers[worker] = sighting{at: now, ready: ready}
}

// forget drops workers that have not been seen for so long.
func (w *wake) forget(now time.Time, after time.Duration) {
	for id, s := range w.workers {
		if now.Sub(s.at) > after {
			delete(w.workers, id)
		}
	}
}

// pressure is how many requests make the autoscaler want n workers, of which
// one stands for every perWorker, or a part of it (Runpod docs, REQUEST_COUNT).
// It lies between the fewest and the most that do, so that one which leaves a
// moment early or comes a moment late changes nothing.
func pressure(n, perWorker int) int { return (n-1)*perWorker + 1 + min(2, (perWorker-1)/2) }

// press sends light requests until there are, with the calls, as many as make
// the autoscaler want all workers. Where they are there already none is sent.
func (w *wake) press(want, calls int) {
	if w.up() >= want || w.failed != nil {
		return
	}
	for missing := pressure(want, w.perWorker()) - calls - len(w.pings); missing > 0; missing-- {
		w.send("")
	}
}

// trim withdraws the light requests that calls have taken the place of: those
// that still wait would be served before calls that come after them.
func (w *wake) trim(calls int) {
	over := len(w.pings) - max(0, w.level-calls)
	for p := range w.pings {
		if over <= 0 {
			return
		}
		p.cancel()
		delete(w.pings, p)
		over--
	}
}

// renew keeps idle workers from scaling down: those seen last, and only as many
// as calls can have left idle.
func (w *wake) renew(now time.Time, want, calls int) {
	if w.failed != nil {
		return
	}
	ids := make([]string, 0, len(w.workers))
	for id := range w.workers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(w.workers[b].at.Compare(w.workers[a].at), cmp.Compare(a, b))
	})
	for _, id := range ids[:max(0, min(want, len(ids))-calls)] {
		if now.Sub(w.workers[id].at) >= w.renewal()/2 && !w.pinging(id) {
			w.send(id)
		}
	}
}

// pinging reports whether a light request to the worker is under way.
func (w *wake) pinging(worker string) bool {
	for p := range w.pings {
		if p.worker == worker {
			return true
		}
	}
	return false
}

// lookUp has the control plane list the workers, while some are still awaited,
// at most every second renewal.
func (w *wake) lookUp(now time.Time, want int) {
	if w.control != nil && w.up() < want && now.Sub(w.listed) >= 2*w.renewal() {
		w.listed = now
		w.tasks.Go(w.list)
	}
}
