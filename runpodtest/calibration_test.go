package runpodtest_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

const (
	calibrationSeeds = 200
	calibrationJobs  = 30
)

// naiveRun is what a client without retries saw in one run.
type naiveRun struct {
	succeeded   int
	fastest     time.Duration // of the successes
	slowest     time.Duration
	first       time.Duration // when the first success came
	refused     []time.Duration
	refusedJobs []int
	workers     int
}

// runNaively sends the jobs of the stress tests in virtual time: at most
// atOnce in flight, a new one at most every gap. Nothing is tried twice.
func runNaively(t *testing.T, cfg runpodtest.Config, atOnce int, gap time.Duration) (run naiveRun) {
	synctest.Test(t, func(t *testing.T) {
		tw := newTwin(t, cfg)
		start := time.Now()
		var mu sync.Mutex
		var wg sync.WaitGroup
		places := make(chan bool, atOnce)
		for job := range calibrationJobs {
			places <- true
			wg.Go(func() {
				g := tw.send("POST", "/api/v1/tryon", `{}`)
				<-places
				mu.Lock()
				defer mu.Unlock()
				run.add(t, job, g, time.Since(start))
			})
			time.Sleep(gap)
		}
		wg.Wait()
		run.workers = tw.Stats().WorkersStarted
	})
	return run
}

func (r *naiveRun) add(t *testing.T, job int, g got, at time.Duration) {
	switch {
	case g.err != nil:
		t.Error(g.err)
	case g.status == 200:
		if r.succeeded++; r.succeeded == 1 {
			r.first, r.fastest = at, g.took
		}
		r.fastest, r.slowest = min(r.fastest, g.took), max(r.slowest, g.took)
	case g.status == 400:
		r.refused = append(r.refused, g.took)
		r.refusedJobs = append(r.refusedJobs, job)
	default:
		t.Errorf("job %d: status %d", job, g.status)
	}
}

// median of what f says of each run.
func median(runs []naiveRun, f func(naiveRun) float64) float64 {
	var v []float64
	for _, r := range runs {
		v = append(v, f(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func TestCalibration(t *testing.T) {
	const row = "%-38s %-22s %s"
	t.Logf("naive client, %d jobs, medians of %d seeds", calibrationJobs, calibrationSeeds)
	t.Logf(row, "", "measured", "simulated")
	calibrate := func(p runpodtest.Preset, atOnce int, gap time.Duration) (runs []naiveRun) {
		for seed := range calibrationSeeds {
			runs = append(runs, runNaively(t, runpodtest.Config{Seed: uint64(seed), Preset: p}, atOnce, gap))
		}
		return runs
	}
	// check prints one row; outside the bounds the test fails.
	check := func(what, measured string, low, got, high float64) {
		t.Logf("%-38s %-22s %.1f (allowed %g to %g)", what, measured, got, low, high)
		if got < low || got > high {
			t.Errorf("%s: %.1f is not between %g and %g", what, got, low, high)
		}
	}
	succeeded := func(r naiveRun) float64 { return float64(r.succeeded) }
	seconds := func(f func(naiveRun) time.Duration) func(naiveRun) float64 {
		return func(r naiveRun) float64 { return f(r).Seconds() }
	}
	runs := calibrate(runpodtest.StressRun1(), calibrationJobs, 24*time.Second)
	check("run 1: workers started (most)", "1", 1, float64(slices.MaxFunc(runs, func(a, b naiveRun) int { return a.workers - b.workers }).workers), 1)
	check("run 1: refused", "the last ones", 1, median(runs, func(r naiveRun) float64 { return float64(len(r.refused)) }), 15)
	check("run 1: number of the first one refused", "late", 7, median(runs, func(r naiveRun) float64 { return float64(slices.Min(append(r.refusedJobs, 31))) }), 30)

	runs = calibrate(runpodtest.StressRun2(), 15, 0)
	check("run 2: succeeded of 30", "26", 26, median(runs, succeeded), 26)
	earliest, latest := refusals(runs)
	check("run 2: refused after, earliest (s)", "121", 120, earliest, 121)
	check("run 2: refused after, latest (s)", "121", 120, latest, 121)
	check("run 2: fastest, a warm answer (s)", "25-35", 25, median(runs, seconds(func(r naiveRun) time.Duration { return r.fastest })), 35)
	check("run 2: first, a cold answer (s)", "40-90", 40, median(runs, seconds(func(r naiveRun) time.Duration { return r.first })), 90)

	runs = calibrate(runpodtest.StressRun3(), 15, 0)
	check("run 3: succeeded of 30", "28", 28, median(runs, succeeded), 28)
	earliest, latest = refusals(runs)
	check("run 3: refused after, earliest (s)", "121", 120, earliest, 121)
	check("run 3: refused after, latest (s)", "121", 120, latest, 121)
	check("run 3: fastest success (s)", "10-15", 10, median(runs, seconds(func(r naiveRun) time.Duration { return r.fastest })), 15)
	check("run 3: slowest success (s)", "117", 105, median(runs, seconds(func(r naiveRun) time.Duration { return r.slowest })), 120)
}

// refusals is the shortest and the longest time after which a request was
// refused in any run, in seconds.
func refusals(runs []naiveRun) (earliest, latest float64) {
	earliest = 1e9
	for _, r := range runs {
		for _, d := range r.refused {
			earliest, latest = min(earliest, d.Seconds()), max(latest, d.Seconds())
		}
	}
	return earliest, latest
}

// TestCalibrationFormula holds a fair line against the formula for position k:
// it survives if k <= W x (1 + floor((T - R) / S)).
func TestCalibrationFormula(t *testing.T) {
	for _, tt := range []struct {
		workers, want int
		cold, service time.Duration
	}{
		{3, 12, 77500 * time.Millisecond, 12500 * time.Millisecond},
		{3, 15, 69 * time.Second, 12500 * time.Millisecond},
		{2, 8, 80 * time.Second, 13 * time.Second},
		{1, 1, 100 * time.Second, 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tw := newTwin(t, runpodtest.Config{MaxWorkers: tt.workers, ScalerValue: 1,
				ColdStart: runpodtest.Fixed(tt.cold), ServiceTime: runpodtest.Fixed(tt.service)})
			var wg sync.WaitGroup
			for range 15 {
				wg.Go(func() { tw.send("POST", "/", "") })
			}
			wg.Wait()
			if got := tw.Stats().Succeeded; got != tt.want {
				t.Errorf("%d workers, R %v, S %v: %d of 15, the formula gives %d", tt.workers, tt.cold, tt.service, got, tt.want)
			}
		})
	}
}
