package fit_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/fit"
	"github.com/gpuburst/runpod-go/internal/burst/model"
	"github.com/gpuburst/runpod-go/internal/burst/model/modeltest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Random endpoints are fitted from one burst of 300 each, by what its client saw.
// The plain client then comes to the same on the fit as on the endpoint: medians of
// 50 seeds within 10 %, or between the endpoint's own 10th and 90th percentile, for
// 9 of 10.
func TestFitOfRandomEndpoints(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 10
	}
	r := rand.New(rand.NewPCG(3, 16))
	good := 0
	for i := range n {
		c, inFlight := modeltest.Endpoint(r)
		f, err := fit.New([]*burst.Log{modeltest.Burst(t, c, 300, inFlight)})
		if err != nil {
			t.Errorf("endpoint %d: %v", i, err)
			continue
		}
		back := written(t, f)
		wantTime, wantShare := percentiles(t, c, inFlight)
		gotTime, gotShare := percentiles(t, back, inFlight)
		if near(gotTime[1], wantTime) && near(gotShare[1], wantShare) {
			good++
		} else {
			t.Logf("endpoint %d, %d in flight: makespan %.0f, want %.0f; success %.3f, want %.3f\n%+v\n%+v", i, inFlight, gotTime[1], wantTime, gotShare[1], wantShare, c, f.Known)
		}
	}
	t.Logf("%d of %d fits hold", good, n)
	if good < n*9/10 {
		t.Errorf("%d of %d fits hold, want 90 %%", good, n)
	}
}

// written is the endpoint as its file has it.
func written(t *testing.T, f *fit.Fit) runpodtest.Config {
	t.Helper()
	var file bytes.Buffer
	if err := f.Write(&file); err != nil {
		t.Fatal(err)
	}
	c, err := runpodtest.ReadConfig(&file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// percentiles are the 10th, 50th and 90th of makespan and success of 50 seeds.
func percentiles(t *testing.T, c runpodtest.Config, inFlight int) (makespan, success [3]float64) {
	t.Helper()
	var times, shares []float64
	for seed := range uint64(50) {
		c.Seed = 1000 + seed
		d, err := c.Draws()
		if err != nil {
			t.Fatal(err)
		}
		o := model.Run(d, model.Client{Requests: 300, InFlight: inFlight})
		times = append(times, o.Makespan.Seconds())
		shares = append(shares, float64(o.Succeeded)/300)
	}
	slices.Sort(times)
	slices.Sort(shares)
	for i, at := range []int{5, 25, 44} {
		makespan[i], success[i] = times[at], shares[at]
	}
	return makespan, success
}

func near(got float64, want [3]float64) bool {
	return got >= min(0.9*want[1], want[0]) && got <= max(1.1*want[1], want[2])
}

// What is known of an endpoint is found, and what is not is said.
func TestFit(t *testing.T) {
	c := runpodtest.Config{Seed: 1, MaxWorkers: 4, ColdStart: runpodtest.Fixed(40 * time.Second), ServiceTime: runpodtest.Range(10*time.Second, 12*time.Second)}
	f, err := fit.New([]*burst.Log{modeltest.Burst(t, c, 100, 15)})
	if err != nil {
		t.Fatal(err)
	}
	got := f.Config
	if got.MaxWorkers != 4 || got.MinWorkers != 0 || got.Unfairness != 0 || got.QueueWait != 0 {
		t.Errorf("%+v", got)
	}
	var text strings.Builder
	if err := f.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 starts", "any value from 1 to 4 explains that", "nothing was refused", "no worker stopped and came back", "none was overtaken"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	c.MinWorkers, c.QueueWait, c.Unfairness = 2, 70*time.Second, 0.4
	if f, err = fit.New([]*burst.Log{modeltest.Burst(t, c, 300, 40)}); err != nil {
		t.Fatal(err)
	}
	got = f.Config
	if got.MinWorkers != 2 || got.QueueWait != 70*time.Second || got.Unfairness < 0.2 || got.Unfairness > 0.6 {
		t.Errorf("%+v", got)
	}
}

// Records that show too little are refused.
func TestFitRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		log  *burst.Log
		want string
	}{
		"nothing":   {&burst.Log{}, "no attempt"},
		"nameless":  {&burst.Log{Jobs: []burst.Job{{Attempts: []burst.Attempt{{Start: 1, End: 9, Status: 200}}}}}, "X-Runpod-Worker-Id"},
		"one alone": {&burst.Log{Jobs: []burst.Job{{Attempts: []burst.Attempt{{Start: 1, End: 9, Status: 200, Worker: "a"}}}}}, "only 0 requests"},
	} {
		if _, err := fit.New([]*burst.Log{tt.log}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
