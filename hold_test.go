package runpod_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// scene is two clients and a person at one endpoint.
type scene struct {
	*testing.T
	srv  *runpodtest.Server
	a, b *runpod.Client
}

func (s *scene) hold(c *runpod.Client, n int) *runpod.Hold {
	s.Helper()
	h, err := c.HoldWorkers(s.Context(), n)
	if err != nil {
		s.Fatal(err)
	}
	return h
}

func (s *scene) release(h *runpod.Hold) {
	s.Helper()
	if err := h.Release(s.Context()); err != nil {
		s.Error(err)
	}
}

func (s *scene) minimum(want int) {
	s.Helper()
	if got, _ := s.srv.WorkerBounds(); got != want {
		s.Errorf("the minimum is %d, want %d", got, want)
	}
}

// person changes the minimum, as in the console.
func (s *scene) person(n int) {
	_, most := s.srv.WorkerBounds()
	if err := s.srv.SetWorkers(n, most); err != nil {
		s.Fatal(err)
	}
}

// kill makes of a client what kill -9 leaves: neither it nor anything it does
// reaches anybody any more.
func (s *scene) kill(c *runpod.Client) {
	s.Helper()
	everything := s.down()
	if err := c.Close(); err == nil {
		s.Error("a client without any connection closed in good order")
	}
	for _, rule := range everything {
		rule.Remove()
	}
}

// down cuts the control plane and the volume off.
func (s *scene) down() []*runpodtest.Rule {
	var rules []*runpodtest.Rule
	for _, on := range []runpodtest.Service{runpodtest.OnControl, runpodtest.OnS3} {
		rules = append(rules, s.srv.Fault(runpodtest.Fault{On: on, Times: runpodtest.Always, Do: runpodtest.Answer(503, "")}))
	}
	return rules
}

func (s *scene) controlDown() *runpodtest.Rule {
	return s.srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: runpodtest.Always, Do: runpodtest.Answer(503, "")})
}

// records counts what is recorded.
func (s *scene) records(want int) {
	s.Helper()
	list, err := s.b.Holds(s.Context())
	if err != nil || len(list) != want {
		s.Errorf("%d records, %v; want %d", len(list), err, want)
	}
}

// Each ends with the right minimum, or with an error and a record that lead
// there.
func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int
		do     func(s *scene)
	}{
		{"held and released", 0, func(s *scene) {
			h := s.hold(s.a, 3)
			s.minimum(3)
			s.records(1)
			s.release(h)
			s.minimum(0)
			asked := s.srv.Stats().ControlRequests
			s.release(h)
			if n := s.srv.Stats().ControlRequests - asked; n > 0 {
				s.Errorf("the second release asked the control plane %d times", n)
			}
		}},
		{"back to what was before", 1, func(s *scene) {
			s.release(s.hold(s.a, 3))
			s.minimum(1)
		}},
		{"less than there is already", 2, func(s *scene) {
			h := s.hold(s.a, 1)
			s.minimum(2)
			s.release(h)
			s.minimum(2)
		}},
		{"the largest of one client's wins", 0, func(s *scene) {
			h2, h4, h3 := s.hold(s.a, 2), s.hold(s.a, 4), s.hold(s.a, 3)
			s.minimum(4)
			s.release(h4)
			s.minimum(3)
			s.release(h2)
			s.minimum(3)
			s.release(h3)
			s.minimum(0)
		}},
		{"two clients", 1, func(s *scene) {
			ha, hb := s.hold(s.a, 2), s.hold(s.b, 4)
			s.minimum(4)
			s.release(hb)
			s.minimum(2)
			hb = s.hold(s.b, 3)
			s.release(ha)
			s.minimum(3)
			s.release(hb)
			s.minimum(1)
		}},
		{"two clients at the same moment", 0, func(s *scene) {
			for range 3 {
				var taking, releasing sync.WaitGroup
				hs := make([]*runpod.Hold, 4)
				for n, c := range []*runpod.Client{s.a, s.b, s.a, s.b} {
					taking.Go(func() { hs[n] = s.hold(c, n+1) })
				}
				taking.Wait()
				s.minimum(4)
				for _, h := range hs {
					releasing.Go(func() { s.release(h) })
				}
				releasing.Wait()
				s.minimum(0)
				s.records(0)
			}
		}},
		{"Close releases", 0, func(s *scene) {
			s.hold(s.a, 3)
			if err := s.a.Close(); err != nil {
				s.Error(err)
			}
			s.minimum(0)
		}},
		{"a hold outlasts its record's time", 0, func(s *scene) {
			h := s.hold(s.a, 3)
			time.Sleep(10 * time.Minute)
			s.release(s.hold(s.b, 2))
			s.minimum(3)
			s.release(h)
			s.minimum(0)
		}},
		{"killed, then the next to hold", 0, func(s *scene) {
			s.hold(s.a, 3)
			s.kill(s.a)
			s.minimum(3) // and stays so, and is paid for, until somebody comes:
			time.Sleep(24 * time.Hour)
			s.minimum(3)
			h := s.hold(s.b, 2)
			s.minimum(2)
			s.release(h)
			s.minimum(0)
		}},
		{"killed, the next one comes before that can be known", 0, func(s *scene) {
			s.hold(s.a, 3)
			s.kill(s.a)
			h := s.hold(s.b, 2)
			s.minimum(3)
			time.Sleep(2 * time.Minute)
			s.release(h)
			s.minimum(0)
		}},
		{"killed, then the operator", 0, func(s *scene) {
			s.hold(s.a, 3)
			s.kill(s.a)
			if gone, err := s.b.ClearHolds(s.Context(), false); err != nil || len(gone) != 0 {
				s.Errorf("cleared at once: %v, %v", gone, err)
			}
			time.Sleep(2 * time.Minute)
			if gone, err := s.b.ClearHolds(s.Context(), false); err != nil || len(gone) != 1 || gone[0].Workers != 3 {
				s.Errorf("cleared %v, %v", gone, err)
			}
			s.minimum(0)
			s.records(0)
		}},
		{"killed, and a person has lowered it", 2, func(s *scene) {
			s.hold(s.a, 4)
			s.kill(s.a)
			s.person(1)
			time.Sleep(2 * time.Minute)
			s.release(s.hold(s.b, 3))
			s.minimum(1)
		}},
		{"everything cleared while held", 0, func(s *scene) {
			h := s.hold(s.a, 3)
			if gone, err := s.b.ClearHolds(s.Context(), true); err != nil || len(gone) != 1 {
				s.Errorf("cleared %v, %v", gone, err)
			}
			s.minimum(0)
			s.release(h)
			s.minimum(0)
			s.records(0)
		}},
		{"control plane down at release, and up again", 0, func(s *scene) {
			h := s.hold(s.a, 3)
			rule := s.controlDown()
			err := h.Release(s.Context())
			if err == nil || !strings.Contains(err.Error(), "may be left with a minimum of 3 workers") || !strings.Contains(err.Error(), "runpod-workers release") {
				s.Errorf("got %v", err)
			}
			rule.Remove()
			s.minimum(3)
			s.release(h)
			s.minimum(0)
			s.records(0)
		}},
		{"control plane down at release, the next one clears at once", 0, func(s *scene) {
			h := s.hold(s.a, 3)
			rule := s.controlDown()
			if err := h.Release(s.Context()); err == nil {
				s.Error("released, without a control plane")
			}
			rule.Remove()
			s.release(s.hold(s.b, 1))
			s.minimum(0)
		}},
		{"control plane down at Close", 0, func(s *scene) {
			s.hold(s.a, 3)
			rule := s.controlDown()
			start := time.Now()
			err := s.a.Close()
			if took := time.Since(start); err == nil || took > 11*time.Second {
				s.Errorf("got %v after %s", err, took)
			}
			rule.Remove()
			if _, err := s.b.ClearHolds(s.Context(), false); err != nil {
				s.Error(err)
			}
			s.minimum(0)
		}},
		{"control plane down at hold", 0, func(s *scene) {
			rule := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Method: "PATCH", Times: runpodtest.Always, Do: runpodtest.Answer(503, "")})
			if _, err := s.a.HoldWorkers(s.Context(), 3); err == nil {
				s.Error("held, without a control plane")
			}
			rule.Remove()
			s.minimum(0)
			time.Sleep(2 * time.Minute)
			s.release(s.hold(s.b, 1))
			s.minimum(0)
			s.records(0)
		}},
		{"the answer to the change is lost", 0, func(s *scene) {
			s.srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Method: "PATCH", Times: 1, Do: runpodtest.ResetAfterWork()})
			h := s.hold(s.a, 3)
			s.minimum(3)
			s.release(h)
			s.minimum(0)
		}},
		{"no record, no hold", 0, func(s *scene) {
			rule := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Answer(403, "")})
			if _, err := s.a.HoldWorkers(s.Context(), 3); !errors.Is(err, runpod.ErrUnauthorized) {
				s.Errorf("got %v", err)
			}
			rule.Remove()
			s.minimum(0)
		}},
		{"a person raised it meanwhile", 0, func(s *scene) {
			h := s.hold(s.a, 2)
			s.person(5)
			s.release(h)
			s.minimum(5)
		}},
		{"a person lowered it meanwhile", 1, func(s *scene) {
			h := s.hold(s.a, 3)
			s.person(0)
			s.release(h)
			s.minimum(0)
		}},
		{"a person lowered it, then another client holds", 0, func(s *scene) {
			ha := s.hold(s.a, 3)
			s.person(1)
			hb := s.hold(s.b, 2)
			s.minimum(2)
			s.release(hb)
			s.minimum(1)
			s.release(ha)
			s.minimum(1)
		}},
		{"a person raised it, then another client holds", 0, func(s *scene) {
			ha := s.hold(s.a, 2)
			s.person(4)
			hb := s.hold(s.b, 3)
			s.minimum(4)
			s.release(ha)
			s.minimum(4)
			s.release(hb)
			s.minimum(4)
		}},
		{"more than the maximum", 0, func(s *scene) {
			_, err := s.a.HoldWorkers(s.Context(), 6)
			if !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "maximum is 5") {
				s.Errorf("got %v", err)
			}
			s.minimum(0)
			s.records(0)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, runpodtest.Config{MaxWorkers: 5, MinWorkers: tt.before, ControlPerMinute: 1000})
				tt.do(&scene{t, srv, steered(t, srv), steered(t, srv)})
			})
		})
	}
}

// Without S3 settings the record is a file, which the next process on the machine
// finds.
func TestHoldsRecordedAsFiles(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{})
		without := func() *runpod.Client {
			plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL),
				control.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}))
			if err != nil {
				t.Fatal(err)
			}
			c, err := runpod.New(runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL), runpod.WithControl(plane.For(srv.EndpointID)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close(); plane.Close() })
			return c
		}
		s := &scene{t, srv, without(), without()}
		h := s.hold(s.a, 2)
		s.records(1)
		if files, _ := filepath.Glob(filepath.Join(cache, "runpod-go", "holds", srv.EndpointID, "*.json")); len(files) != 1 {
			t.Errorf("files: %v", files)
		}
		s.release(h)
		s.minimum(0)
		s.records(0)
		dir := filepath.Join(cache, "runpod-go", "holds", srv.EndpointID)
		os.WriteFile(filepath.Join(dir, "x.json"), []byte("{}"), 0o600)
		s.release(s.hold(s.a, 2))
		s.minimum(0)
		if list, err := s.a.Holds(t.Context()); len(list) != 0 || !errors.Is(err, runpod.ErrIntegrity) || !strings.Contains(err.Error(), `"x.json": its id is not the one in its name`) {
			t.Errorf("got %v, %v", list, err)
		}
	})
}

func TestHeldTimeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{MinWorkers: 1, MaxWorkers: 5})
		s := &scene{t, srv, steered(t, srv), steered(t, srv)}
		h := s.hold(s.a, 3)
		time.Sleep(100 * time.Second)
		if st := s.a.Stats(); st.HeldWorkers != 2 || st.HeldWorkerSeconds < 200 || st.HeldWorkerSeconds > 201 {
			t.Errorf("2 workers for 100 s: %d, %v", st.HeldWorkers, st.HeldWorkerSeconds)
		}
		s.release(h)
		time.Sleep(time.Hour)
		if st := s.a.Stats(); st.HeldWorkers != 0 || st.HeldWorkerSeconds > 202 {
			t.Errorf("released: %d, %v", st.HeldWorkers, st.HeldWorkerSeconds)
		}
	})
}

// Holds begin and end for observers, with what they have come to.
func TestHoldsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []runpod.HoldInfo
		srv := twin(t, runpodtest.Config{MinWorkers: 1, MaxWorkers: 5})
		observed := steered(t, srv, runpod.WithObserver(runpod.Observer{
			HoldStart: func(ctx context.Context, info runpod.HoldInfo) context.Context {
				got = append(got, info)
				return ctx
			},
			HoldEnd: func(_ context.Context, info runpod.HoldInfo) { got = append(got, info) },
		}))
		s := &scene{t, srv, observed, steered(t, srv)}
		h := s.hold(s.a, 3)
		time.Sleep(100 * time.Second)
		s.release(h)
		s.release(h)
		if len(got) != 2 || got[0].Wanted != 3 || got[0].Had != 1 || got[0].WorkerSeconds != 0 || got[1].WorkerSeconds < 200 || got[1].WorkerSeconds > 201 {
			t.Errorf("%+v", got)
		}
	})
}

// An observer that panics, which net/http recovers, leaves no minimum raised.
func TestHoldObserverThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{})
		panics := steered(t, srv, runpod.WithObserver(runpod.Observer{
			HoldStart: func(context.Context, runpod.HoldInfo) context.Context { panic("observer") },
		}))
		s := &scene{t, srv, panics, steered(t, srv)}
		func() {
			defer func() { recover() }()
			s.a.HoldWorkers(t.Context(), 3)
		}()
		s.minimum(3)
		if err := s.a.Close(); err != nil {
			t.Error(err)
		}
		s.minimum(0)
		s.records(0)
	})
}

func TestHoldWorkersNeedsAControlPlane(t *testing.T) {
	c, err := runpod.New(runpod.WithAPIKey("k"), runpod.WithEndpoint("abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.HoldWorkers(context.Background(), 2); !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "WithControl") {
		t.Errorf("got %v", err)
	}
	if _, err := c.HoldWorkers(context.Background(), 0); !errors.Is(err, runpod.ErrBadRequest) {
		t.Errorf("got %v", err)
	}
}

// A number that cannot be meant is refused before anything is asked or written.
func TestHoldWorkersRefusesNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{})
		c := steered(t, srv)
		for _, n := range []int{-1, 0, 1001} {
			_, err := c.HoldWorkers(t.Context(), n)
			if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != "n" || !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "want 1 to 1000") {
				t.Errorf("%d: %v", n, err)
			}
		}
		if n := srv.Stats().ControlRequests; n != 0 {
			t.Errorf("%d requests to the control plane", n)
		}
	})
}

// One release is under way at a time: another one waits, as long as its context
// lets it.
func TestReleasesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{MaxWorkers: 5})
		s := &scene{t, srv, steered(t, srv), steered(t, srv)}
		h := s.hold(s.a, 3)
		slow := srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: runpodtest.Always, Do: runpodtest.Delay(10 * time.Second)})
		first := make(chan error)
		go func() { first <- h.Release(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Release(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "may be left") {
			t.Errorf("the second release: %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first release: %v", err)
		}
		slow.Remove()
		s.minimum(0)
	})
}
