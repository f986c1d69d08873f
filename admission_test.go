package runpod

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// windowAt is a window and a clock for it.
type windowAt struct {
	*window
	now time.Time
}

func newWindowAt(asked int) *windowAt {
	return &windowAt{newWindow(asked, DefaultRetryPolicy()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// serve has n workers answer once each every d, for so many rounds.
func (w *windowAt) serve(workers, rounds int, d time.Duration) {
	for range rounds {
		w.now = w.now.Add(d)
		for i := range workers {
			w.answered(w.now, fmt.Sprint("w", i))
		}
	}
}

func TestWindowKeepsThePressureOnAColdEndpoint(t *testing.T) {
	w := newWindowAt(15)
	for range 100 {
		w.now = w.now.Add(2 * time.Minute)
		w.refused(w.now, 2*time.Minute, 14)
	}
	if w.limit != 15 {
		t.Errorf("limit %d after cold refusals", w.limit)
	}
}

func TestWindowTakesWhatTheBalancerTakes(t *testing.T) {
	w := newWindowAt(15)
	for left := 14; left >= 6; left-- { // 9 of 15 are refused at once
		w.refused(w.now, 0, left)
	}
	if w.limit != 6 {
		t.Fatalf("limit %d, want the 6 that were taken", w.limit)
	}
	var pauses []time.Duration
	for range 7 {
		pauses = append(pauses, w.probed())
		w.refused(w.now, 0, 6)
	}
	if w.limit != 6 || pauses[6] != 32*w.probe || pauses[6] < pauses[0] {
		t.Errorf("limit %d, pauses %v", w.limit, pauses)
	}
	w.answered(w.now, "w1")
	w.answered(w.now, "w1")
	if w.limit != 7 || w.pause() != w.probe {
		t.Errorf("a new worker makes the limit %d, the pause %s", w.limit, w.pause())
	}
}

// 10 workers that take 12 s each serve 100 within the balancer's wait, and 10
// more are in their hands.
func TestWindowHoldsBackWhatWouldWaitInVain(t *testing.T) {
	w := newWindowAt(150)
	w.serve(10, 20, 12*time.Second)
	w.refused(w.now, 2*time.Minute, 149)
	if w.limit < 100 || w.limit > 120 {
		t.Errorf("limit %d, want about 110", w.limit)
	}
	before := w.limit
	w.serve(12, 10, 12*time.Second)
	if w.limit <= before {
		t.Errorf("with 2 more workers the limit stays %d", w.limit)
	}
	w.restart()
	if w.limit != 150 {
		t.Errorf("the next burst begins at %d", w.limit)
	}
}

// While workers still appear, the pressure that brought them stays.
func TestWindowWaitsForTheLastWorker(t *testing.T) {
	w := newWindowAt(150)
	w.serve(3, 2, 12*time.Second)
	w.refused(w.now, 2*time.Minute, 149)
	if w.limit != 150 {
		t.Errorf("limit %d", w.limit)
	}
}

// With slow work the patience wall lies below the pressure wall, and the
// pressure holds.
func TestWindowNeverStarvesTheScaler(t *testing.T) {
	w := newWindowAt(100)
	w.serve(5, 10, 100*time.Second)
	w.refused(w.now, 2*time.Minute, 99)
	if least := scalerValue * 5; w.limit < least {
		t.Errorf("limit %d, below the %d that hold 5 workers", w.limit, least)
	}
}

// Where workers go once requests are held back, the scaler value is a larger
// one, and everything is let through again.
func TestWindowSeesThatItStarvesTheScaler(t *testing.T) {
	w := newWindowAt(150)
	w.serve(10, 20, 12*time.Second)
	w.refused(w.now, 2*time.Minute, 149)
	w.serve(6, 12, 12*time.Second)
	if w.limit != 150 {
		t.Errorf("limit %d", w.limit)
	}
	w.refused(w.now, 2*time.Minute, 149)
	if w.limit != 150 {
		t.Errorf("it held back again: limit %d", w.limit)
	}
}

// FuzzWindow plays any history to the window.
func FuzzWindow(f *testing.F) {
	f.Add(15, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(1, []byte{255, 128, 3, 3, 3, 0})
	f.Fuzz(func(t *testing.T, asked int, history []byte) {
		if asked < 1 || asked > 1<<20 {
			t.Skip()
		}
		w := newWindowAt(asked)
		for _, b := range history {
			w.now = w.now.Add(time.Duration(b) * time.Second)
			switch b % 5 {
			case 0:
				w.answered(w.now, fmt.Sprint(b%7))
			case 1:
				w.refused(w.now, time.Duration(b)*time.Second, int(b)-1)
			case 2:
				w.refused(w.now, 2*time.Minute, int(b))
			case 3:
				if w.probed() <= 0 {
					t.Fatal("no pause between probes")
				}
			case 4:
				w.restart()
			}
			if w.limit < 1 || w.limit > asked {
				t.Fatalf("limit %d of %d", w.limit, asked)
			}
		}
	})
}

// At a balancer that refuses at once when 6 wait, calls wait in the Client
// instead of running into it.
func TestAdmissionWithInstantRefusals(t *testing.T) {
	cfg := runpodtest.Config{Seed: 3, MaxWaiting: 6, ScalerValue: 1, ColdStart: runpodtest.Fixed(75 * time.Second), ServiceTime: runpodtest.Range(10*time.Second, 15*time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		places := make(chan struct{}, 15)
		for range 30 {
			places <- struct{}{}
			wg.Go(func() {
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
					t.Error(err)
				}
				<-places
			})
		}
		wg.Wait()
		if n := c.Stats().Attempts; n > 30*5 {
			t.Errorf("%d attempts for 30 calls", n)
		}
		if st := c.Stats(); st.Limit != 16 || st.InFlight != 0 {
			t.Errorf("at the end: %+v", st)
		}
	})
}

func TestAdmissionModes(t *testing.T) {
	for mode, want := range map[Admission]int{AdmissionFixed: 4, AdmissionOff: 10} {
		cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(30 * time.Second), ServiceTime: runpodtest.Fixed(time.Second)}
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			wg.Wait()
			if st := c.Stats(); st.PeakInFlight != want {
				t.Errorf("%v: %d in flight, want %d", mode, st.PeakInFlight, want)
			}
		}, WithAdmission(mode), WithMaxInFlight(4))
	}
}

// The limit follows what the caller allows, unless the endpoint has shown that
// less is better.
func TestWindowIsResized(t *testing.T) {
	w := newWindowAt(10)
	if w.allow(20); w.limit != 20 || w.asked != 20 {
		t.Errorf("open, raised: %d of %d", w.limit, w.asked)
	}
	w.refused(w.now, time.Second, 5) // at once
	if w.allow(30); w.limit != 5 || w.asked != 30 {
		t.Errorf("held back, raised: %d of %d", w.limit, w.asked)
	}
	if w.allow(3); w.limit != 3 || w.asked != 3 {
		t.Errorf("held back, lowered: %d of %d", w.limit, w.asked)
	}
}

func TestSetMaxInFlight(t *testing.T) {
	for _, mode := range []Admission{AdmissionAdaptive, AdmissionFixed} {
		cfg := runpodtest.Config{MinWorkers: 3, MaxWorkers: 3, Concurrency: 20, ServiceTime: runpodtest.Fixed(10 * time.Second)}
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			done := make(chan int)
			go func() {
				n := 0
				for r, err := range c.RunAll(t.Context(), tryonlessJobs(200)) {
					if err != nil {
						t.Error(r.JobID, err)
					}
					n++
				}
				done <- n
			}()
			in := func(want int, after time.Duration) {
				t.Helper()
				time.Sleep(after)
				synctest.Wait()
				if st := c.Stats(); st.InFlight != want || st.Limit != want {
					t.Errorf("%d in flight, limit %d, want %d", st.InFlight, st.Limit, want)
				}
			}
			in(2, time.Second)
			for _, n := range []int{12, 40, 5} {
				if err := c.SetMaxInFlight(n); err != nil {
					t.Error(err)
				}
				in(n, 11*time.Second)
			}
			if err := c.SetMaxInFlight(0); err != nil {
				t.Error(err)
			}
			in(defaultMaxInFlight, time.Second)
			if err := c.SetMaxInFlight(-1); fieldOf(err) != "n" || !errors.Is(err, ErrBadRequest) {
				t.Errorf("got %v", err)
			}
			if n := <-done; n != 200 {
				t.Errorf("%d results", n)
			}
			nothingHeld(t, c)
		}, WithAdmission(mode), WithMaxInFlight(2), WithS3Conns(1))
	}
	if err := new(Client).SetMaxInFlight(3); fieldOf(err) != "Client" {
		t.Errorf("got %v", err)
	}
}
