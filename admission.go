package runpod

import (
	"math"
	"sync"
	"time"
)

// Admission says how a Client chooses the number of requests it has at the
// endpoint at once.
type Admission uint8

const (
	// AdmissionAdaptive, the default, begins at WithMaxInFlight: a cold
	// endpoint needs all the pressure there is, since it starts workers by what
	// it sees in flight. It goes below only on evidence: where the balancer
	// refuses at once, to what it took; where requests wait their 2 minutes in
	// vain although workers answer, to what these can serve in that time, but
	// never so low that the autoscaler would want fewer workers. It opens up as
	// workers answer.
	AdmissionAdaptive Admission = iota
	// AdmissionFixed keeps it at WithMaxInFlight.
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
	since   time.Time    // when a worker first answered; zero: none has
	workers map[string]time.Time
	misses  int // probes in a row that were refused
}

const buckets = 24

func newWindow(asked int, p RetryPolicy) *window {
	return &window{asked: asked, limit: asked, wait: p.QueueWait, probe: max(p.MaxBackoff/20, 1), workers: map[string]time.Time{}}
}

// restart forgets everything: nothing is in flight any more, and the workers
// may be gone when something is again.
func (w *window) restart() {
	clear(w.workers)
	w.limit, w.misses, w.since, w.buckets = w.asked, 0, time.Time{}, [buckets]int{}
}

// answered notes that a worker has answered.
func (w *window) answered(now time.Time, worker string) {
	w.turn(now)
	if w.since.IsZero() {
		w.since = now
	}
	w.buckets[w.slice%buckets]++
	if worker != "" {
		w.workers[worker] = now
	}
	w.misses = 0
	if w.limit < w.asked {
		w.limit = min(w.asked, max(w.limit, w.walls(now)))
	}
}

// refused notes that the balancer had no worker for a request that waited so
// long, while inFlight others were with it.
func (w *window) refused(now time.Time, waited time.Duration, inFlight int) {
	w.turn(now)
	switch {
	case waited < w.wait/2:
		w.limit = max(1, min(w.limit, inFlight))
		w.misses++
	case !w.since.IsZero() && w.served() > 0:
		w.limit = max(1, min(w.limit, w.walls(now)))
	}
}

// probed lets one more in, to learn whether it is taken, and says after which
// time the next may follow.
func (w *window) probed() time.Duration {
	w.limit = min(w.limit+1, w.asked)
	return w.probe << min(w.misses, 5)
}

// walls is the higher of the two walls.
func (w *window) walls(now time.Time) int {
	for id, at := range w.workers {
		if now.Sub(at) > w.wait {
			delete(w.workers, id)
		}
	}
	workers := max(1, len(w.workers))
	pressure := scalerValue * (workers + 1)
	// Since the first answer there may not have been a whole wait yet.
	age := max(now.Sub(w.since), w.wait/buckets)
	patience := workers + int(float64(w.served())*float64(w.wait)/float64(min(age, w.wait)))
	return max(pressure, patience)
}

// served counts the answers within the last wait.
func (w *window) served() int {
	n := 0
	for _, b := range w.buckets {
		n += b
	}
	return n
}

// turn moves on to the time slice of now.
func (w *window) turn(now time.Time) {
	slice := now.UnixNano() / int64(max(w.wait/buckets, 1))
	if slice-w.slice >= buckets {
		w.buckets = [buckets]int{}
	} else {
		for i := w.slice + 1; i <= slice; i++ {
			w.buckets[i%buckets] = 0
		}
	}
	w.slice = max(w.slice, slice)
}

// admission is the window at work: it sets the limit of a gate, and probes
// while somebody waits. It is safe for concurrent use.
type admission struct {
	gate *gate
	mode Admission

	mu     sync.Mutex
	window *window
	timer  *time.Timer // the next probe; nil: none is due
	closed bool
}

func newAdmission(mode Admission, asked int, p RetryPolicy) *admission {
	a := &admission{mode: mode, gate: newGate(asked), window: newWindow(asked, p)}
	if mode == AdmissionOff {
		a.gate.setLimit(math.MaxInt)
	}
	return a
}

// observe takes in what an attempt has shown about the endpoint.
func (a *admission) observe(s Observation, d decision) {
	if a.mode != AdmissionAdaptive {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	held, _, waiting := a.gate.counts()
	now := time.Now()
	switch {
	case d.account == cold:
		a.window.refused(now, s.Elapsed, held)
	case s.WorkerID != "" || d.verdict == Deliver:
		a.window.answered(now, s.WorkerID)
	}
	if held == 0 && waiting == 0 {
		a.window.restart()
	}
	a.gate.setLimit(a.window.limit)
	a.schedule(a.window.probe << min(a.window.misses, 5))
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
	held, _, waiting := a.gate.counts()
	switch {
	case a.closed:
		return
	case held == 0 && waiting == 0:
		a.window.restart()
		a.gate.setLimit(a.window.limit)
		return
	case waiting == 0: // nobody to probe with
		a.schedule(a.window.probe << min(a.window.misses, 5))
		return
	}
	next := a.window.probed()
	a.gate.setLimit(a.window.limit)
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
