package runpod

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

type spanKey struct{}

// The observer sees every attempt with its verdict and reason, and the context
// that it began the attempt with is the attempt's.
func TestObserverSeesEveryAttempt(t *testing.T) {
	var started, onConn atomic.Int64
	var ended []Attempt
	observer := Observer{
		AttemptStart: func(ctx context.Context, info AttemptInfo) context.Context {
			started.Add(1)
			return context.WithValue(ctx, spanKey{}, info.Number)
		},
		AttemptEnd: func(ctx context.Context, info AttemptInfo, a Attempt) {
			if ctx.Value(spanKey{}) != info.Number || info.Op != "POST /x" {
				t.Errorf("attempt %d ended in the context of %v", info.Number, ctx.Value(spanKey{}))
			}
			ended = append(ended, a)
		},
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
		c := newClient(t, srv, WithObserver(observer), WithHTTPTransport(&http.Transport{
			Proxy: func(r *http.Request) (*url.URL, error) {
				if r.Context().Value(spanKey{}) != nil {
					onConn.Add(1)
				}
				return nil, nil
			},
		}))
		srv.Fault(runpodtest.Fault{Times: 2, Do: runpodtest.Answer(502, "")})
		r, err := c.Call(t.Context(), "POST", "/x?token=hush", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if started.Load() != 3 || len(ended) != 3 || onConn.Load() == 0 {
			t.Fatalf("%d started, %d ended, %d on their way with its context", started.Load(), len(ended), onConn.Load())
		}
		for i, a := range ended {
			if a != r.Attempts[i] || a.Reason == "" {
				t.Errorf("attempt %d: told of %+v, returned %+v", i, a, r.Attempts[i])
			}
		}
		if ended[0].Verdict != VerdictRetryBackoff || ended[2].Verdict != VerdictDeliver {
			t.Errorf("got %+v", ended)
		}
	})
}

// A caller's classifier comes before the table, and leaves to it what it does
// not know.
func TestClassifierComesFirst(t *testing.T) {
	classify := func(o Observation) (Verdict, bool) {
		switch {
		case o.Status == 418:
			return VerdictRetryBackoff, o.Number < 3
		case o.Status == 502:
			return VerdictGiveUp, true
		}
		return 0, false
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		rule := srv.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.WorkerAnswer(418, "")})
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); !errors.Is(err, ErrBadRequest) || attempts(err) != 3 {
			t.Errorf("418: %v", err)
		}
		rule.Remove()
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); attempts(err) != 1 || !strings.Contains(err.Error(), "502") {
			t.Errorf("502: %v", err)
		}
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "")})
		if r, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil || len(r.Attempts) != 2 {
			t.Errorf("503: %v", err)
		}
	}, WithClassifier(classify))
}

// A pinned request may go to any worker only when it is marked.
func TestPinnedWorkerGone(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		do := func(ctx context.Context) (int, string) {
			req, _ := http.NewRequestWithContext(ctx, "POST", "/x", nil)
			req.Header.Set("X-Runpod-Worker-Id", "strict nobody")
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id")
		}
		if status, _ := do(t.Context()); status != 404 {
			t.Errorf("got %d", status)
		}
		if status, worker := do(WithCallOptions(t.Context(), AnyWorker())); status != 200 || worker == "" {
			t.Errorf("with AnyWorker: %d from %q", status, worker)
		}
	})
}

// Each attempt is a debug line with its verdict and reason, each give-up a
// warning.
func TestAttemptsAreLogged(t *testing.T) {
	var out logs
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(403, "")})
		if _, err := c.Call(t.Context(), "POST", "/x?token=hush", nil, nil); err == nil {
			t.Fatal("it succeeded")
		}
		text := out.String()
		for _, want := range []string{
			"level=DEBUG msg=attempt op=\"POST /x\" attempts=1 status=502", "verdict=\"retry after backoff\" reason=\"the balancer reached no worker\"",
			"attempts=2 status=403", "verdict=\"give up\" reason=\"the key was refused\"", "level=WARN msg=\"gave up\"",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the log:\n%s", want, text)
			}
		}
	}, WithLogger(out.logger()))
}

// A second observer adds to the first: their contexts nest, and each gets its
// own back when the attempt ends.
func TestObserversAddUp(t *testing.T) {
	var order []string
	observer := func(name string) Option {
		return WithObserver(Observer{
			AttemptStart: func(ctx context.Context, _ AttemptInfo) context.Context {
				outer, _ := ctx.Value(spanKey{}).(string)
				order = append(order, "start "+outer+name)
				return context.WithValue(ctx, spanKey{}, outer+name)
			},
			AttemptEnd: func(ctx context.Context, _ AttemptInfo, _ Attempt) {
				order = append(order, "end "+ctx.Value(spanKey{}).(string))
			},
		})
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order, ", "); got != "start a, start ab, end a, end ab" {
			t.Errorf("got %s", got)
		}
	}, observer("a"), WithObserver(Observer{}), observer("b"))
}

// A second classifier is asked about what the first one leaves open.
func TestClassifiersAddUp(t *testing.T) {
	only := func(status int, v Verdict) Option {
		return WithClassifier(func(o Observation) (Verdict, bool) { return v, o.Status == status })
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for status, want := range map[int]int{502: 1, 503: 1, 429: 2} {
			srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(status, "")})
			r, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			got := attempts(err)
			if err == nil {
				got = len(r.Attempts)
			}
			if got != want {
				t.Errorf("%d: %d attempts, want %d: %v", status, got, want, err)
			}
		}
	}, only(502, VerdictGiveUp), WithClassifier(nil), only(503, VerdictGiveUp), only(502, VerdictRetryNow))
}

// A GET that is marked is not sent again once it may have run.
func TestNotIdempotent(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterRead()})
		_, err := c.Call(t.Context(), "GET", "/x", nil, nil, Idempotent(), NotIdempotent())
		if e, ok := errors.AsType[*Error](err); !ok || !e.MayHaveRun || len(e.Attempts) != 1 {
			t.Errorf("got %v", err)
		}
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		if r, err := c.Call(t.Context(), "GET", "/x", nil, nil, NotIdempotent()); err != nil || len(r.Attempts) != 2 {
			t.Errorf("it cannot have run, and was not sent again: %v", err)
		}
	})
}

// An attempt that its context ended says so by its cause, whatever the transport
// said.
func TestCancelledAttemptSaysSo(t *testing.T) {
	cfg := warm()
	cfg.ServiceTime = runpodtest.Fixed(time.Minute)
	inBubble(t, cfg, func(t *testing.T, _ *runpodtest.Server, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Call(ctx, "POST", "/x", nil, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || len(e.Attempts) != 1 || e.Attempts[0].Cause != "cancelled" {
			t.Errorf("%+v", err)
		}
	})
}
