package model_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/burst/model"
	"github.com/gpuburst/runpod-go/internal/burst/model/modeltest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// With retries the model is package runpod's client: whole bursts take as long.
func TestModelAgreesWithClient(t *testing.T) {
	const requests = 100
	r := rand.New(rand.NewPCG(5, 16))
	var sum, sumOfModel time.Duration
	for i := range 20 {
		c, inFlight := modeltest.Endpoint(r)
		c.QueueWait = 2 * time.Minute // that of the client's policy
		d, err := c.Draws()
		if err != nil {
			t.Fatal(err)
		}
		want, served := clientBurst(t, c, requests, inFlight)
		got := model.Run(d, model.Client{Requests: requests, InFlight: inFlight, Retry: true})
		if served != requests || got.Succeeded != requests || max(got.Makespan-want, want-got.Makespan) > want/5 {
			t.Errorf("endpoint %d, %d in flight: model %v and %d served, client %v and %d", i, inFlight, got.Makespan, got.Succeeded, want, served)
		}
		sum, sumOfModel = sum+want, sumOfModel+got.Makespan
	}
	off := float64(sumOfModel-sum) / float64(sum)
	t.Logf("the model's bursts take %+.1f %% of the client's time more", 100*off)
	if off > 0.05 || off < -0.05 {
		t.Errorf("the model's bursts take %v, the client's %v", sumOfModel, sum)
	}
}

func clientBurst(t *testing.T, c runpodtest.Config, requests, inFlight int) (makespan time.Duration, served int) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(c)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		client, err := runpod.New(runpod.WithEndpoint(srv.EndpointURL), runpod.WithAPIKey(srv.APIKey),
			runpod.WithDialContext(srv.DialContext), runpod.WithMaxInFlight(inFlight))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		began := time.Now()
		var ok atomic.Int64
		var wg sync.WaitGroup
		for range requests {
			wg.Go(func() {
				if _, err := client.Call(t.Context(), "POST", "/x", struct{}{}, nil); err == nil {
					ok.Add(1)
				}
			})
		}
		wg.Wait()
		makespan, served = time.Since(began), int(ok.Load())
	})
	return makespan, served
}
