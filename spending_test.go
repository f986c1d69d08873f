package runpod_test

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// capped runs a test with a client that may spend so many worker-seconds.
func capped(t *testing.T, cfg runpodtest.Config, seconds float64, do func(t *testing.T, s *scene, log *syncBuffer), opts ...runpod.Option) {
	t.Helper()
	cfg.MaxWorkers, cfg.ControlPerMinute = 5, 1000
	synctest.Test(t, func(t *testing.T) {
		srv, log := twin(t, cfg), &syncBuffer{}
		opts := append([]runpod.Option{runpod.WithMaxWorkerSeconds(seconds), runpod.WithLogger(slog.New(slog.NewTextHandler(log, nil)))}, opts...)
		do(t, &scene{t, srv, steered(t, srv, opts...), steered(t, srv)}, log)
	})
}

// call sends calls, which the cap does not hinder.
func (s *scene) calls(n int) {
	s.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := s.a.Call(s.Context(), "POST", "/x", nil, nil); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
}

func (s *scene) alive() (n int) {
	for _, w := range s.srv.Workers() {
		if w.Ready > 0 && w.Stopped == 0 {
			n++
		}
	}
	return n
}

// spent checks what was spent, and that the log and Stats say when it was enough.
func (s *scene) spent(log *syncBuffer, least, most float64, reached bool) {
	s.Helper()
	st := s.a.Stats()
	if got := st.WarmWorkerSeconds + st.HeldWorkerSeconds; got < least || got > most || st.CapReached != reached {
		s.Errorf("%v worker-seconds were spent, the cap is reached: %v; want %v to %v, %v", got, st.CapReached, least, most, reached)
	}
	if n := strings.Count(log.String(), "the cap of worker-seconds is reached"); n != map[bool]int{true: 1}[reached] {
		s.Errorf("the log says so %d times:\n%s", n, log)
	}
}

func TestCapEndsWarmWorkers(t *testing.T) {
	capped(t, drowsy(nil), 100, func(t *testing.T, s *scene, log *syncBuffer) {
		if n, err := s.a.Warm(t.Context(), 3); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(30 * time.Second)
		s.spent(log, 80, 99, false)
		time.Sleep(20 * time.Second)
		s.spent(log, 100, 103, true)
		if n := s.alive(); n != 0 {
			t.Errorf("%d workers are still there", n)
		}
		n, err := s.a.Warm(t.Context(), 3)
		if n != 0 || !errors.Is(err, runpod.ErrCapReached) || !strings.Contains(err.Error(), "WithMaxWorkerSeconds") {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := s.a.HoldWorkers(t.Context(), 1); !errors.Is(err, runpod.ErrCapReached) {
			t.Errorf("got %v", err)
		}
		pings := s.a.Stats().WakePings
		s.calls(4)
		s.spent(log, 100, 103, true)
		if got := s.a.Stats().WakePings; got != pings {
			t.Errorf("%d light requests were sent beyond the cap", got-pings)
		}
	})
}

// A caller of Warm whose workers do not all come is told.
func TestCapEndsWaitsForWorkers(t *testing.T) {
	capped(t, drowsy(func(c *runpodtest.Config) { c.Capacity = 2 }), 60, func(t *testing.T, s *scene, log *syncBuffer) {
		n, err := s.a.Warm(t.Context(), 3)
		if n != 2 || !errors.Is(err, runpod.ErrCapReached) {
			t.Errorf("%d, %v", n, err)
		}
		s.spent(log, 60, 66, true)
	})
}

func TestCapEndsKeepWarm(t *testing.T) {
	capped(t, drowsy(nil), 100, func(t *testing.T, s *scene, log *syncBuffer) {
		s.calls(4)
		time.Sleep(5 * time.Minute)
		s.spent(log, 100, 104, true)
		s.calls(4)
		time.Sleep(5 * time.Minute)
		s.spent(log, 100, 104, true)
		if n := s.alive(); n != 0 {
			t.Errorf("%d workers are still there", n)
		}
	}, runpod.WithKeepWarm(time.Hour))
}

func TestCapReleasesHolds(t *testing.T) {
	capped(t, runpodtest.Config{MinWorkers: 1}, 300, func(t *testing.T, s *scene, log *syncBuffer) {
		h2, h4 := s.hold(s.a, 2), s.hold(s.a, 4)
		time.Sleep(99 * time.Second)
		s.minimum(4)
		s.spent(log, 297, 299.9, false)
		time.Sleep(5 * time.Second)
		s.minimum(1)
		s.records(0)
		s.spent(log, 300, 303, true)
		for _, h := range []*runpod.Hold{h2, h4} {
			if err := h.Err(); !errors.Is(err, runpod.ErrCapReached) {
				t.Errorf("got %v", err)
			}
			s.release(h)
		}
		if _, err := s.a.HoldWorkers(t.Context(), 1); !errors.Is(err, runpod.ErrCapReached) {
			t.Errorf("got %v", err)
		}
		s.calls(4)
	})
}

// Whoever else holds goes on.
func TestCapLeavesTheHoldsOfOthers(t *testing.T) {
	capped(t, runpodtest.Config{}, 300, func(t *testing.T, s *scene, log *syncBuffer) {
		s.hold(s.a, 4)
		h := s.hold(s.b, 2)
		time.Sleep(80 * time.Second)
		s.minimum(2)
		s.release(h)
		s.minimum(0)
	})
}

// A control plane that is away when the cap is reached is asked until it is back.
func TestCapReleasesHoldsWhenTheControlPlaneIsBack(t *testing.T) {
	capped(t, runpodtest.Config{}, 300, func(t *testing.T, s *scene, log *syncBuffer) {
		s.hold(s.a, 3)
		time.Sleep(90 * time.Second)
		rule := s.controlDown()
		time.Sleep(2 * time.Minute)
		s.minimum(3)
		if st := s.a.Stats(); !st.CapReached || st.HeldWorkerSeconds < 600 {
			t.Errorf("what is still held counts: %+v", st)
		}
		rule.Remove()
		time.Sleep(2 * time.Minute)
		s.minimum(0)
		s.records(0)
	})
}

// What is held and what is kept warm count together.
func TestCapIsOfBothTogether(t *testing.T) {
	capped(t, drowsy(nil), 200, func(t *testing.T, s *scene, log *syncBuffer) {
		h := s.hold(s.a, 2)
		if n, err := s.a.Warm(t.Context(), 2); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(30 * time.Second)
		st := s.a.Stats()
		s.spent(log, 200, 206, true)
		if st.WarmWorkerSeconds < 30 || st.HeldWorkerSeconds < 120 || !errors.Is(h.Err(), runpod.ErrCapReached) {
			t.Errorf("%+v, %v", st, h.Err())
		}
		s.minimum(0)
	})
}

// RunAll goes on without the wake that it may not pay for.
func TestCapLeavesJobsAlone(t *testing.T) {
	capped(t, drowsy(nil), 20, func(t *testing.T, s *scene, log *syncBuffer) {
		s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(90 * time.Second)})
		jobs := make([]runpod.Job, 6)
		for i := range jobs {
			jobs[i] = runpod.Job{Inputs: []runpod.JobInput{{Input: runpod.Bytes("x", []byte("x"))}}, Path: "/x"}
		}
		for _, err := range s.a.RunAll(t.Context(), slices.Values(jobs)) {
			if err != nil {
				t.Error(err)
			}
		}
		s.spent(log, 20, 26, true)
	}, runpod.WithWarmup(2), runpod.WithRetryPolicy(runpod.RetryPolicy{Stall: time.Hour}))
}

func TestMaxWorkerSecondsRefused(t *testing.T) {
	for _, n := range []float64{-1, math.NaN(), math.Inf(1), 2e9} {
		if _, err := runpod.New(runpod.WithMaxWorkerSeconds(n)); !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "WithMaxWorkerSeconds") {
			t.Errorf("%v: %v", n, err)
		}
	}
	c, err := runpod.New(runpod.WithMaxWorkerSeconds(0))
	if err != nil {
		t.Fatal(err)
	}
	if c.Stats().CapReached {
		t.Error("no cap is reached at once")
	}
	c.Close()
}
