package runpodtest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// started makes a Config.Start that takes some time.
func started(after time.Duration) func(Worker) (http.Handler, error) {
	return func(w Worker) (http.Handler, error) {
		if !sleep(w.Context, after) {
			return nil, context.Cause(w.Context)
		}
		return echo(w), nil
	}
}

// A worker is ready when its program is, and not before its cold start has
// passed.
func TestStartAndColdStartRunTogether(t *testing.T) {
	for _, tt := range []struct{ program, cold, want time.Duration }{
		{20 * time.Second, 50 * time.Second, 50 * time.Second},
		{80 * time.Second, 50 * time.Second, 80 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv, hc := newTwin(t, Config{Start: started(tt.program), ColdStart: Fixed(tt.cold)})
			if g := send(srv, hc, "POST", "/", "{}"); g.status != 200 || g.took != tt.want {
				t.Errorf("program %v, cold start %v: status %d after %v, want %v", tt.program, tt.cold, g.status, g.took, tt.want)
			}
		})
	}
}

// A program that cannot start is a crash; the next start waits.
func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Time
		srv, hc := newTwin(t, Config{ColdStart: Fixed(time.Second), MaxWorkers: 1, Start: func(w Worker) (http.Handler, error) {
			switch began = append(began, time.Now()); len(began) {
			case 1:
				return nil, errors.New("no such model")
			case 2:
				panic("no such model")
			}
			return echo(w), nil
		}})
		if g := send(srv, hc, "POST", "/", "{}"); g.status != 200 || g.took != 10*time.Second {
			t.Errorf("status %d after %v", g.status, g.took)
		}
		for i := 1; i < len(began); i++ {
			if pause := began[i].Sub(began[i-1]); pause != restartPause {
				t.Errorf("start %d came %v after the one before, want %v", i+1, pause, restartPause)
			}
		}
		if all := srv.Workers(); len(all) != 3 || all[0].End != "crashed" || all[1].End != "crashed" || all[2].End != "" {
			t.Errorf("workers %+v", all)
		}
	})
}

// A program that dies by itself takes its request along, and the next request
// finds another worker.
func TestWorkerCrashesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{ColdStart: Fixed(time.Second), MaxWorkers: 1, Start: func(w Worker) (http.Handler, error) {
			if w.Number == 1 {
				time.AfterFunc(10*time.Second, func() { w.Crash(); w.Crash() })
			}
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sleep(w.Context, 20*time.Second) }), nil
		}})
		first := send(srv, hc, "POST", "/", "{}")
		second := send(srv, hc, "POST", "/", "{}")
		if first.status != 502 || first.took != 10*time.Second || second.status != 200 || second.worker == first.worker {
			t.Errorf("first %+v, second %+v", first, second)
		}
		if all := srv.Workers(); len(all) != 2 || all[0].End != "crashed" {
			t.Errorf("workers %+v", all)
		}
	})
}

// Close ends programs that are still starting, and minimum workers start at once.
func TestCloseWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newTwin(t, Config{MinWorkers: 2, ColdStart: Fixed(time.Minute), Start: started(10 * time.Second)})
		time.Sleep(11 * time.Second)
		for _, w := range srv.Workers() {
			if w.Ready != 10*time.Second {
				t.Errorf("a minimum worker was ready at %v", w.Ready)
			}
		}
		slow, _ := newTwin(t, Config{MinWorkers: 2, Start: started(time.Hour)})
		synctest.Wait()
		if err := slow.Close(); err != nil {
			t.Error(err)
		}
	})
}
