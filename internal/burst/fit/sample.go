package fit

import (
	"math"
	"slices"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// attempt is one attempt as its client saw it, in seconds. One that no worker
// took has none.
type attempt struct {
	start, end float64
	worker     string
	taken      float64 // by the worker, as far as that follows
}

// run is the attempts of one run that were served or refused for want of a worker.
type run struct {
	attempts []attempt // in order of their end
	inFlight int
	instant  float64 // what its clock tells apart
}

// sample is what the records of all runs show.
type sample struct {
	runs         []run
	served       int
	failed       int
	service      []float64
	cold         []float64
	refusals     []float64
	warm         int
	peakWorkers  int
	peakInFlight int
	longestWait  float64
	longestIdle  float64
	instant      float64
}

// instantOf is how far apart moments of a run must be to be told apart: a network's
// delays, and for a simulated endpoint those of a busy machine, which its speed
// multiplies.
func instantOf(l *burst.Log) float64 {
	if !l.Run.Simulated {
		return 0.1
	}
	return 0.1 + 0.02*l.Run.Speed
}

// shortestRefusal tells a refusal for want of a worker from a 400 for a bad
// request: the balancer has waited first.
const shortestRefusal = 5

func (s *sample) add(l *burst.Log) {
	r := run{instant: instantOf(l)}
	s.instant = max(s.instant, r.instant)
	for _, j := range l.Jobs {
		for _, a := range j.Attempts {
			one := attempt{start: float64(a.Start), end: float64(a.End), worker: a.Worker}
			switch {
			case a.Status >= 200 && a.Status < 300 && a.Worker != "":
				s.served++
			case a.Status == 400 && a.Worker == "" && one.end-one.start >= shortestRefusal:
				s.refusals = append(s.refusals, one.end-one.start)
			default:
				s.failed++
				continue
			}
			r.attempts = append(r.attempts, one)
		}
	}
	if len(r.attempts) == 0 {
		return
	}
	slices.SortFunc(r.attempts, byEnd)
	r.inFlight = peak(r.attempts, func(a attempt) (from, to float64) { return a.start, a.end })
	s.peakInFlight = max(s.peakInFlight, r.inFlight)
	s.learn(&r)
	s.runs = append(s.runs, r)
}

// learn follows each worker through a run. A worker does one request after
// another: one that waited already was taken when the one before it had ended, one
// that came later was taken at once.
func (s *sample) learn(r *run) {
	last := map[string]*attempt{} // by worker
	var firsts []*attempt
	begin := math.Inf(1)
	for i := range r.attempts {
		a := &r.attempts[i]
		begin = min(begin, a.start)
		if a.worker == "" {
			continue
		}
		before := last[a.worker]
		last[a.worker] = a
		if before == nil {
			firsts = append(firsts, a)
			continue
		}
		a.taken = max(a.start, before.end)
		s.service = append(s.service, a.end-a.taken)
		s.longestWait = max(s.longestWait, a.taken-a.start)
		s.longestIdle = max(s.longestIdle, a.start-before.end)
	}
	s.starts(r, firsts, last, begin)
}

// starts learns from each worker's first answer, which has a cold start in it
// unless the worker was warm.
func (s *sample) starts(r *run, firsts []*attempt, last map[string]*attempt, begin float64) {
	if len(s.service) == 0 {
		return
	}
	mean, _ := moments(s.service)
	longest := slices.Max(s.service)
	type life struct{ from, to float64 }
	var lives []life
	warm := 0
	for _, a := range firsts {
		a.taken = max(a.start, a.end-mean)
		lives = append(lives, life{a.taken, last[a.worker].end})
	}
	peakWorkers := peak(lives, func(l life) (from, to float64) { return l.from, l.to })
	s.peakWorkers = max(s.peakWorkers, peakWorkers)
	for i, a := range firsts {
		switch {
		case i >= peakWorkers: // it came in another's place: when it was asked for is not seen
		case a.end-begin <= 1.02*longest && a.end-begin-mean < mean/2:
			warm++
		default:
			s.cold = append(s.cold, max(0, a.end-mean-r.asked(i, peakWorkers, begin)))
		}
	}
	if len(s.runs) == 0 {
		s.warm = warm
	}
	s.warm = min(s.warm, warm) // workers of the run before may be left
}

// asked is when a run's i-th worker was asked for, if all were asked for by the
// number of requests in flight.
func (r *run) asked(i, workers int, begin float64) float64 {
	if workers < 2 {
		return begin
	}
	value := min(4, max(1, (r.inFlight-1)/(workers-1)))
	starts := make([]float64, len(r.attempts))
	for k, a := range r.attempts {
		starts[k] = a.start
	}
	slices.Sort(starts)
	if n := i * value; n < len(starts) {
		return starts[n]
	}
	return begin
}

// peak is how many intervals overlap at the most. One that ends as another
// begins does not overlap it.
func peak[T any](all []T, interval func(T) (from, to float64)) (most int) {
	type edge struct {
		at float64
		by int
	}
	var edges []edge
	for _, one := range all {
		from, to := interval(one)
		edges = append(edges, edge{from, 1}, edge{to, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return a.by - b.by
	})
	now := 0
	for _, e := range edges {
		now += e.by
		most = max(most, now)
	}
	return most
}
