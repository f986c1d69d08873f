package bench

import (
	"math"
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// queueWait is how long the balancer lets a request wait (Runpod docs).
const queueWait = 2 * time.Minute

// figures is what one run came to.
type figures struct {
	calls, succeeded int // well-formed ones
	lost             int // of these, those that failed without saying that they may have run
	clearErrors      int // of the failed, those whose error says that there is no worker

	attempts         int     // all that reached the endpoint
	leastAttempts    int     // what the waits and faults of this very run made necessary
	malformedAgain   int     // malformed calls that a worker was given more than once
	malformedMost    int     // how often the worst of them was given to a worker again
	repeated         int     // well-formed calls that were worked on more than once
	refusedWaiting   int     // attempts refused after they had waited
	refusedAtOnce    int     // attempts refused without a wait
	makespan         float64 // seconds from the first call to the last success
	bound            float64 // seconds
	billed           float64 // worker-seconds
	leastBill        float64 // worker-seconds
	longest          float64 // seconds the longest call took, to success or error
	peak             int
	idleGaps         []float64 // seconds that a worker stood idle while a call was pending, by occasion
	afterOutage      float64   // seconds from the outage's end to the first attempt that was served
	lastReturn       float64   // seconds from the first call to the last return
	workersStarted   int
	servedAfterFault bool
}

// measure turns a run into figures.
func measure(r *run) figures {
	p := r.plan
	f := figures{
		attempts: len(r.requests), bound: p.bound().Seconds(), leastBill: p.leastBill().Seconds(),
		peak: r.peak, workersStarted: len(r.workers),
	}
	for job := range r.jobs {
		f.addJob(r, job)
	}
	for _, w := range r.workers {
		f.billed += (w.Starting + w.Busy + w.Idle).Seconds()
	}
	f.addRequests(r)
	f.idleGaps = idleGaps(r)
	return f
}

func (f *figures) addJob(r *run, job int) {
	l := &r.jobs[job]
	end := l.done.Sub(r.start).Seconds()
	f.lastReturn = max(f.lastReturn, end)
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
		f.lost++
	}
	if l.err != nil && l.report.noWorkers {
		f.clearErrors++
	}
}

// addRequests counts refusals, and the attempts that were necessary: one for
// every two minutes, begun or whole, that a job's first attempt and those after
// it waited in all, and one more for every fault it met.
func (f *figures) addRequests(r *run) {
	over := (r.plan.sc.outage + outageLength)
	f.afterOutage = math.NaN()
	first, started, faults := map[int]time.Duration{}, map[int]time.Duration{}, map[int]int{}
	for _, q := range r.requests {
		job := jobOf(q.Path)
		if _, ok := first[job]; !ok {
			first[job] = q.Arrived
		}
		started[job] = q.Ended
		switch q.Outcome {
		case runpodtest.OutcomeRefused:
			if q.Ended-q.Arrived > time.Second {
				f.refusedWaiting++
			} else {
				f.refusedAtOnce++
			}
		case runpodtest.OutcomeServed:
			started[job] = q.Started
			if r.plan.sc.outage > 0 && q.Arrived >= over && math.IsNaN(f.afterOutage) {
				f.afterOutage = (q.Arrived - over).Seconds()
			}
		case runpodtest.OutcomeCrashed, runpodtest.OutcomeFault:
			faults[job]++
		}
	}
	for job, from := range first {
		waits := math.Ceil(float64(started[job]-from-time.Second) / float64(queueWait))
		f.leastAttempts += max(1, int(waits)) + faults[job]
	}
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
		slices.SortFunc(work, func(a, b runpodtest.Request) int { return int(a.Started - b.Started) })
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
	slices.SortStableFunc(steps, func(a, b mark) int { return int(a.at - b.at) })
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
	i, _ := slices.BinarySearchFunc(marks, free, func(m mark, t time.Duration) int { return int(m.at - t) })
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
