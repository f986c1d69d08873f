package runpod

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// callLog is an observer that keeps how calls ended.
type callLog struct {
	mu    sync.Mutex
	ended []CallInfo
}

func (l *callLog) option() Option {
	return WithObserver(Observer{CallEnd: func(_ context.Context, info CallInfo) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = append(l.ended, info)
	}})
}

func (l *callLog) last(t *testing.T, n int) CallInfo {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ended) != n {
		t.Fatalf("%d calls have ended, want %d: %+v", len(l.ended), n, l.ended)
	}
	return l.ended[n-1]
}

// A call ends once, with what it came to and what it waited for.
func TestCallsAreObserved(t *testing.T) {
	var log callLog
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/refuse" {
				w.WriteHeader(422)
			}
			io.WriteString(w, `"hello"`)
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		if _, err := c.Call(t.Context(), "POST", "/items/7?key=hush", map[string]int{"a": 1}, nil, Route("/items/{id}")); err != nil {
			t.Fatal(err)
		}
		got := log.last(t, 1)
		if got.Method != "POST" || got.Path != "/items/7" || got.Route != "/items/{id}" || got.BodyBytes != 7 || got.Attempts != 2 ||
			got.Outcome != outcomeAnswered || got.AnswerBytes != 7 || got.Cause != "answered" || got.WorkerID == "" || got.Status != 200 {
			t.Errorf("%+v", got)
		}
		if _, err := c.Call(t.Context(), "POST", "/refuse", nil, nil); err == nil {
			t.Fatal("it was not refused")
		}
		if got := log.last(t, 2); got.Outcome != outcomeRefused || got.Status != 422 || got.Cause != "bad_request" || got.Err == nil {
			t.Errorf("%+v", got)
		}
		var out strings.Builder
		if _, err := c.Call(t.Context(), "GET", "/stream", nil, &out); err != nil {
			t.Fatal(err)
		}
		if got := log.last(t, 3); got.AnswerBytes != 7 || got.Outcome != outcomeAnswered {
			t.Errorf("%+v", got)
		}
		resp, err := c.HTTPClient().Get("/body")
		if err != nil {
			t.Fatal(err)
		}
		log.last(t, 3) // not before the body was read
		io.Copy(io.Discard, resp.Body)
		if got := log.last(t, 4); got.AnswerBytes != 7 || got.Outcome != outcomeAnswered {
			t.Errorf("%+v", got)
		}
		resp.Body.Close()
		if resp, err = c.HTTPClient().Head("/body"); err != nil {
			t.Fatal(err)
		}
		if got := log.last(t, 5); got.Method != "HEAD" || got.Outcome != outcomeAnswered {
			t.Errorf("an answer without a body ends at once: %+v", got)
		}
		resp.Body.Close()
		log.last(t, 5)
	}, log.option())
}

// Waiting is visible: for a place, and for a worker; also of a call that ends
// while it waits.
func TestWaitingIsObserved(t *testing.T) {
	var log callLog
	cfg := runpodtest.Config{MinWorkers: 0, MaxWorkers: 1, ColdStart: runpodtest.Fixed(150 * time.Second), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Call(t.Context(), "POST", "/first", nil, nil) })
		synctest.Wait()
		wg.Go(func() {
			if _, err := c.Call(ctx, "POST", "/second", nil, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		time.Sleep(20 * time.Second)
		cancel()
		synctest.Wait()
		if got := log.last(t, 1); got.Path != "/second" || got.Outcome != outcomeCancelled || got.WaitedPlace != 20*time.Second || got.Attempts != 0 {
			t.Errorf("%+v", got)
		}
		wg.Wait()
		got := log.last(t, 2)
		if got.Path != "/first" || got.Outcome != outcomeAnswered || got.WaitedPlace != 0 || got.WaitedCold < 2*time.Minute || got.WaitedCold > 3*time.Minute {
			t.Errorf("%+v", got)
		}
	}, log.option(), WithMaxInFlight(1))
}

// What AttemptStart writes to the header goes out with that attempt alone, and
// the key is not shown to it.
func TestAttemptsHeaderMayBeWritten(t *testing.T) {
	var seen []string
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Traceparent")) })
	}
	observer := WithObserver(Observer{AttemptStart: func(ctx context.Context, info AttemptInfo) context.Context {
		seen = append(seen, info.Header.Get("Traceparent")+info.Again+info.URL[strings.LastIndex(info.URL, "/"):])
		if info.Header.Get("Authorization") != "" {
			t.Error("the observer was shown the key")
		}
		info.Header.Set("Traceparent", "00-trace-"+info.Op)
		return ctx
	}})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		var body []byte
		if _, err := c.Call(t.Context(), "POST", "/x?q=hush", nil, &body); err != nil || string(body) != "00-trace-POST /x" {
			t.Errorf("%q, %v", body, err)
		}
		if got := strings.Join(seen, " "); got != "/x worker_unreachable/x" {
			t.Errorf("the attempts began with %q", got)
		}
	}, observer)
}

// A job's call and attempts lie within it, also when a function of the job
// panics.
func TestJobsAreObserved(t *testing.T) {
	type key struct{}
	var ends []string
	observer := WithObserver(Observer{
		JobStart: func(ctx context.Context, info JobInfo) context.Context { return context.WithValue(ctx, key{}, info.ID) },
		JobEnd: func(ctx context.Context, info JobInfo, r Result, err error) {
			ends = append(ends, ctx.Value(key{}).(string)+" "+r.JobID)
			if (err == nil) != (info.ID == "good") {
				t.Errorf("%s: %v", info.ID, err)
			}
		},
		CallStart: func(ctx context.Context, info CallInfo) context.Context {
			if ctx.Value(key{}) != info.JobID {
				t.Errorf("the call of %q lies within %v", info.JobID, ctx.Value(key{}))
			}
			return ctx
		},
	})
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Run(t.Context(), Job{ID: "good", Path: "/x"}); err != nil {
			t.Fatal(err)
		}
		bad := Job{ID: "bad", Path: "/x", Body: func([]Object) (any, error) { panic("no") }}
		for _, err := range c.RunAll(t.Context(), func(yield func(Job) bool) { yield(bad) }) {
			if err == nil {
				t.Error("no error")
			}
		}
		if got := strings.Join(ends, ", "); got != "good good, bad bad" {
			t.Errorf("got %s", got)
		}
	}, observer)
}
