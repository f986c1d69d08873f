package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The endpoint of the stress tests, as far as their reports tell: three
// workers from zero, cold starts of a minute or more, 10 to 22 s a picture.
const (
	coldStartMin, coldStartMax = 60 * time.Second, 100 * time.Second
	workMin, workMax           = 10 * time.Second, 22 * time.Second
	maxWorkers                 = 3
	queueWait                  = 2 * time.Minute
	photoTime                  = 10 * time.Second // to upload one, with -warm
)

// speed is how fast the simulated endpoint's time runs. The faster, the more
// the real work of a picture (10 to 20 ms) would weigh.
const speed = 50

// target is the endpoint for one burst: each simulated one is new, and the same.
func (s settings) target() (*burst.Target, error) {
	if !s.live {
		return burst.Simulate("simulated", twin(s.seed, s.warm > 0))
	}
	t, err := burst.Live(os.Getenv)
	if err != nil {
		err = fmt.Errorf("-live: %w", err)
	}
	return t, err
}

// twin describes the simulated endpoint. The same seed gives the same workers,
// cold starts and working times. On a slow line each upload takes photoTime.
func twin(seed uint64, slowLine bool) burst.Twin {
	t := burst.Twin{Config: runpodtest.Config{
		Seed: seed, Loopback: true, Speed: speed,
		MaxWorkers: maxWorkers, QueueWait: queueWait,
		ColdStart: runpodtest.Range(coldStartMin, coldStartMax),
		Handler: func(w runpodtest.Worker) http.Handler {
			return newTryOn(w.VolumeDir, (&gpu{seed: seed, worker: w}).work)
		},
	}}
	if slowLine {
		t.Faults = []runpodtest.Fault{{On: runpodtest.OnS3, Method: http.MethodPut, Times: runpodtest.Always, Do: runpodtest.Delay(photoTime)}}
	}
	return t
}

// gpu imitates the model that a worker would run: the pictures are really
// made, and for the rest of the time a model takes the worker is kept busy.
type gpu struct {
	seed   uint64
	worker runpodtest.Worker
	runs   atomic.Uint64
}

// work ends when the model would, for a run that began at the given time, and
// tells how long that took.
func (g *gpu) work(began time.Time) burst.Seconds {
	r := rand.New(rand.NewPCG(g.seed, uint64(g.worker.Number)<<32|g.runs.Add(1)))
	model := workMin + time.Duration(r.Int64N(int64(workMax-workMin)))
	rest := time.NewTimer(model/speed - time.Since(began))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-g.worker.Context.Done():
	}
	return burst.Seconds(speed * time.Since(began).Seconds())
}
