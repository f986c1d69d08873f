package runpod

import (
	"math"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// Admission says how a Client chooses its number of requests in flight. Set it
// with [WithAdmission]. Most callers should leave it at the default.
type Admission uint8

const (
	// AdmissionAdaptive, the default, begins at WithMaxInFlight, because a cold
	// endpoint starts workers for the requests that it sees. It lowers the number
	// in two cases only. If the balancer refuses requests at once, it goes down to
	// as many as the balancer took. If requests are refused after their 2 minutes
	// although workers answer, it goes down to as many as these workers serve in
	// that time, but never so low that the autoscaler would want fewer workers. It
	// raises the number again as workers answer.
	AdmissionAdaptive Admission = iota
	// AdmissionFixed keeps the number at WithMaxInFlight.
	AdmissionFixed
	// AdmissionOff sets no limit.
	AdmissionOff
)

// scalerValue is how many requests in flight ask for one worker: the service's
// default (Runpod docs). A larger one cannot be seen from here.
const scalerValue = 4

// window is how many requests may be in flight: a pure core, to which the time
// is told. Two walls bound it. To hold W workers the balancer must see at
// least scalerValue x W requests. To have none of them refused it may see at
// most those that W workers serve within the balancer's wait, which is what
// they have served within the last such time. Where the walls cross the first
// one holds: a refused request can be sent again, a worker that was never
// started serves nobody.
type window struct {
	asked int           // what the caller allows
	wait  time.Duration // the balancer's
	probe time.Duration // the shortest time between two probes, MaxBackoff/20
	limit int

	buckets [buckets]int // answers by workers, in time slices of wait/buckets
	slice   int64        // the current one
	served  int          // answers in all slices: within the last wait
	since   time.Time    // when a worker first answered; zero: none has
	workers map[string]time.Time
	peak    int       // the most of them there were
	grown   time.Time // when they last became more than ever
	tight   bool      // the balancer refuses at once: the limit is what it takes
	misses  int       // probes in a row that were refused
	most    int       // workers there were when requests were first held back; 0: none are
	starved bool      // holding back has cost workers: not again
}

const buckets = 24

func newWindow(asked int, p RetryPolicy) *window {
	return &window{asked: asked, limit: asked, wait: p.QueueWait, probe: max(p.MaxBackoff/20, 1), workers: map[string]time.Time{}}
}

// allow changes what the caller allows. A limit that nothing but that has set
// follows it.
func (w *window) allow(asked int) {
	if w.limit == w.asked {
		w.limit = asked
	}
	w.asked, w.limit = asked, min(w.limit, asked)
}

// restart forgets everything: nothing is in flight any more, and the workers
// may be gone when something is again.
func (w *window) restart() {
	clear(w.workers)
	*w = window{asked: w.asked, limit: w.asked, wait: w.wait, probe: w.probe, slice: w.slice, workers: w.workers}
}

// answered notes that a worker has answered.
func (w *window) answered(now time.Time, worker string) {
	w.turn(now)
	if w.served == 0 { // the first one, or the first one after a pause
		w.since, w.most, w.starved, w.peak = now, 0, false, 0
	}
	w.served++
	w.buckets[w.slice%buckets]++
	if worker != "" {
		w.seen(now, worker)
	}
	if w.limit < w.asked && !w.tight {
		w.limit = min(w.asked, max(w.limit, w.walls(now)))
	}
}

// seen notes which worker it was. A new one takes one more.
func (w *window) seen(now time.Time, worker string) {
	_, known := w.workers[worker]
	w.workers[worker] = now
	if known {
		return
	}
	w.misses = 0
	w.limit = min(w.limit+1, w.asked)
	if len(w.workers) > w.peak {
		w.peak, w.grown = len(w.workers), now
	}
}

// refused notes that the balancer had no worker for a request that waited so
// long, while inFlight others were with it.
func (w *window) refused(now time.Time, waited time.Duration, inFlight int) {
	w.turn(now)
	switch {
	case waited < w.wait/2:
		w.limit = max(1, min(w.limit, inFlight))
		w.tight = true
		w.misses++
	case w.starved, w.served == 0, now.Sub(w.grown) < w.wait:
		// Cold, or still growing: the pressure stays.
	default:
		w.tight = false
		w.limit = max(1, min(w.limit, w.walls(now)))
		w.most = max(w.most, len(w.workers))
	}
}

// probed lets one more in, to learn whether it is taken, and says after which
// time the next may follow.
func (w *window) probed() time.Duration {
	w.limit = min(w.limit+1, w.asked)
	return w.pause()
}

// pause is the time between two probes: the longer, the more in a row were
// refused.
func (w *window) pause() time.Duration { return w.probe << min(w.misses, 5) }

// walls is the higher of the two walls. Where workers have gone since requests
// are held back, the scaler value is above its default, and all that was asked
// for is needed to keep them.
func (w *window) walls(now time.Time) int {
	for id, at := range w.workers {
		if now.Sub(at) > w.wait {
			delete(w.workers, id)
		}
	}
	if len(w.workers) < w.most {
		w.starved = true
		return w.asked
	}
	workers := max(1, len(w.workers))
	pressure := scalerValue * (workers + 1)
	// Since the first answer there may not have been a whole wait yet.
	age := max(now.Sub(w.since), w.wait/buckets)
	patience := workers + int(float64(w.served)*float64(w.wait)/float64(min(age, w.wait)))
	return max(pressure, patience)
}

// turn moves on to the time slice of now.
func (w *window) turn(now time.Time) {
	slice := now.UnixNano() / int64(max(w.wait/buckets, 1))
	for i := max(w.slice+1, slice-buckets+1); i <= slice; i++ {
		w.served -= w.buckets[i%buckets]
		w.buckets[i%buckets] = 0
	}
	w.slice = max(w.slice, slice)
}

// admission is the window at work: it sets the limit of a gate, and probes
// while somebody waits. It is safe for concurrent use.
type admission struct {
	gate *line.Gate
	mode Admission

	mu     sync.Mutex
	window *window
	told   int         // the limit that the gate has
	timer  *time.Timer // the next probe; nil: none is due
	closed bool
}

func newAdmission(mode Admission, asked int, p RetryPolicy) *admission {
	a := &admission{mode: mode, gate: line.NewGate(asked), told: asked, window: newWindow(asked, p)}
	if mode == AdmissionOff {
		a.gate.SetLimit(math.MaxInt)
	}
	return a
}

// allow changes how many requests the caller allows.
func (a *admission) allow(asked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.window.allow(asked)
	if a.mode != AdmissionOff {
		a.adjust()
	}
}

// observe takes in what an attempt has shown about the endpoint. An attempt has
// its place until its answer is read: placed says that this one still does.
func (a *admission) observe(s *Observation, d *decision, now time.Time, placed bool) {
	if a.mode != AdmissionAdaptive {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case d.cold:
		taken, _, _ := a.gate.Counts()
		if placed {
			taken--
		}
		a.window.refused(now, s.Elapsed, taken)
	case s.WorkerID != "" || d.verdict == VerdictDeliver:
		a.window.answered(now, s.WorkerID)
		if a.window.limit == a.window.asked {
			break // as nearly always
		}
		if taken, _, waiting := a.gate.Counts(); taken+waiting == 0 {
			a.window.restart()
		}
	}
	a.adjust()
	a.schedule(a.window.pause())
}

// adjust tells the gate what the window says. The caller holds the lock.
func (a *admission) adjust() {
	if a.window.limit != a.told {
		a.told = a.window.limit
		a.gate.SetLimit(a.told)
	}
}

// schedule has a probe made after d, where the limit keeps requests back. The
// caller holds the lock.
func (a *admission) schedule(d time.Duration) {
	if a.timer != nil || a.closed || a.window.limit >= a.window.asked {
		return
	}
	a.timer = time.AfterFunc(d, a.probe)
}

func (a *admission) probe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = nil
	taken, _, waiting := a.gate.Counts()
	switch {
	case a.closed:
		return
	case taken+waiting == 0:
		a.window.restart()
		a.adjust()
		return
	case waiting == 0: // nobody to probe with
		a.schedule(a.window.pause())
		return
	}
	next := a.window.probed()
	a.adjust()
	a.schedule(next)
}

func (a *admission) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
