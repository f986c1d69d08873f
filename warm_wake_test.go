package runpod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// drowsy is an endpoint scaled to zero whose workers take a minute to start, and
// 50 ms for whatever is asked of them.
func drowsy(change func(*runpodtest.Config)) runpodtest.Config {
	cfg := runpodtest.Config{
		ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(10 * time.Second), MaxWorkers: 5,
		Handler: func(runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
		},
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// With the control plane a wake knows how many requests ask for a worker, and how
// many workers there can be.
func TestWarmKnowsTheScaling(t *testing.T) {
	for _, tt := range []struct {
		name       string
		cfg        func(*runpodtest.Config)
		n          int
		up, atOnce int
		kind       error
		says       string
		within     time.Duration
	}{
		{"usual", func(c *runpodtest.Config) {}, 3, 3, 10, nil, "", 64 * time.Second},
		{"one request a worker", func(c *runpodtest.Config) { c.ScalerValue = 1 }, 3, 3, 3, nil, "", 64 * time.Second},
		{"ten requests a worker", func(c *runpodtest.Config) { c.ScalerValue = 10 }, 3, 3, 23, nil, "", 64 * time.Second},
		{"more than the maximum", func(c *runpodtest.Config) { c.MaxWorkers = 2 }, 4, 2, 6, runpod.ErrNoWorkers, "2 of 4 workers are up: the endpoint's maximum is 2", 64 * time.Second},
		{"no workers allowed", func(c *runpodtest.Config) { c.MaxWorkers = runpodtest.NoWorkers }, 2, 0, 0, runpod.ErrNoWorkers, "maximum is 0 workers", time.Second},
		{"not load-balancing", func(c *runpodtest.Config) { c.QueueBased = true }, 2, 0, 0, runpod.ErrBadRequest, "not a load-balancing endpoint", time.Second},
		{"workers without names", func(c *runpodtest.Config) { c.OmitWorkerID = true }, 3, 3, 10, nil, "", 80 * time.Second},
		{"uneven routing", func(c *runpodtest.Config) { c.Routing = runpodtest.RouteUneven }, 5, 5, 18, nil, "", 80 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, drowsy(tt.cfg))
				c := steered(t, srv)
				start := time.Now()
				n, err := c.Warm(t.Context(), tt.n)
				took := time.Since(start)
				if n < tt.up || !errors.Is(err, tt.kind) || (err != nil) != (tt.kind != nil) || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%d, %v; want %d, %v %s", n, err, tt.up, tt.kind, tt.says)
				}
				if st := srv.Stats(); st.WorkersStarted != tt.up || st.PeakInFlight != tt.atOnce || took > tt.within {
					t.Errorf("%d workers started, %d requests at once, %s; want %d, %d, %s", st.WorkersStarted, st.PeakInFlight, took, tt.up, tt.atOnce, tt.within)
				}
				if srv.Stats().ControlRequests > 20 {
					t.Errorf("%d requests to the control plane", srv.Stats().ControlRequests)
				}
			})
		})
	}
}

// A control plane that is down makes a wake no worse than one without.
func TestWarmWithoutAnAnswerFromTheControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, drowsy(nil))
		srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		c := steered(t, srv)
		start := time.Now()
		if n, err := c.Warm(t.Context(), 3); n != 3 || err != nil || time.Since(start) > 67*time.Second {
			t.Errorf("%d, %v after %s", n, err, time.Since(start))
		}
	})
}

// WithWarmup(0) wakes what the jobs under way will ask for.
func TestWarmupByWhatIsComing(t *testing.T) {
	for _, tt := range []struct{ jobs, value, workers int }{{1, 4, 1}, {4, 4, 1}, {5, 4, 2}, {12, 4, 3}, {40, 4, 4}, {40, 2, 5}, {3, 1, 3}, {3, 2, 2}} {
		t.Run(fmt.Sprintf("%d jobs, %d a worker", tt.jobs, tt.value), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, drowsy(func(c *runpodtest.Config) { c.ScalerValue = tt.value }))
				c := steered(t, srv, runpod.WithWarmup(0), runpod.WithS3Conns(40))
				srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(20 * time.Second)})
				var started atomic.Int64
				time.AfterFunc(15*time.Second, func() { started.Store(int64(srv.Stats().WorkersStarted)) })
				var jobs []runpod.Job
				for i := range tt.jobs {
					in := runpod.Reader("x", 1, func(context.Context) (io.ReadCloser, error) {
						time.Sleep(time.Duration(i) * 5 * time.Millisecond) // no two end at the same instant
						return io.NopCloser(strings.NewReader("x")), nil
					})
					jobs = append(jobs, runpod.Job{Inputs: []runpod.JobInput{{Input: in}}, Path: "/x"})
				}
				for _, err := range c.RunAll(t.Context(), slices.Values(jobs)) {
					if err != nil {
						t.Error(err)
					}
				}
				most := tt.workers
				if tt.value == 1 {
					most++ // a call that comes before a withdrawn request has left asks for one more
				}
				if all := srv.Stats().WorkersStarted; int(started.Load()) != tt.workers || all < tt.workers || all > most {
					t.Errorf("%d workers were starting while the inputs were uploaded, %d in all; want %d", started.Load(), srv.Stats().WorkersStarted, tt.workers)
				}
			})
		})
	}
}

// Calls take the places of the light requests that wait: these keep only what the
// pressure has in slack, and a worker that comes up serves the calls at once.
func TestCallsGoBeforeTheWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, drowsy(nil))
		c := steered(t, srv)
		var wg sync.WaitGroup
		wg.Go(func() { c.Warm(t.Context(), 5) }) // 18 light requests wait
		time.Sleep(30 * time.Second)
		for i := range 16 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var starts []time.Duration
		pings := 0 // that were served before the last call was
		for _, r := range srv.Requests() {
			switch {
			case r.Path == "/x":
				starts = append(starts, r.Started)
			case r.Arrived < time.Minute && r.Worker != "":
				pings++
			}
		}
		slices.Sort(starts)
		if len(starts) != 16 || starts[4] > time.Minute+100*time.Millisecond || pings > 3 {
			t.Errorf("5 workers were up after 60 s, %d of 18 light requests had kept their place, and calls got workers at %v", pings, starts)
		}
	})
}

// rude is a control plane that panics at what it is told to.
type rude struct {
	runpod.ControlPlane
	scaling, workers atomic.Bool
}

func (r *rude) Scaling(ctx context.Context) (runpod.Scaling, error) {
	if r.scaling.Load() {
		panic("no scaling today")
	}
	return r.ControlPlane.Scaling(ctx)
}

func (r *rude) Workers(ctx context.Context) ([]runpod.WorkerState, error) {
	if r.workers.Load() {
		panic("no workers today")
	}
	return r.ControlPlane.Workers(ctx)
}

// A wake goes on without a control plane that panics. An observer that panics ends
// the wake, not the process, and the next wake is another try.
func TestWakeOutlivesPanics(t *testing.T) {
	for _, what := range []string{"scaling", "workers", "start", "end"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, drowsy(nil))
				r := &rude{ControlPlane: planeOf(t, srv)}
				r.scaling.Store(what == "scaling")
				r.workers.Store(what == "workers")
				var start, end atomic.Bool
				start.Store(what == "start")
				end.Store(what == "end")
				c := steered(t, srv, runpod.WithControl(r), runpod.WithObserver(runpod.Observer{
					WakeStart: func(ctx context.Context, _ runpod.WakeInfo) context.Context {
						if start.Load() {
							panic("no start today")
						}
						return ctx
					},
					WakeEnd: func(context.Context, runpod.WakeInfo) {
						if end.Load() {
							panic("no end today")
						}
					},
				}))
				n, err := c.Warm(t.Context(), 2)
				if what == "start" {
					if err == nil || !strings.Contains(err.Error(), "panic: no start today") {
						t.Errorf("%d, %v", n, err)
					}
				} else if n != 2 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				time.Sleep(6 * time.Minute) // the wake ends
				r.scaling.Store(false)
				r.workers.Store(false)
				start.Store(false)
				end.Store(false)
				if n, err := c.Warm(t.Context(), 2); n != 2 || err != nil {
					t.Errorf("the next one: %d, %v", n, err)
				}
			})
		})
	}
}
