package model_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst/model"
	"github.com/gpuburst/runpod-go/internal/burst/model/modeltest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The model takes the same draws as the simulated endpoint, so that each burst
// comes to the same on both. What arrives within one instant has no order there,
// which may change a burst a little.
func TestModelAgreesWithRunpodtest(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 20
	}
	r := rand.New(rand.NewPCG(16, 4))
	same := 0
	for i := range n {
		c, inFlight := modeltest.Endpoint(r)
		if i%5 == 0 {
			c.ScalerType = runpodtest.QueueDelay
		}
		if i%7 == 0 {
			c.Concurrency, c.Capacity = 2, 2
		}
		if i%9 == 0 {
			c.CancelStarting = true
		}
		const requests = 150
		want := modeltest.Outcome(modeltest.Burst(t, c, requests, inFlight))
		d, err := c.Draws()
		if err != nil {
			t.Fatal(err)
		}
		got := model.Run(d, model.Client{Requests: requests, InFlight: inFlight})
		off := math.Abs(float64(got.Makespan-want.Makespan)) / float64(want.Makespan)
		if off > 0.1 || max(got.Refused-want.Refused, want.Refused-got.Refused) > requests/20 {
			t.Errorf("endpoint %d: %v and %d refused, want %v and %d: %+v", i, got.Makespan, got.Refused, want.Makespan, want.Refused, c)
		}
		if off < 1e-3 && got.Refused == want.Refused {
			same++
		}
	}
	t.Logf("%d of %d bursts come to the same", same, n)
	if same < n*9/10 {
		t.Errorf("only %d of %d bursts come to the same", same, n)
	}
}

// By hand: one worker, 60 s of cold start, 10 s of work, 2 min of patience.
func TestModelByHand(t *testing.T) {
	c := runpodtest.Config{MaxWorkers: 1, ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	for _, tt := range []struct {
		name   string
		min    int
		client model.Client
		want   model.Outcome
	}{
		// Ready at 60 s: served at 70, 80 ... 130 s, the last begun at 120 s or refused then.
		{"patient", 0, model.Client{Requests: 5, InFlight: 5}, model.Outcome{Makespan: 110 * time.Second, Succeeded: 5, Workers: 1, Billed: 115 * time.Second}},
		{"one place", 0, model.Client{Requests: 2, InFlight: 1}, model.Outcome{Makespan: 80 * time.Second, Succeeded: 2, Workers: 1, Billed: 85 * time.Second}},
		{"warm", 1, model.Client{Requests: 2, InFlight: 1}, model.Outcome{Makespan: 20 * time.Second, Succeeded: 2, Workers: 1, Billed: 85 * time.Second}},
		{"warmed while uploading", 0, model.Client{Requests: 1, InFlight: 1, Warm: 1, Upload: 59 * time.Second}, model.Outcome{Makespan: 70 * time.Second, Succeeded: 1, Workers: 1, Billed: 75 * time.Second}},
	} {
		c.MinWorkers = tt.min
		d, err := c.Draws()
		if err != nil {
			t.Fatal(err)
		}
		got := model.Run(d, tt.client)
		if got.Makespan != tt.want.Makespan || got.Succeeded != tt.want.Succeeded || got.Workers != tt.want.Workers || got.Billed != tt.want.Billed {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A refused request is lost without retries and served with them.
func TestModelRetries(t *testing.T) {
	d, err := runpodtest.Config{Preset: runpodtest.StressRun2()}.Draws()
	if err != nil {
		t.Fatal(err)
	}
	alone := model.Run(d, model.Client{Requests: 30, InFlight: 15})
	if alone.Succeeded == 30 || alone.Succeeded+alone.Refused != 30 {
		t.Errorf("without retries: %+v", alone)
	}
	retried := model.Run(d, model.Client{Requests: 30, InFlight: 15, Retry: true})
	if retried.Succeeded != 30 || retried.Refused == 0 {
		t.Errorf("with retries: %+v", retried)
	}
}

// An endpoint without workers ends a burst once package runpod would give up.
func TestModelNoWorkers(t *testing.T) {
	d, err := runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}.Draws()
	if err != nil {
		t.Fatal(err)
	}
	got := model.Run(d, model.Client{Requests: 3, InFlight: 3, Retry: true})
	if got.Succeeded != 0 || got.Makespan < 15*time.Minute || got.Makespan > 18*time.Minute {
		t.Errorf("%+v", got)
	}
}

func BenchmarkModel(b *testing.B) {
	d, err := runpodtest.Config{Preset: runpodtest.StressRun2()}.Draws()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		model.Run(d, model.Client{Requests: 300, InFlight: 40, Retry: true})
	}
}
