package bench

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// queueWait is how long the balancer lets a request wait (Runpod docs).
const queueWait = 2 * time.Minute

// figures is what one run came to. Times are seconds.
type figures struct {
	calls     int // well-formed ones
	succeeded int
	silent    int // failed calls whose error does not say that they may have run
	noWorkers int // failed calls whose error says that there is no worker

	attempts       int // all that reached the endpoint, those of malformed calls included
	leastAttempts  int // what this run's own waits and faults made necessary
	refusedWaiting int // attempts refused after they had waited
	refusedAtOnce  int

	malformedAgain int // malformed calls that a worker was given more than once
	malformedMost  int // how often the worst of them was given to a worker again
	repeated       int // well-formed calls that were carried out, or begun, more than once

	makespan    float64 // from the first call to the last success; 0: no success
	bound       float64
	billed      float64 // worker time, starting and idle included
	leastBill   float64
	longest     float64 // the longest call, to its success or error
	peak        int     // requests at the endpoint at once
	idleGaps    []float64
	inOutage    int     // attempts made while nothing worked
	afterOutage float64 // from the outage's end to the first attempt that was served; NaN: none
}

// measure turns a run into figures.
func measure(r *run) figures {
	p := r.plan
	f := figures{
		attempts: len(r.requests), bound: p.bound().Seconds(), leastBill: p.leastBill().Seconds(),
		peak: r.peak, afterOutage: math.NaN(),
	}
	for job := range r.jobs {
		f.addJob(r, job)
	}
	for _, w := range r.workers {
		f.billed += (w.Starting + w.Busy + w.Idle).Seconds()
	}
	for _, q := range r.requests {
		f.addRequest(p.sc, q)
	}
	f.leastAttempts = leastAttempts(r)
	f.idleGaps = idleGaps(r)
	return f
}

func (f *figures) addJob(r *run, job int) {
	l := &r.jobs[job]
	end := l.done.Sub(r.start).Seconds()
	again := r.worked[job] - 1
	if r.plan.malformed[job] {
		if again > 0 {
			f.malformedAgain++
			f.malformedMost = max(f.malformedMost, again)
		}
		return
	}
	f.calls++
	if again > 0 {
		f.repeated++
	}
	f.longest = max(f.longest, l.done.Sub(l.handed).Seconds())
	switch {
	case l.err == nil:
		f.succeeded++
		f.makespan = max(f.makespan, end)
	case !l.report.mayHaveRun:
		f.silent++
	}
	if l.err != nil && l.report.noWorkers {
		f.noWorkers++
	}
}

func (f *figures) addRequest(sc *scenario, q runpodtest.Request) {
	over := sc.outage + outageLength
	if sc.outage > 0 {
		if q.Arrived >= sc.outage && q.Arrived < over {
			f.inOutage++
		}
		if q.Arrived >= over && q.Outcome == runpodtest.OutcomeServed && math.IsNaN(f.afterOutage) {
			f.afterOutage = (q.Arrived - over).Seconds()
		}
	}
	switch waited := q.Ended - q.Arrived; {
	case q.Outcome != runpodtest.OutcomeRefused:
	case waited > time.Second:
		f.refusedWaiting++
	default:
		f.refusedAtOnce++
	}
}

// leastAttempts is how many attempts the run's own waits and faults made
// necessary: for each job one for every two minutes, whole or begun, between its
// first attempt and the one that got a worker; and one more for every fault.
func leastAttempts(r *run) (n int) {
	first, got, faults := map[int]time.Duration{}, map[int]time.Duration{}, map[int]int{}
	for _, q := range r.requests {
		job := jobOf(q.Path)
		if _, ok := first[job]; !ok {
			first[job] = q.Arrived
		}
		switch got[job] = q.Ended; q.Outcome {
		case runpodtest.OutcomeServed:
			got[job] = q.Started
		case runpodtest.OutcomeCrashed, runpodtest.OutcomeFault:
			faults[job]++
		}
	}
	const jitter = time.Second // a wait that is hardly over two minutes took one attempt
	for job, from := range first {
		waits := math.Ceil(float64(got[job]-from-jitter) / float64(queueWait))
		n += max(1, int(waits)) + faults[job]
	}
	return n
}

// idleGaps is how long workers stood idle while a call was pending: for every
// time that a worker became free while a call was neither worked on nor kept
// back by a backoff, the time until it had work, or until no such call was left.
func idleGaps(r *run) []float64 {
	marks := pendingMarks(r)
	if len(marks) == 0 {
		return nil
	}
	busy := map[string][]runpodtest.Request{}
	for _, q := range r.requests {
		if q.Worker != "" {
			busy[q.Worker] = append(busy[q.Worker], q)
		}
	}
	var gaps []float64
	for _, w := range r.workers {
		if w.Ready == 0 || w.Unhealthy {
			continue
		}
		free := w.Ready
		work := busy[w.ID]
		slices.SortFunc(work, func(a, b runpodtest.Request) int { return cmp.Compare(a.Started, b.Started) })
		for _, q := range work {
			gaps = appendGap(gaps, marks, free, q.Started)
			free = max(free, q.Ended)
		}
		if w.Stopped > 0 {
			gaps = appendGap(gaps, marks, free, w.Stopped)
		}
	}
	return gaps
}

// mark is the number of calls from a time on that a worker could have.
type mark struct {
	at      time.Duration
	pending int
}

// pendingMarks counts, over time, the calls that are handed over, not yet done,
// not being worked on and not sleeping before another attempt.
func pendingMarks(r *run) []mark {
	var steps []mark
	add := func(from, to time.Duration, by int) {
		if to > from {
			steps = append(steps, mark{from, by}, mark{to, -by})
		}
	}
	at := func(t time.Time) time.Duration { return t.Sub(r.start) }
	for job := range r.jobs {
		l := &r.jobs[job]
		add(at(l.handed), at(l.done), 1)
		for _, p := range l.report.pauses {
			add(at(p.from), min(at(p.to), at(l.done)), -1)
		}
	}
	for _, q := range r.requests {
		if q.Worker != "" {
			add(q.Started, q.Ended, -1)
		}
	}
	slices.SortStableFunc(steps, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	var marks []mark
	n := 0
	for _, s := range steps {
		n += s.pending
		if k := len(marks); k > 0 && marks[k-1].at == s.at {
			marks[k-1].pending = n
		} else {
			marks = append(marks, mark{s.at, n})
		}
	}
	return marks
}

// appendGap adds how much of the time from free to taken a call was pending.
func appendGap(gaps []float64, marks []mark, free, taken time.Duration) []float64 {
	var gap time.Duration
	any := taken == free
	i, _ := slices.BinarySearchFunc(marks, free, func(m mark, t time.Duration) int { return cmp.Compare(m.at, t) })
	for i = max(0, i-1); i < len(marks) && marks[i].at < taken; i++ {
		until := taken
		if i+1 < len(marks) {
			until = min(taken, marks[i+1].at)
		}
		if stretch := until - max(free, marks[i].at); marks[i].pending > 0 && stretch > 0 {
			gap += stretch
			any = true
		}
	}
	if any {
		gaps = append(gaps, gap.Seconds())
	}
	return gaps
}
