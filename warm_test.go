package runpod

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// sleepy is an endpoint scaled to zero whose workers take a minute to start.
func sleepy() runpodtest.Config {
	return runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(10 * time.Second)}
}

// takesTime is a worker's program that takes a moment even for /ping, so that
// light requests overlap.
func takesTime(runpodtest.Worker) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
}

func alive(srv *runpodtest.Server) (n int) {
	for _, w := range srv.Workers() {
		if w.Ready > 0 && w.Stopped == 0 {
			n++
		}
	}
	return n
}

func TestWarmWakesAllAtOnceAndHoldsThem(t *testing.T) {
	for _, routing := range []runpodtest.Routing{runpodtest.RouteEven, runpodtest.RouteFirst, runpodtest.RouteUneven} {
		cfg := sleepy()
		cfg.Routing, cfg.Handler = routing, takesTime
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			start := time.Now()
			if n, err := c.Warm(t.Context(), 3); n != 3 || err != nil {
				t.Fatalf("routing %d: %d workers, %v", routing, n, err)
			}
			if took := time.Since(start); took > 64*time.Second {
				t.Errorf("routing %d: it took %s", routing, took)
			}
			if n, err := c.Warm(t.Context(), 2); n != 3 || err != nil {
				t.Errorf("they are up, yet: %d workers, %v", n, err)
			}
			time.Sleep(4 * time.Minute)
			if st := srv.Stats(); alive(srv) != 3 || st.WorkersStarted != 3 {
				t.Errorf("routing %d: after 4 minutes %d of %d workers are there", routing, alive(srv), st.WorkersStarted)
			}
			time.Sleep(time.Minute + 10*time.Second)
			if alive(srv) != 0 {
				t.Error("the wake has no end")
			}
			if st := c.Stats(); st.WarmWorkerSeconds < 880 || st.WarmWorkerSeconds > 930 || st.Calls != 0 || st.Attempts != 0 {
				t.Errorf("3 workers for 300 s count as %v; %+v", st.WarmWorkerSeconds, st)
			}
		})
	}
}

// One wake serves all; who leaves does not stop it.
func TestWarmIsShared(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n, err := c.Warm(ctx, 3)
		if !errors.Is(err, context.DeadlineExceeded) || n != 0 || !strings.Contains(err.Error(), "0 of 3 workers are up") {
			t.Errorf("%d, %v", n, err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if n, err := c.Warm(t.Context(), 2); n < 2 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			})
		}
		wg.Wait()
		if st := srv.Stats(); st.WorkersStarted != 3 || st.PeakInFlight != 10 {
			t.Errorf("%d workers, %d requests at once; want 3 for 10", st.WorkersStarted, st.PeakInFlight)
		}
	})
}

func TestWarmSaysWhyItStops(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  func(*runpodtest.Config)
		n    int
		up   int
		kind error
		says string
		at   time.Duration
	}{
		{"more than there can be", func(c *runpodtest.Config) { c.MaxWorkers = 2 }, 3, 2, ErrNoWorkers, "2 of 3 workers are up: no further one came for 2m0s", 3 * time.Minute},
		{"none", func(c *runpodtest.Config) { c.MaxWorkers = runpodtest.NoWorkers }, 3, 0, ErrNoWorkers, "none came for 15m0s", 15 * time.Minute},
		{"not load-balancing", func(c *runpodtest.Config) { c.QueueBased = true }, 3, 0, ErrBadRequest, "not allowed for QB API", 0},
		{"slower than the balancer's patience", func(c *runpodtest.Config) { c.ColdStart = runpodtest.Fixed(5 * time.Minute) }, 3, 3, nil, "", 5 * time.Minute},
		{"loading", func(c *runpodtest.Config) { c.Loading = runpodtest.Fixed(time.Minute) }, 2, 2, nil, "", 2 * time.Minute},
		{"workers without names", func(c *runpodtest.Config) { c.OmitWorkerID = true }, 2, 1, ErrNoWorkers, "1 of 2", 3 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := sleepy()
			tt.cfg(&cfg)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				start := time.Now()
				n, err := c.Warm(t.Context(), tt.n)
				if n != tt.up || !errors.Is(err, tt.kind) || (err != nil) != (tt.kind != nil) {
					t.Errorf("%d, %v; want %d, %v", n, err, tt.up, tt.kind)
				}
				if err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v does not say %q", err, tt.says)
				}
				if took := time.Since(start); took < tt.at || took > tt.at+7*time.Second {
					t.Errorf("it took %s, want %s", took, tt.at)
				}
			})
		})
	}
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Warm(t.Context(), 2); !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("wrong key: %v", err)
		}
		if _, err := c.Warm(t.Context(), 0); !errors.Is(err, ErrBadRequest) {
			t.Errorf("0 workers: %v", err)
		}
	}, WithAPIKey("wrong"))
}

func TestWarmEndsWithTheClient(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		done := make(chan error)
		go func() {
			_, err := c.Warm(t.Context(), 3)
			done <- err
		}()
		time.Sleep(10 * time.Second)
		c.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Warm(t.Context(), 3); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The wake ends when the calls that it was for have come and gone.
func TestWarmEndsWithTheBurst(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		c.Warm(t.Context(), 3)
		time.Sleep(30 * time.Second)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		begin := time.Now()
		wg.Wait()
		if took := time.Since(begin); took > 21*time.Second {
			t.Errorf("6 calls of 10 s on 3 warm workers took %s", took)
		}
		time.Sleep(15 * time.Second)
		if alive(srv) != 0 {
			t.Errorf("%d workers are still there", alive(srv))
		}
		if n := srv.Stats().WorkersStarted; n != 3 {
			t.Errorf("%d workers started", n)
		}
	})
}

// slowUploads has every upload take so long.
func slowUploads(srv *runpodtest.Server, d time.Duration) {
	srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(d)})
}

// simpleJobs are jobs with one small input and no output.
func simpleJobs(n int) []Job {
	jobs := make([]Job, n)
	for i := range jobs {
		jobs[i] = Job{Inputs: []JobInput{{Input: Bytes("in", []byte("x"))}}, Path: "/work", KeepInputs: true}
	}
	return jobs
}

// The workers start while the inputs are uploaded, no call waits for a light
// request, and the wake costs nothing beyond.
func TestWarmupOverlapsWithUploads(t *testing.T) {
	burst := func(t *testing.T, upload time.Duration, opts ...Option) (first, makespan time.Duration, billed float64, workers int) {
		inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			slowUploads(srv, upload)
			start := time.Now()
			for _, err := range c.RunAll(t.Context(), slices.Values(simpleJobs(30))) {
				if err != nil {
					t.Error(err)
				}
				if first == 0 {
					first = time.Since(start)
				}
			}
			makespan = time.Since(start)
			time.Sleep(20 * time.Second)
			if alive(srv) != 0 {
				t.Errorf("%d workers are kept after the burst", alive(srv))
			}
			billed, workers = srv.Stats().Billed().Seconds(), srv.Stats().WorkersStarted
		}, append(opts, WithMaxInFlight(15), WithS3Conns(30), WithRetryPolicy(RetryPolicy{Stall: time.Hour}))...)
		return first, makespan, billed, workers
	}
	for _, upload := range []time.Duration{5 * time.Second, 20 * time.Second, 59 * time.Second, 90 * time.Second} {
		first0, makespan0, billed0, _ := burst(t, upload)
		first, makespan, billed, workers := burst(t, upload, WithWarmup(3))
		gain := min(upload, time.Minute)
		t.Logf("uploads %s: first result %s -> %s, makespan %s -> %s, billed %.0f -> %.0f s, %d workers", upload, first0, first, makespan0, makespan, billed0, billed, workers)
		if least := gain * 95 / 100; first0-first < least || makespan0-makespan < least {
			t.Errorf("uploads %s: %s saved on the first result, %s on the makespan, want %s", upload, first0-first, makespan0-makespan, least)
		}
		if workers != 3 {
			t.Errorf("uploads %s: %d workers started", upload, workers)
		}
		if upload < time.Minute && billed > 1.05*billed0 {
			t.Errorf("uploads %s: billed %.0f s instead of %.0f", upload, billed, billed0)
		}
	}
}

// Uploads that never end do not keep workers for ever.
func TestWarmupIsBounded(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		slowUploads(srv, 12*time.Minute)
		if _, err := c.Run(t.Context(), simpleJobs(1)[0]); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		st := srv.Stats()
		if idle := st.Idle; st.WorkersStarted != 3 || idle < 590*time.Second || idle > 640*time.Second {
			t.Errorf("%d workers started, idle for %s; want 2 for 5 minutes, and one for the call", st.WorkersStarted, idle)
		}
	}, WithWarmup(2), WithRetryPolicy(RetryPolicy{Stall: time.Hour}))
}

func TestKeepWarm(t *testing.T) {
	for _, tt := range []struct {
		keep    time.Duration
		workers int
	}{{0, 6}, {2 * time.Minute, 3}} {
		inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			for range 2 {
				var wg sync.WaitGroup
				for range 12 {
					wg.Go(func() {
						if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				time.Sleep(110 * time.Second)
			}
			if n := srv.Stats().WorkersStarted; n != tt.workers {
				t.Errorf("kept for %s: %d workers started for two bursts, want %d", tt.keep, n, tt.workers)
			}
			time.Sleep(time.Minute)
			if alive(srv) != 0 {
				t.Errorf("kept for %s: %d workers have stayed", tt.keep, alive(srv))
			}
		}, WithKeepWarm(tt.keep))
	}
}

// A worker that stopped in spite of the wake is noticed and another one woken,
// as far as light requests take any time at all: they must overlap for that.
func TestWakeReplacesAWorkerThatDied(t *testing.T) {
	cfg := sleepy()
	cfg.Handler = takesTime
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if n, err := c.Warm(t.Context(), 2); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		srv.CrashWorker(srv.Workers()[0].ID)
		time.Sleep(80 * time.Second)
		if alive(srv) != 2 {
			t.Errorf("%d workers", alive(srv))
		}
	})
}

func TestWarmOptionsRefused(t *testing.T) {
	for name, opt := range map[string]Option{
		"WithWarmup": WithWarmup(-1), "WithWarmPath": WithWarmPath("http://elsewhere/x"), "WithKeepWarm": WithKeepWarm(2 * time.Hour), "WithControl": WithControl(nil),
	} {
		if _, err := New(opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(WithWarmup(0)); err == nil || !strings.Contains(err.Error(), "WithControl") {
		t.Errorf("got %v", err)
	}
}

func TestWarmPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, sleepy())
		c := newClient(t, srv, WithWarmPath("/healthz?x=1"))
		srv.Fault(runpodtest.Fault{Path: "/healthz", Do: runpodtest.WorkerAnswer(404, ""), Times: runpodtest.Always})
		if n, err := c.Warm(t.Context(), 1); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// A wake begins and ends for observers, once however many ask for it.
func TestWakesAreObserved(t *testing.T) {
	var mu sync.Mutex
	var got []WakeInfo
	observer := WithObserver(Observer{
		WakeStart: func(ctx context.Context, info WakeInfo) context.Context {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, info)
			return ctx
		},
		WakeEnd: func(_ context.Context, info WakeInfo) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, info)
		},
	})
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for range 2 {
			if _, err := c.Warm(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		idle := c.Stats().WarmWorkerSeconds
		if len(got) != 2 || got[0].Wanted != 2 || got[0].Had != 0 || got[1].Wanted != 2 || got[1].Had != 2 || got[1].WorkerSeconds != idle {
			t.Errorf("%+v, idle for %v s", got, idle)
		}
	}, observer)
}

// A job's lease ends once, when its request is sent, and not again with the job.
func TestLeaseLapsesOnce(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		w := c.calls.wake
		first, second := w.lease(), w.lease()
		for range 3 {
			first.lapse()
		}
		w.mu.Lock()
		left := w.core.leases
		w.mu.Unlock()
		if left != 1 {
			t.Errorf("%d leases are left of two, of which one has ended", left)
		}
		second.lapse()
		(*lease)(nil).lapse()
	}, WithWarmup(1))
}

// What observers are told is the most that was wanted of a wake, also after less
// is wanted.
func TestWakeKeepsTheMostThatWasWanted(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		w := c.calls.wake
		w.mu.Lock()
		w.carryOut(orders{want: 4})
		w.carryOut(orders{want: 1})
		w.mu.Unlock()
		if got := w.info(0).Wanted; got != 4 {
			t.Errorf("wanted: %d", got)
		}
	})
}

// A job that begins while others are under way, or whose request is sent, is
// looked at there and then, not at the next renewal.
func TestLeaseIsLookedAtAtOnce(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		w := c.calls.wake
		w.core.running = true // and no goroutine takes the nudge
		l := w.lease()
		if len(w.nudged) != 1 {
			t.Fatal("nobody looks at a job that begins")
		}
		<-w.nudged
		if l.lapse(); len(w.nudged) != 1 {
			t.Error("nobody looks at a job whose request is sent")
		}
	}, WithWarmup(1))
}
