package bench

import (
	"math/rand/v2"
	"slices"
	"time"
)

// plan is what a seed fixes of a scenario: the same for every client, whatever
// it sends and when.
type plan struct {
	seed      uint64
	cold      []time.Duration // by number of the worker
	service   []time.Duration // by job
	malformed []bool          // by job
	sc        *scenario
}

// coldDraws is how many cold starts are drawn; later workers begin anew.
const coldDraws = 512

// stream keeps the draws for different purposes apart.
type stream uint64

const (
	drawCold stream = iota + 1
	drawService
	drawMalformed
	drawCrash
	drawGateway
)

func source(seed uint64, s stream, a, b int) *rand.Rand {
	return rand.New(rand.NewPCG(seed<<8|uint64(s), uint64(a)<<32|uint64(b)))
}

func newPlan(sc *scenario, seed uint64) *plan {
	p := &plan{seed: seed, sc: sc}
	cold := source(seed, drawCold, 0, 0)
	for range coldDraws {
		p.cold = append(p.cold, sc.cold.draw(cold))
	}
	service, bad := source(seed, drawService, 0, 0), source(seed, drawMalformed, 0, 0)
	for range sc.jobs {
		p.service = append(p.service, sc.service.draw(service))
		p.malformed = append(p.malformed, bad.Float64() < sc.malformed)
	}
	if sc.malformed > 0 && !slices.Contains(p.malformed, true) { // or the scenario shows nothing
		p.malformed[bad.IntN(sc.jobs)] = true
	}
	return p
}

func (s spread) draw(r *rand.Rand) time.Duration {
	return s.lo + time.Duration(r.Float64()*float64(s.hi-s.lo))
}

// crashes reports whether the n-th execution of a job kills its worker.
func (p *plan) crashes(job, n int) bool {
	return source(p.seed, drawCrash, job, n).Float64() < p.sc.crash
}

// gatewayFault is what becomes of the n-th attempt of a job.
type gatewayFault uint8

const (
	noFault gatewayFault = iota
	faultAtArrival
	faultAfterWork
)

func (p *plan) gateway(job, n int) gatewayFault {
	r := source(p.seed, drawGateway, job, n)
	switch {
	case r.Float64() >= p.sc.badGateway:
		return noFault
	case r.IntN(2) == 0:
		return faultAtArrival
	default:
		return faultAfterWork
	}
}

// work is the worker time that the well-formed jobs need.
func (p *plan) work() (sum time.Duration) {
	for job, d := range p.service {
		if !p.malformed[job] {
			sum += d
		}
	}
	return sum
}
