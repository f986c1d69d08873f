package plan

import (
	"context"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func stress(p runpodtest.Preset) Options {
	return Options{Config: runpodtest.Config{Preset: p}, Requests: 30, Concurrency: 15, Within: 10 * time.Minute,
		Share: 0.95, MaxWorkers: 8, Price: 0.0003, Seed: 1, Runs: 50}
}

func make1(t *testing.T, o Options) *Plan {
	t.Helper()
	o.Computed = nil
	p, err := Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The same seed has the same plan, whatever the processors do; another seed has
// other bursts.
func TestSameSeedSamePlan(t *testing.T) {
	o := stress(runpodtest.StressRun2())
	first, again := make1(t, o), make1(t, o)
	first.Options, again.Options = Options{}, Options{} // functions are never equal
	if !reflect.DeepEqual(first, again) {
		t.Errorf("%+v\n%+v", first, again)
	}
	o.Seed = 2
	if other := make1(t, o); reflect.DeepEqual(first.Question.Retries, other.Question.Retries) {
		t.Error("another seed has the same bursts")
	}
}

// The plan keeps its promise in bursts that it was not made from, and nothing that
// was tried and keeps it is cheaper.
func TestPlanKeepsItsPromise(t *testing.T) {
	o := stress(runpodtest.StressRun3())
	o.Within = 3 * time.Minute
	p := make1(t, o)
	if p.Best == nil {
		t.Fatal(p.Headline())
	}
	fresh := p.Options
	fresh.Seed, fresh.Computed = 77, new(atomic.Int64)
	if r := fresh.judge(context.Background(), p.Best.Setting, true, 200); r.Kept < 0.88 {
		t.Errorf("kept in %.2f of fresh bursts: %s", r.Kept, p.Best.Setting)
	}
	for i, r := range p.Frontier {
		if r.Kept >= o.Share && r.Billed < p.Best.Billed*99/100 {
			t.Errorf("%s costs %v, less than the plan's %v", r.Setting, r.Billed, p.Best.Billed)
		}
		if i > 0 && (r.Billed >= p.Frontier[i-1].Billed || r.Time.P95 < p.Frontier[i-1].Time.P95) {
			t.Errorf("%s is beaten by %s", r.Setting, p.Frontier[i-1].Setting)
		}
	}
}

// Minimum workers are one way to lose nothing, retries another.
func TestQuestionOfTheStressTests(t *testing.T) {
	for _, preset := range []runpodtest.Preset{runpodtest.StressRun1(), runpodtest.StressRun2(), runpodtest.StressRun3()} {
		q := make1(t, stress(preset)).Question
		if !q.Found || q.Plain[0].Whole > 0.5 || q.Plain[len(q.Plain)-1].Whole < 0.95 || q.Retries.Whole < 0.99 {
			t.Errorf("%s: %+v", preset, q)
		}
		for i, r := range q.Plain {
			if r.Min != i || i < len(q.Plain)-1 && r.Whole >= 0.95 {
				t.Errorf("%s: with %d minimum workers %+v", preset, i, r)
			}
		}
	}
}

// A promise that cannot be kept is said to be one.
func TestPromiseTooBig(t *testing.T) {
	o := stress(runpodtest.StressRun2())
	o.Within = 20 * time.Second // less than one request takes
	p := make1(t, o)
	if p.Best != nil || p.Closest == nil || !strings.Contains(p.Headline(), "nothing that was tried keeps that") {
		t.Errorf("%+v", p.Headline())
	}
	var text, html strings.Builder
	if err := p.Print(&text); err != nil {
		t.Error(err)
	}
	if err := p.WriteHTML(&html); err != nil {
		t.Error(err)
	}
}

func TestPlanInWords(t *testing.T) {
	o := stress(runpodtest.StressRun2())
	p := make1(t, o)
	p.Best = &Result{Setting: Setting{Min: 3, Max: 6, Value: 2, Idle: 30 * time.Second, InFlight: 7, Warm: 6}}
	words := strings.Join(p.Words(), "\n")
	for _, want := range []string{"runpod.WithMaxInFlight(7), runpod.WithWarmup(6)", "client.HoldWorkers(ctx, 3)", "runpod-workers set -max 6",
		"scaler value 2 instead of 4", "idle timeout 30s instead of 5s"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
}

// Each setting of the frontier is in the page once as a point and once as a row.
func TestPlanPage(t *testing.T) {
	p := make1(t, stress(runpodtest.StressRun2()))
	var html strings.Builder
	if err := p.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(html.String(), "<circle"); n != len(p.Frontier) || n < 5 {
		t.Errorf("%d points for %d settings", n, len(p.Frontier))
	}
	if n := strings.Count(html.String(), "<tr><td>"); n != len(p.Frontier) {
		t.Errorf("%d rows for %d settings", n, len(p.Frontier))
	}
	if n := strings.Count(html.String(), `class="best"`); n != 1 {
		t.Errorf("%d points are the plan's", n)
	}
	for _, bad := range []string{"NaN", "ZgotmplZ", "http://", "https://"} {
		if strings.Contains(html.String(), bad) {
			t.Errorf("%s in the page", bad)
		}
	}
}

// A context that ends, ends the computing.
func TestPlanStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := stress(runpodtest.StressRun2())
	o.Requests, o.Runs = 100_000, 100_000
	if _, err := Make(ctx, o); err != context.Canceled {
		t.Error(err)
	}
}
