package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// served is a request that a worker served, and refused one that none took; times
// in seconds.
func served(job int, worker string, arrived, started, ended float64) runpodtest.Request {
	at := sec(arrived, started, ended)
	return runpodtest.Request{Path: jobPath(job), Worker: worker, Arrived: at[0], Started: at[1], Ended: at[2], Outcome: runpodtest.OutcomeServed}
}

func refused(job int, arrived, ended float64) runpodtest.Request {
	at := sec(arrived, ended)
	return runpodtest.Request{Path: jobPath(job), Arrived: at[0], Ended: at[1], Outcome: runpodtest.OutcomeRefused}
}

func ended(q runpodtest.Request, o runpodtest.Outcome) runpodtest.Request {
	q.Outcome = o
	return q
}

func TestLeastAttempts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		requests []runpodtest.Request
		want     int
	}{
		{"taken at once", []runpodtest.Request{served(0, "a", 0, 0, 10)}, 1},
		{"taken after a wait", []runpodtest.Request{served(0, "a", 0, 119, 130)}, 1},
		{"sent again after two minutes", []runpodtest.Request{refused(0, 0, 120), served(0, "a", 120.2, 150, 160)}, 2},
		{"taken right after two minutes", []runpodtest.Request{refused(0, 0, 120), served(0, "a", 120.2, 120.2, 130)}, 1},
		{"never taken", []runpodtest.Request{refused(0, 0, 120), refused(0, 120, 240), refused(0, 240, 360)}, 3},
		{"instant refusals are not necessary", []runpodtest.Request{refused(0, 0, 0), refused(0, 1, 1), served(0, "a", 2, 3, 4)}, 1},
		{"a crash makes one more necessary", []runpodtest.Request{
			ended(served(0, "a", 0, 5, 10), runpodtest.OutcomeCrashed), served(0, "b", 11, 12, 20)}, 2},
		{"two jobs", []runpodtest.Request{served(0, "a", 0, 0, 10), served(1, "a", 0, 10, 20)}, 2},
	} {
		if got := leastAttempts(&run{requests: tt.requests}); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// runOf is a run of jobs that were handed over at 0 and done at these seconds.
func runOf(done ...float64) *run {
	r := &run{start: time.Now(), worked: make([]int, len(done))}
	for _, d := range sec(done...) {
		r.jobs = append(r.jobs, jobLog{handed: r.start, done: r.start.Add(d)})
	}
	return r
}

func TestIdleGaps(t *testing.T) {
	worker := runpodtest.WorkerLife{ID: "a", Ready: 10 * time.Second, Stopped: 100 * time.Second}
	for _, tt := range []struct {
		name     string
		done     []float64
		requests []runpodtest.Request
		pause    []float64 // of the first job
		want     []float64
	}{
		{"busy whenever a call is pending", []float64{20, 30}, []runpodtest.Request{served(0, "a", 0, 10, 20), served(1, "a", 0, 20, 30)}, nil, []float64{0, 0}},
		{"idle for two seconds between two calls", []float64{20, 32}, []runpodtest.Request{served(0, "a", 0, 10, 20), served(1, "a", 0, 22, 32)}, nil, []float64{0, 2}},
		{"idle when the first call comes", []float64{23}, []runpodtest.Request{served(0, "a", 0, 13, 23)}, nil, []float64{3}},
		{"a call that backs off is not pending", []float64{23}, []runpodtest.Request{served(0, "a", 12, 13, 23)}, []float64{9, 12.5}, []float64{0.5}},
		{"idle when all is done", []float64{20}, []runpodtest.Request{served(0, "a", 0, 10, 20)}, nil, []float64{0}},
	} {
		r := runOf(tt.done...)
		r.requests, r.workers = tt.requests, []runpodtest.WorkerLife{worker}
		if p := sec(tt.pause...); len(p) == 2 {
			r.jobs[0].report.pauses = []span{{r.start.Add(p[0]), r.start.Add(p[1])}}
		}
		if got := idleGaps(r); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMeasure(t *testing.T) {
	sc := scenario{workers: 1, scaler: 1, atOnce: 9, outage: 0}
	r := runOf(30, 50, 25, 60)
	r.plan = planOf(sc, sec(10), sec(5, 5, 5, 5))
	r.plan.malformed[2] = true
	r.jobs[2].err = errTest
	r.jobs[3].err, r.jobs[3].report.mayHaveRun = errTest, true
	r.worked = []int{1, 2, 3, 1}
	r.requests = []runpodtest.Request{served(0, "a", 0, 10, 20), refused(1, 0, 0.1), refused(1, 0.2, 120.2)}
	r.workers = []runpodtest.WorkerLife{{Starting: 10 * time.Second, Busy: 20 * time.Second, Idle: 5 * time.Second}}
	f := measure(r)
	f.idleGaps = nil
	f.afterOutage = 0 // not a number: not comparable
	want := figures{
		calls: 3, succeeded: 2, attempts: 3, leastAttempts: 2, refusedWaiting: 1, refusedAtOnce: 1,
		malformedAgain: 1, malformedMost: 2, repeated: 1, makespan: 50, bound: 25, billed: 35, leastBill: 25, longest: 60,
	}
	if got, want := sheet(f), sheet(want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQuantileAndMedian(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.2: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %g, want 2.5", got)
	}
	if !math.IsNaN(quantile(nil, 0.5)) || !math.IsNaN(median(nil)) {
		t.Error("no values have a median")
	}
}
