package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
	"golang.org/x/time/rate"
)

// whoami has workers say nothing but their name, which the header does.
func whoami(cfg runpodtest.Config) runpodtest.Config {
	cfg.IdleTimeout = time.Minute
	return program(cfg, func(w http.ResponseWriter, r *http.Request) {})
}

func askSession(t *testing.T, s *Session, opts ...CallOption) string {
	t.Helper()
	resp, err := s.Call(t.Context(), "POST", "/x", nil, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.WorkerID
}

func TestSessionStaysWithItsWorker(t *testing.T) {
	for name, opts := range map[string][]SessionOption{"soft": nil, "strict": {Strict()}, "strict-resume": {StrictResume()}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, whoami(runpodtest.Config{MinWorkers: 3}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				s := c.Session(opts...)
				defer s.End()
				if s.WorkerID() != "" {
					t.Error("bound before the first answer")
				}
				first := askSession(t, s)
				for range 5 {
					if got := askSession(t, s); got != first {
						t.Errorf("worker %s, then %s", first, got)
					}
				}
				other := c.Session()
				defer other.End()
				if got := askSession(t, other); got == first {
					t.Error("the endpoint gives everybody the same worker: this test shows nothing")
				}
			})
		})
	}
}

// What becomes of a session whose worker dies.
func TestSessionWhoseWorkerIsGone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opts  []SessionOption
		call  []CallOption
		fails bool
	}{
		{name: "soft goes on with another"},
		{name: "strict says so", opts: []SessionOption{Strict()}, fails: true},
		{name: "strict-resume says so when it crashed", opts: []SessionOption{StrictResume()}, fails: true},
		{name: "strict, another by choice", opts: []SessionOption{Strict(), OrAnyWorker()}},
		{name: "strict, another for this call", opts: []SessionOption{Strict()}, call: []CallOption{AnyWorker()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, whoami(runpodtest.Config{MinWorkers: 2}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				s := c.Session(tt.opts...)
				defer s.End()
				first := askSession(t, s)
				if err := srv.CrashWorker(first); err != nil {
					t.Fatal(err)
				}
				resp, err := s.Call(t.Context(), "POST", "/x", nil, nil, tt.call...)
				if tt.fails {
					if !errors.Is(err, ErrWorkerGone) || !errors.Is(err, ErrNotFound) || attempts(err) != 1 || s.WorkerID() != first {
						t.Errorf("got %v, session on %s", err, s.WorkerID())
					}
					return
				}
				if err != nil || resp.WorkerID == first || s.WorkerID() != resp.WorkerID {
					t.Fatalf("got %v, %v, session on %s", resp, err, s.WorkerID())
				}
				if again := askSession(t, s); again != resp.WorkerID {
					t.Errorf("the session went on to %s, then to %s", resp.WorkerID, again)
				}
			})
		})
	}
}

func TestSessionResumesAStoppedWorker(t *testing.T) {
	cfg := whoami(runpodtest.Config{ColdStart: runpodtest.Fixed(75 * time.Second)})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		resumed, strict := c.Session(StrictResume()), c.Session(Strict())
		defer resumed.End()
		defer strict.End()
		first := askSession(t, resumed)
		askSession(t, strict)
		time.Sleep(10 * time.Minute)
		if ws := srv.Workers(); ws[0].End != "scaled down" {
			t.Fatalf("the worker is still there: %+v", ws)
		}
		if _, err := strict.Call(t.Context(), "POST", "/x", nil, nil); !errors.Is(err, ErrWorkerGone) {
			t.Errorf("strict: %v", err)
		}
		if again := askSession(t, resumed); again != first {
			t.Errorf("resumed %s as %s", first, again)
		}
	})
}

// A session that goes on where another one was.
func TestSessionOnAKnownWorker(t *testing.T) {
	inBubble(t, whoami(runpodtest.Config{MinWorkers: 3}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, w := range srv.Workers() {
			s := c.Session(OnWorker(w.ID), Strict())
			if got := askSession(t, s); got != w.ID || s.WorkerID() != w.ID {
				t.Errorf("begun on %s, answered by %s, session on %s", w.ID, got, s.WorkerID())
			}
			s.End()
			if s.WorkerID() != "" {
				t.Error("an ended session has a worker")
			}
		}
	})
}

func TestSessionWaitsForABusyWorker(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 2, ServiceTime: runpodtest.Fixed(time.Minute)}
	for name, tt := range map[string]struct {
		opts []SessionOption
		same bool
	}{"soft": {nil, false}, "strict": {[]SessionOption{Strict()}, true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				s := c.Session(tt.opts...)
				defer s.End()
				first := askSession(t, s)
				var wg sync.WaitGroup
				wg.Go(func() { askSession(t, s) })
				time.Sleep(time.Second)
				if got := askSession(t, s); (got == first) != tt.same {
					t.Errorf("on %s, busy: answered by %s", first, got)
				}
				wg.Wait()
			})
		})
	}
}

func TestSessionEnds(t *testing.T) {
	inBubble(t, whoami(runpodtest.Config{MinWorkers: 1}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		s := c.Session()
		askSession(t, s)
		s.End()
		s.End()
		sent := srv.Stats().Requests
		_, err := s.Call(t.Context(), "GET", "/x", nil, nil)
		e, _ := errors.AsType[*Error](err)
		if e == nil || e.Field != "session" {
			t.Errorf("got %v", err)
		}
		body := &trackedBody{Reader: http.NoBody}
		req, _ := http.NewRequest("POST", srv.EndpointURL, body)
		if _, err := s.HTTPClient().Do(req); err == nil || !body.closed.Load() {
			t.Errorf("%v; body closed: %v", err, body.closed.Load())
		}
		if s.WorkerID() != "" || srv.Stats().Requests != sent {
			t.Error("an ended session has a worker, or sends")
		}
	})
}

// Clients that others wrote take part in a session; their requests stay as
// they are.
func TestSessionOfAnotherClient(t *testing.T) {
	inBubble(t, whoami(runpodtest.Config{MinWorkers: 3}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		s := c.Session(Strict())
		defer s.End()
		workers := map[string]bool{}
		for range 5 {
			req, _ := http.NewRequest("GET", srv.EndpointURL+"/x", nil)
			req.Header.Set("Authorization", "Bearer x")
			resp, err := s.HTTPClient().Do(req)
			read(t, resp, err)
			workers[resp.Header.Get(workerIDHeader)] = true
			if len(req.Header) != 1 || resp.Request != req {
				t.Errorf("the request was changed: %v", req.Header)
			}
		}
		if len(workers) != 1 {
			t.Errorf("answered by %v", workers)
		}
	})
}

// Of two first answers at once one binds the session.
func TestSessionWithTwoFirstAnswers(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 2, ServiceTime: runpodtest.Fixed(time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		s := c.Session(Strict())
		defer s.End()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { askSession(t, s) })
		}
		wg.Wait()
		first := s.WorkerID()
		if got := askSession(t, s); got != first || first == "" {
			t.Errorf("bound to %q, answered by %s", first, got)
		}
	})
}

// An open socket does not keep its worker; requests beside it do.
func TestSessionKeepsASocketsWorker(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep-alive=%v", keep), func(t *testing.T) {
			cfg := program(runpodtest.Config{SocketsIdle: true, ColdStart: runpodtest.Fixed(75 * time.Second)}, echoLines)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				s := c.Session()
				conn := upgrade(t, s.HTTPClient(), srv.EndpointURL+"/ws")
				defer conn.Close()
				var wg sync.WaitGroup
				if keep {
					wg.Go(func() {
						if err := s.KeepAlive(t.Context(), "/ping", 0); err != nil {
							t.Error(err)
						}
					})
				}
				time.Sleep(10 * time.Minute)
				workers := srv.Workers()
				if lives := workers[0].End == ""; lives != keep || len(workers) != 1 {
					t.Errorf("after 10 minutes the worker lives: %v, of %d", lives, len(workers))
				}
				s.End()
				wg.Wait()
			})
		})
	}
}

func TestSessionKeepAliveEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(srv *runpodtest.Server, c *Client, s *Session, cancel func())
		path string
		want error
	}{
		{name: "with the session", end: func(_ *runpodtest.Server, _ *Client, s *Session, _ func()) { s.End() }},
		{name: "with its context", end: func(_ *runpodtest.Server, _ *Client, _ *Session, cancel func()) { cancel() }, want: context.Canceled},
		{name: "with the worker", end: func(srv *runpodtest.Server, _ *Client, s *Session, _ func()) { srv.CrashWorker(s.WorkerID()) }, want: ErrWorkerGone},
		{name: "with the client", end: func(_ *runpodtest.Server, c *Client, _ *Session, _ func()) { c.Close() }, want: ErrClosed},
		{name: "at once, for a path that is none", path: "https://elsewhere", end: func(*runpodtest.Server, *Client, *Session, func()) {}, want: ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, whoami(runpodtest.Config{MinWorkers: 1}), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				s := c.Session()
				defer s.End()
				askSession(t, s)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(time.Minute, func() { tt.end(srv, c, s, cancel) })
				path := tt.path
				if path == "" {
					path = "/ping"
				}
				if err := s.KeepAlive(ctx, path, 0); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A strict session that may go on with any worker does so also where the balancer
// only says that it reached nobody: insisting would end in failure.
func TestStrictSessionWhoseWorkerIsUnreachable(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"502": {502, ""}, "530": {530, ""}, "503": {503, "no such worker"}, "404 in other words": {404, "unknown worker"},
		"400 in other words": {400, `{"detail":"timed out waiting for worker"}`},
	} {
		balancer := func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(workerIDHeader) != "" {
				w.WriteHeader(answer.status)
				io.WriteString(w, answer.body)
				return
			}
			w.Header().Set(workerIDHeader, "w2")
		}
		withServer(t, balancer, func(t *testing.T, c *Client) {
			s := c.Session(OnWorker("w1"), Strict(), OrAnyWorker())
			defer s.End()
			r, err := s.Call(t.Context(), "POST", "/x", nil, nil)
			if err != nil || len(r.Attempts) != 2 || r.WorkerID != "w2" || s.WorkerID() != "w2" {
				t.Errorf("%s: %+v, %v, session on %s", name, r, err, s.WorkerID())
			}
			only := c.Session(OnWorker("w1"), Strict())
			defer only.End()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := only.Call(ctx, "POST", "/x", nil, nil); err == nil || only.WorkerID() != "w1" {
				t.Errorf("%s, on that worker alone: %v, session on %s", name, err, only.WorkerID())
			}
		})
	}
}

// Keep-alives take no place in flight: calls that have them all do not cost a
// socket its worker.
func TestKeepAliveBesideAFullClient(t *testing.T) {
	cfg := program(runpodtest.Config{SocketsIdle: true, MinWorkers: 1, MaxWorkers: 1, Concurrency: 4}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			echoLines(w, r)
		case "/long":
			time.Sleep(5 * time.Minute)
		}
	})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		s := c.Session()
		conn := upgrade(t, s.HTTPClient(), srv.EndpointURL+"/ws")
		defer conn.Close()
		var wg sync.WaitGroup
		wg.Go(func() { c.Call(t.Context(), "POST", "/long", nil, nil) })
		wg.Go(func() {
			if err := s.KeepAlive(t.Context(), "/ping", 0); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		sent := srv.Stats().Requests
		time.Sleep(time.Minute)
		if pings := srv.Stats().Requests - sent; pings < 15 {
			t.Errorf("%d pings in a minute beside a call that has the only place", pings)
		}
		s.End()
		wg.Wait()
	}, WithMaxInFlight(1), WithRateLimit(rate.Every(time.Hour), 2))
}
