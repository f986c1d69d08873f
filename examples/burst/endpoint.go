package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	runpod "github.com/gpuburst/runpod-go"
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

// target is an endpoint with its volume: what each client needs to know of it.
type target struct {
	speed                        float64
	endpointURL, apiKey          string
	s3URL, region, bucket        string
	accessKeyID, secretAccessKey string
	options                      []runpod.Option
	observe                      func() observed // nil: nobody looks from the other side
	close                        func()
}

// clock starts a stopwatch in the endpoint's time.
func (t target) clock() stopwatch { return stopwatch{time.Now(), t.speed} }

// simulate starts an endpoint in this process. The same seed gives the same
// workers, cold starts and working times. On a slow line each upload takes
// photoTime.
func simulate(seed uint64, slowLine bool) (target, error) {
	s, err := runpodtest.NewServer(runpodtest.Config{
		Seed: seed, Loopback: true, Speed: speed,
		MaxWorkers: maxWorkers, QueueWait: queueWait,
		ColdStart: runpodtest.Range(coldStartMin, coldStartMax),
		Handler: func(w runpodtest.Worker) http.Handler {
			return newTryOn(w.VolumeDir, (&gpu{seed: seed, worker: w}).work)
		},
	})
	if err != nil {
		return target{}, err
	}
	if slowLine {
		s.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: http.MethodPut, Times: runpodtest.Always, Do: runpodtest.Delay(photoTime)})
	}
	return target{
		speed:       speed,
		endpointURL: s.EndpointURL, apiKey: s.APIKey,
		s3URL: s.S3URL, region: s.Region, bucket: s.Bucket,
		accessKeyID: s.AccessKeyID, secretAccessKey: s.SecretAccessKey,
		options: []runpod.Option{
			runpod.WithEndpoint(s.EndpointURL), runpod.WithAPIKey(s.APIKey),
			runpod.WithS3Endpoint(s.S3URL, s.Region, s.Bucket),
			runpod.WithS3Credentials(s.AccessKeyID, s.SecretAccessKey),
			runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0 / speed)),
		},
		observe: func() observed {
			st := s.Stats()
			return observed{st.WorkersStarted, st.S3Conns.Opened, st.S3Conns.Peak, seconds(st.Billed())}
		},
		close: func() { s.Close() },
	}, nil
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
func (g *gpu) work(began time.Time) seconds {
	r := rand.New(rand.NewPCG(g.seed, uint64(g.worker.Number)<<32|g.runs.Add(1)))
	model := workMin + time.Duration(r.Int64N(int64(workMax-workMin)))
	clock := stopwatch{began, speed}
	rest := time.NewTimer((model - time.Duration(clock.now())) / speed)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-g.worker.Context.Done():
	}
	return clock.now()
}

// live is the endpoint that the environment names. The library reads the
// environment by itself; the fields are for the naive client.
func live() (target, error) {
	t := target{
		speed: 1, close: func() {},
		endpointURL: strings.TrimSuffix(os.Getenv("RUNPOD_ENDPOINT_URL"), "/"), apiKey: os.Getenv("RUNPOD_API_KEY"),
		s3URL: os.Getenv("RUNPOD_S3_ENDPOINT_URL"), region: os.Getenv("RUNPOD_S3_REGION"), bucket: os.Getenv("RUNPOD_S3_BUCKET_NAME"),
		accessKeyID: os.Getenv("RUNPOD_S3_ACCESS_KEY_ID"), secretAccessKey: os.Getenv("RUNPOD_S3_SECRET_ACCESS_KEY"),
	}
	if id := os.Getenv("RUNPOD_ENDPOINT_ID"); id != "" {
		t.endpointURL = "https://" + id + ".api.runpod.ai"
	}
	return t, t.complete()
}

// complete names the settings that a live run lacks.
func (t target) complete() error {
	var missing []string
	for _, v := range []struct{ name, value string }{
		{"RUNPOD_API_KEY", t.apiKey},
		{"RUNPOD_ENDPOINT_ID (or RUNPOD_ENDPOINT_URL)", t.endpointURL},
		{"RUNPOD_S3_ENDPOINT_URL", t.s3URL},
		{"RUNPOD_S3_REGION", t.region},
		{"RUNPOD_S3_BUCKET_NAME", t.bucket},
		{"RUNPOD_S3_ACCESS_KEY_ID", t.accessKeyID},
		{"RUNPOD_S3_SECRET_ACCESS_KEY", t.secretAccessKey},
	} {
		if v.value == "" {
			missing = append(missing, v.name)
		}
	}
	if missing != nil {
		return fmt.Errorf("-live: the environment lacks %s", strings.Join(missing, ", "))
	}
	return nil
}
