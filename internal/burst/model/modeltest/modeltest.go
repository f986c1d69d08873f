// Package modeltest has what the tests of the model and of what rests on it share.
package modeltest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/model"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Endpoint returns a random endpoint and how many requests a burst for it has in
// flight.
func Endpoint(r *rand.Rand) (c runpodtest.Config, inFlight int) {
	seconds := func(from, to float64) time.Duration {
		return time.Duration((from + r.Float64()*(to-from)) * float64(time.Second))
	}
	dist := func(from, to float64) runpodtest.Dist {
		a := seconds(from, to)
		b := a + time.Duration(r.Float64()*float64(a))
		switch r.IntN(3) {
		case 0:
			return runpodtest.Fixed(a)
		case 1:
			return runpodtest.Range(a, b)
		}
		return runpodtest.LogNormal(a, b)
	}
	c = runpodtest.Config{
		Seed: r.Uint64(), MaxWorkers: 1 + r.IntN(8), ScalerValue: 1 + r.IntN(8),
		ColdStart: dist(5, 90), ServiceTime: dist(2, 25),
		QueueWait: seconds(60, 180), IdleTimeout: seconds(5, 30),
	}
	c.MinWorkers = r.IntN(min(3, c.MaxWorkers) + 1)
	if r.IntN(2) == 0 {
		c.Unfairness = r.Float64() / 2
	}
	return c, 5 + r.IntN(36)
}

// Burst sends requests to the simulated endpoint in virtual time, each once, and
// returns what its client saw: the records that a burst on a live endpoint has.
func Burst(t *testing.T, c runpodtest.Config, requests, inFlight int) (log *burst.Log) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(c)
		if err != nil {
			t.Fatal(err)
		}
		log = &burst.Log{Run: burst.Run{Name: "naive", Endpoint: "test", Speed: 1, Requests: requests, Concurrency: inFlight}}
		tr := &http.Transport{DialContext: srv.DialContext, MaxIdleConnsPerHost: inFlight}
		began := time.Now().Add(-time.Millisecond)
		var mu sync.Mutex
		var next atomic.Int64
		var wg sync.WaitGroup
		for range min(inFlight, requests) {
			wg.Go(func() {
				for i := int(next.Add(1)); i <= requests; i = int(next.Add(1)) {
					j := job(&http.Client{Transport: tr}, srv, i, began)
					mu.Lock()
					log.Jobs = append(log.Jobs, j)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		log.End = &burst.End{At: burst.Seconds(time.Since(began).Seconds())}
	})
	return log
}

func job(hc *http.Client, srv *runpodtest.Server, i int, began time.Time) burst.Job {
	now := func() burst.Seconds { return burst.Seconds(time.Since(began).Seconds()) }
	j := burst.Job{Index: i - 1, ID: fmt.Sprint(i), Begin: now()}
	a := burst.Attempt{Start: now()}
	req, err := http.NewRequest(http.MethodPost, srv.EndpointURL+"/x", strings.NewReader("{}"))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	resp, err := hc.Do(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		a.Status, a.Worker = resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id")
	}
	a.End = now()
	j.End, j.OK, j.Attempts = a.End, a.Status == http.StatusOK, []burst.Attempt{a}
	return j
}

// Outcome is the log's, as far as its client saw it.
func Outcome(l *burst.Log) (o model.Outcome) {
	for _, j := range l.Jobs {
		o.Makespan = max(o.Makespan, time.Duration(float64(j.End)*float64(time.Second))-time.Millisecond)
		if j.OK {
			o.Succeeded++
		} else {
			o.Refused++
		}
	}
	return o
}
