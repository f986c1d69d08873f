package bench

import (
	"testing"
	"time"
)

func sec(s ...float64) (ds []time.Duration) {
	for _, v := range s {
		ds = append(ds, time.Duration(v*float64(time.Second)))
	}
	return ds
}

// planOf makes a plan by hand.
func planOf(sc scenario, cold, service []time.Duration) *plan {
	sc.jobs = len(service)
	return &plan{sc: &sc, cold: cold, service: service, malformed: make([]bool, len(service))}
}

func TestBound(t *testing.T) {
	for _, tt := range []struct {
		name          string
		sc            scenario
		cold, service []time.Duration
		want          float64
	}{
		{"one worker does all", scenario{workers: 1, scaler: 1, atOnce: 9}, sec(10), sec(5, 5, 5), 25},
		{"two workers share what is left when both are there", scenario{workers: 2, scaler: 1, atOnce: 9}, sec(10, 20), sec(10, 10, 10, 10), 35},
		{"a worker that comes too late does nothing", scenario{workers: 2, scaler: 1, atOnce: 9}, sec(10, 500), sec(10, 10), 30},
		{"the order of the cold starts does not matter", scenario{workers: 2, scaler: 1, atOnce: 9}, sec(500, 10), sec(10, 10), 30},
		{"the longest job on the first worker", scenario{workers: 3, scaler: 1, atOnce: 9}, sec(10, 10, 10), sec(1, 1, 40), 50},
		{"too few in flight for a second worker", scenario{workers: 2, scaler: 4, atOnce: 4}, sec(10, 10), sec(10, 10), 30},
		{"enough in flight for a second worker", scenario{workers: 2, scaler: 4, atOnce: 5}, sec(10, 10), sec(10, 10), 20},
		{"a balancer that refuses hides demand", scenario{workers: 3, scaler: 4, atOnce: 15, maxWaiting: 6}, sec(10, 10, 10), sec(10, 10, 10, 10), 30},
		{"calls that come one by one", scenario{workers: 1, scaler: 1, atOnce: 9, every: 100 * time.Second}, sec(10), sec(5, 5, 5), 205},
		{"an outage after all is done", scenario{workers: 1, scaler: 1, atOnce: 9, outage: 30 * time.Second}, sec(10), sec(5, 5, 5), 25},
		{"an outage in the middle", scenario{workers: 1, scaler: 1, atOnce: 9, outage: 20 * time.Second}, sec(10, 40, 30, 20, 50), sec(5, 5, 5), 20 + 600 + 20 + 5},
		{"nobody serves", scenario{workers: -1, scaler: 1, atOnce: 9}, sec(10), sec(5), 0},
	} {
		if got := planOf(tt.sc, tt.cold, tt.service).bound().Seconds(); got != tt.want {
			t.Errorf("%s: %g s, want %g s", tt.name, got, tt.want)
		}
	}
}

// A malformed job is no work, neither for the bound nor for the bill.
func TestBoundLeavesMalformedJobsOut(t *testing.T) {
	p := planOf(scenario{workers: 1, scaler: 1, atOnce: 9}, sec(10), sec(5, 70))
	p.malformed[1] = true
	if got := p.bound(); got != 15*time.Second {
		t.Errorf("bound %v, want 15 s", got)
	}
	if got := p.leastBill(); got != 15*time.Second {
		t.Errorf("least bill %v, want 15 s", got)
	}
}

// The fluid time is where the workers' capacity reaches the work.
func TestFluidIsWhereCapacityMeetsWork(t *testing.T) {
	sc := scenarios()[0]
	for seed := range uint64(50) {
		p := newPlan(&sc, seed)
		ready, work := p.readiness(0), p.work()
		at := fluid(ready, work)
		var done time.Duration
		for _, r := range ready {
			done += max(0, at-r)
		}
		if off := (done - work).Abs(); off > time.Microsecond {
			t.Errorf("seed %d: %v of work done at %v, want %v", seed, done, at, work)
		}
	}
}
