package runpodtest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseLeavesNothing closes servers in the middle of every kind of work. A
// bubble fails if a goroutine is left at its end.
func TestCloseLeavesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  Config
		path string
		at   time.Duration
	}{
		"idle":        {Config{}, "", 0},
		"waiting":     {Config{MaxWorkers: NoWorkers}, "/", time.Minute},
		"starting":    {Config{ColdStart: Fixed(time.Hour)}, "/", time.Minute},
		"working":     {Config{MinWorkers: 1, ServiceTime: Fixed(time.Hour)}, "/", time.Minute},
		"in handler":  {Config{MinWorkers: 1, Handler: func(Worker) http.Handler { return http.HandlerFunc(waitForEnd) }}, "/", time.Minute},
		"idling out":  {Config{ColdStart: Fixed(time.Second), ServiceTime: Fixed(time.Second)}, "/", 4 * time.Second},
		"policy":      {Config{IdlePolicy: true, HealthPath: "/ping", MinWorkers: 1}, "", time.Minute},
		"queue delay": {Config{ScalerType: QueueDelay}, "/", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, hc := newTwin(t, tt.cfg)
				var wg sync.WaitGroup
				if tt.path != "" {
					wg.Go(func() { send(srv, hc, "POST", tt.path, "{}") })
				}
				time.Sleep(tt.at)
				for range 2 {
					if err := srv.Close(); err != nil {
						t.Error(err)
					}
				}
				wg.Wait()
				if _, err := os.Stat(srv.VolumeDir); !os.IsNotExist(err) {
					t.Errorf("the temporary volume is still there: %v", err)
				}
				if g := send(srv, hc, "GET", "/", ""); g.err == nil {
					t.Errorf("a closed server answered %d", g.status)
				}
				if st := srv.Stats(); tt.path != "" && st.Requests != 1 {
					t.Errorf("the account is gone: %+v", st)
				}
				if rs := srv.Requests(); tt.at == time.Minute && len(rs) == 1 && rs[0].Outcome != OutcomeClosed {
					t.Errorf("booked as %q", rs[0].Outcome)
				}
			})
		})
	}
}

func waitForEnd(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestCloseOnLoopbackLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	srv, err := NewServer(Config{Loopback: true, Speed: 1000})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	if g := send(srv, &http.Client{Transport: tr}, "GET", "/", ""); g.status != 200 {
		t.Errorf("%d, %v", g.status, g.err)
	}
	tr.CloseIdleConnections()
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
	}
}

func TestSpeedDividesTheServicesTimes(t *testing.T) {
	srv, hc := newTwin(t, Config{Loopback: true, Speed: 1000, ColdStart: Fixed(60 * time.Second), ServiceTime: Fixed(40 * time.Second)})
	if g := send(srv, hc, "GET", "/", ""); g.status != 200 || g.took < 100*time.Millisecond || g.took > 5*time.Second {
		t.Errorf("%d after %v, want 200 after about 100 ms", g.status, g.took)
	}
	if r := srv.Requests()[0]; r.Started < 60*time.Second || r.Ended-r.Started < 40*time.Second {
		t.Errorf("the account is not in the service's time: %+v", r)
	}
}

// TestSameSeedSameHistory compares two runs of the same traffic; within one
// instant the order may differ, so lives are compared as a set.
func TestSameSeedSameHistory(t *testing.T) {
	history := func(seed uint64) (out []string) {
		synctest.Test(t, func(t *testing.T) {
			srv, hc := newTwin(t, Config{Seed: seed, ColdStart: LogNormal(40*time.Second, 90*time.Second), Routing: RouteUneven, Unfairness: 0.3, CrashRate: 0.1})
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() { send(srv, hc, "POST", "/", "{}") })
				time.Sleep(time.Duration(i%5) * 100 * time.Millisecond)
				synctest.Wait()
			}
			wg.Wait()
			for _, r := range srv.Requests() {
				r.Path, r.Method = "", ""
				out = append(out, fmt.Sprintf("%+v", r))
			}
			for _, w := range srv.Workers() {
				out = append(out, fmt.Sprintf("%+v", w))
			}
			slices.Sort(out)
		})
		return out
	}
	a, b, c := history(1), history(1), history(2)
	if !slices.Equal(a, b) {
		for i := range a {
			if a[i] != b[i] {
				t.Errorf("the same seed gave\n%s\nand\n%s", a[i], b[i])
				break
			}
		}
	}
	if slices.Equal(a, c) {
		t.Error("another seed gave the same history")
	}
}

func TestLargeBodyGoesThroughAFile(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 3*inMemory/16)
	var same bool
	srv, hc := newTwin(t, Config{Loopback: true, MinWorkers: 1, Handler: func(Worker) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			b.ReadFrom(r.Body)
			same = b.String() == body
		})
	}})
	if g := send(srv, hc, "POST", "/", body); g.status != 200 || !same {
		t.Errorf("%d, %v; same body: %v", g.status, g.err, same)
	}
}

func TestWorkerKnowsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made []Worker
		srv, hc := newTwin(t, Config{MaxWorkers: 2, ScalerValue: 1, ColdStart: Fixed(time.Second), Handler: func(w Worker) http.Handler {
			made = append(made, w)
			return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, w.ID) })
		}})
		g := send(srv, hc, "GET", "/", "")
		if g.body != g.worker || len(made) != 1 || made[0].Number != 1 || made[0].VolumeDir != srv.VolumeDir {
			t.Errorf("answered %q by %q, made %+v", g.body, g.worker, made)
		}
		time.Sleep(time.Minute)
		if made[0].Context.Err() == nil {
			t.Error("the worker's context outlived it")
		}
		send(srv, hc, "GET", "/", "")
		if len(made) != 2 || made[1].ID == made[0].ID {
			t.Errorf("made %+v", made)
		}
	})
}

func TestControlRefusesNonsense(t *testing.T) {
	srv, _ := newTwin(t, Config{})
	for what, err := range map[string]error{
		"SetWorkers(3, 2)":  srv.SetWorkers(3, 2),
		"SetWorkers(-1, 2)": srv.SetWorkers(-1, 2),
		"SetCapacity(-1)":   srv.SetCapacity(-1),
		"CrashWorker(none)": srv.CrashWorker("none"),
		"SetHealthy(none)":  srv.SetHealthy("none", false),
	} {
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	srv.Close()
	if err := srv.SetWorkers(0, 1); err == nil {
		t.Error("a closed server can be changed")
	}
}

func TestSetHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: Fixed(time.Second)})
		id := srv.Workers()[0].ID
		srv.SetHealthy(id, false)
		if g := send(srv, hc, "GET", "/", ""); g.status != 400 {
			t.Errorf("an unhealthy worker answered: %d", g.status)
		}
		go func() {
			time.Sleep(10 * time.Second)
			srv.SetHealthy(id, true)
		}()
		if g := send(srv, hc, "GET", "/", ""); g.status != 200 || g.took != 11*time.Second {
			t.Errorf("%d after %v", g.status, g.took)
		}
	})
}

func TestCancelStarting(t *testing.T) {
	for cancel, want := range map[bool]string{true: "cancelled", false: "scaled down"} {
		synctest.Test(t, func(t *testing.T) {
			srv, hc := newTwin(t, Config{CancelStarting: cancel, ColdStart: Fixed(time.Minute)})
			ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
			defer leave()
			req, err := http.NewRequestWithContext(ctx, "GET", srv.EndpointURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+srv.APIKey)
			hc.Do(req)
			time.Sleep(2 * time.Minute)
			if w := srv.Workers()[0]; w.End != want {
				t.Errorf("CancelStarting %v: %+v", cancel, w)
			}
			if r := srv.Requests()[0]; r.Outcome != OutcomeLeft || r.Ended != 10*time.Second {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestCrashDuringWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, ServiceTime: Fixed(10 * time.Second), CrashRate: 1})
		g := send(srv, hc, "POST", "/", "{}")
		if g.status != 502 || g.took != 5*time.Second || g.worker == "" {
			t.Errorf("%d after %v by %q", g.status, g.took, g.worker)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, ServiceTime: Fixed(10 * time.Second), CrashRate: 1, AnonymousCrash: true})
		if g := send(srv, hc, "POST", "/", "{}"); g.status != 502 || g.worker != "" {
			t.Errorf("%d by %q", g.status, g.worker)
		}
	})
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, MaxWorkers: 1, Concurrency: 2, ServiceTime: Fixed(10 * time.Second)})
		var wg sync.WaitGroup
		took := make([]time.Duration, 3)
		for i := range took {
			wg.Go(func() { took[i] = send(srv, hc, "GET", "/", "").took })
		}
		wg.Wait()
		slices.Sort(took)
		if want := []time.Duration{10 * time.Second, 10 * time.Second, 20 * time.Second}; !slices.Equal(took, want) {
			t.Errorf("took %v, want %v", took, want)
		}
		if busy := srv.Stats().Busy; busy != 20*time.Second {
			t.Errorf("billed %v of work, want 20 s: two at a time cost as much as one", busy)
		}
	})
}

// A program that cannot start must not stop the clock.
func TestProgramThatCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{ColdStart: Fixed(0), Handler: func(Worker) http.Handler { panic("no model") }})
		if g := send(srv, hc, "GET", "/", ""); g.status != 400 || g.took != 2*time.Minute {
			t.Errorf("%d after %v", g.status, g.took)
		}
		if w := srv.Workers(); len(w) < 24 || len(w) > 26 || w[0].End != "crashed" { // 26: one at either end
			t.Errorf("%d workers, the first %+v; want one every 5 s", len(w), w[0])
		}
	})
}
