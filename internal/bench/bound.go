package bench

import (
	"slices"
	"time"
)

// bound is a makespan that no client can beat, from the plan alone.
//
// The autoscaler asks for at most W = min(workers, ceil(atOnce / scaler)) workers,
// since it never sees more than atOnce requests. Worker i is ready r_i after it
// is asked for, which is not before the start; from then on it gives one second
// of work a second. So all work is not done before T*, the time at which
// sum(max(0, T* - r_i)) reaches the sum of the service times p_j; nor before the
// first worker is ready and has done the longest job; nor, where calls come one
// by one, before the last has come and been served.
//
// With an outage that kills the workers, what they can have done by then is
// left to be done by workers that start when it is over.
func (p *plan) bound() time.Duration {
	ready := p.readiness(0)
	if len(ready) == 0 {
		return 0
	}
	longest, last := p.jobBounds()
	work := p.work()
	whole := max(ready[0]+longest, fluid(ready, work), last)
	if p.sc.outage == 0 || whole <= p.sc.outage {
		return whole
	}
	for _, r := range ready {
		work -= max(0, p.sc.outage-r)
	}
	again := p.readiness(p.sc.workers)
	return p.sc.outage + outageLength + fluid(again, max(0, work))
}

// effectiveWorkers is W: how many workers the autoscaler can be made to want.
// Where the balancer refuses at once what is above maxWaiting, it sees at most
// that and one request for every worker it has.
func (s *scenario) effectiveWorkers() (w int) {
	for {
		seen := s.atOnce
		if s.maxWaiting > 0 {
			seen = min(seen, s.maxWaiting+w)
		}
		more := max(0, min(s.workers, (seen+s.scaler-1)/s.scaler))
		if more <= w {
			return w
		}
		w = more
	}
}

// readiness is the cold starts of the workers, shortest first. After an outage
// it is not known which draws the new workers get, as that depends on how many
// there were: then the shortest of the next four times as many stand for them,
// which keeps the bound one.
func (p *plan) readiness(from int) []time.Duration {
	w := p.sc.effectiveWorkers()
	draws := p.cold[from : from+w]
	if from > 0 {
		draws = p.cold[from : from+4*p.sc.workers]
	}
	ready := slices.Sorted(slices.Values(draws))
	return ready[:w]
}

// jobBounds gives the longest well-formed job, and the earliest end of those that
// come one by one.
func (p *plan) jobBounds() (longest, last time.Duration) {
	for job, d := range p.service {
		if !p.malformed[job] {
			longest = max(longest, d)
			last = max(last, time.Duration(job)*p.sc.every+d)
		}
	}
	return longest, last
}

// fluid is the time at which workers that are ready at these times (shortest
// first) have done so much work together.
func fluid(ready []time.Duration, work time.Duration) time.Duration {
	sum := work
	for k, r := range ready {
		sum += r
		t := sum / time.Duration(k+1)
		if k+1 == len(ready) || t <= ready[k+1] {
			return t
		}
	}
	return 0
}

// leastBill is the worker time that the jobs cost at the least: one worker's cold
// start and the work itself, with no worker ever idle.
func (p *plan) leastBill() time.Duration {
	ready := p.readiness(0)
	if len(ready) == 0 {
		return 0
	}
	return ready[0] + p.work()
}
