package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
	"golang.org/x/time/rate"
)

// What a caller gets for each situation of the service, and how often it was
// sent. The names are those of the table in the package documentation.
func TestSituations(t *testing.T) {
	const docs, reported = `{"error":"no workers available"}`, `{"status":400,"title":"Bad Request","detail":"timed out waiting for worker"}`
	answer, worker := runpodtest.Answer, runpodtest.WorkerAnswer
	for _, c := range []struct {
		name     string
		do       runpodtest.Action
		times    int // how often the fault happens; 0: once
		get      bool
		attempts int
		kind     error // nil: the call succeeds
		failed   bool  // it fails with no kind
		may      bool
		least    time.Duration // how long the call takes at least
	}{
		{name: "cold 400 as documented", do: answer(400, docs), attempts: 2},
		{name: "cold 400 as reported", do: answer(400, reported), attempts: 2},
		{name: "cold 400 without a body, after the full wait", do: answer(400, "").Later(121 * time.Second), attempts: 2, least: 121 * time.Second},
		{name: "400 of nobody knows whom, at once", do: answer(400, "{}"), attempts: 1, kind: ErrBadRequest},
		{name: "worker's own 400", do: worker(400, `{"detail":"bad picture"}`), attempts: 1, kind: ErrBadRequest},
		{name: "worker's own 422", do: worker(422, `{"detail":[]}`), attempts: 1, kind: ErrBadRequest},
		{name: "not a load-balancing endpoint", do: answer(400, `{"error":"not allowed for QB API"}`), attempts: 1, kind: ErrBadRequest},
		{name: "bad token", do: answer(401, `{"status":401,"title":"Unauthorized","detail":"invalid api key"}`), attempts: 1, kind: ErrUnauthorized},
		{name: "forbidden", do: answer(403, ""), attempts: 1, kind: ErrUnauthorized},
		{name: "unknown endpoint", do: answer(404, ""), attempts: 1, kind: ErrNotFound},
		{name: "pinned worker gone", do: answer(404, `{"reason":"affinity_worker_gone"}`), attempts: 1, kind: ErrNotFound},
		{name: "body over 30 MB", do: answer(413, ""), attempts: 1, kind: ErrTooLarge},
		{name: "rate limited", do: answer(429, "", "Retry-After", "17"), attempts: 2, least: 17 * time.Second},
		{name: "a worker still loading", do: worker(503, `{"detail":"loading"}`), times: 3, attempts: 4},
		{name: "a worker still loading that says for how long", do: worker(503, `{"detail":"loading"}`, "Retry-After", "30"), attempts: 2, least: 30 * time.Second},
		{name: "Retry-After beyond the cap", do: answer(503, "", "Retry-After", "86400"), attempts: 2, least: time.Minute},
		{name: "first request on a cold endpoint: 502", do: answer(502, "<html>"), attempts: 2},
		{name: "ports misconfigured: 502 for 8 minutes", do: answer(502, ""), times: 24, attempts: 25},
		{name: "502 that names a worker", do: worker(502, ""), attempts: 1, failed: true, may: true},
		{name: "502 that names a worker, idempotent", do: worker(502, ""), get: true, attempts: 2},
		{name: "processing over 5.5 min", do: answer(524, "").Later(330 * time.Second), attempts: 1, kind: ErrProcessingTimeout, may: true},
		{name: "processing over 5.5 min, idempotent", do: answer(524, "").Later(330 * time.Second), get: true, attempts: 2},
		{name: "worker's 500", do: worker(500, "oops"), attempts: 1, failed: true, may: true},
		{name: "worker's 500, idempotent, for ever", do: worker(500, "oops"), times: runpodtest.Always, get: true, attempts: 3, failed: true, may: true},
		{name: "connection refused", do: runpodtest.RefuseConnection(), attempts: 2},
		{name: "reset before the request was written", do: runpodtest.ResetConnection(), attempts: 2},
		{name: "reset after the request was written", do: runpodtest.ResetAfterRead(), attempts: 1, failed: true, may: true},
		{name: "reset after the request was written, idempotent", do: runpodtest.ResetAfterRead(), get: true, attempts: 2},
		{name: "reset after the work was done", do: runpodtest.ResetAfterWork(), attempts: 1, failed: true, may: true},
		{name: "answer broken off", do: runpodtest.TruncateReply(3), attempts: 1, failed: true, may: true},
		{name: "answer broken off, idempotent", do: runpodtest.TruncateReply(3), get: true, attempts: 2},
		{name: "answer stalled, idempotent", do: runpodtest.StallReply(3), get: true, attempts: 2, least: 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := warm()
			cfg.Handler = func(runpodtest.Worker) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"ok":true}`) })
			}
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, cl *Client) {
				srv.Fault(runpodtest.Fault{On: runpodtest.OnEndpoint, Times: c.times, Do: c.do})
				method := "POST"
				if c.get {
					method = "GET"
				}
				start := time.Now()
				var out struct{ OK bool }
				r, err := cl.Call(t.Context(), method, "/x", nil, &out)
				took := time.Since(start)
				wantError := c.kind != nil || c.failed
				if (err != nil) != wantError || c.kind != nil && !errors.Is(err, c.kind) || err == nil && !out.OK {
					t.Fatalf("got %+v, %v", r, err)
				}
				sent := attempts(err)
				if err == nil {
					sent = len(r.Attempts)
				}
				if sent != c.attempts {
					t.Errorf("%d attempts, want %d: %v", sent, c.attempts, err)
				}
				if e, ok := errors.AsType[*Error](err); ok && e.MayHaveRun != c.may {
					t.Errorf("may have run: %v, want %v (%v)", e.MayHaveRun, c.may, err)
				}
				if took < c.least {
					t.Errorf("took %s, want at least %s", took, c.least)
				}
			})
		})
	}
}

// A refusal that waited 2 minutes goes back at once.
func TestColdRefusalGoesBackAtOnce(t *testing.T) {
	cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(200 * time.Second), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		r, err := c.Call(t.Context(), "POST", "/x", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 211*time.Second || len(r.Attempts) != 2 || r.Attempts[0].Delay > 250*time.Millisecond {
			t.Errorf("took %s in %+v", took, r.Attempts)
		}
	})
}

// An endpoint that never serves fails every call in bounded time, those that
// never got a place included.
func TestGiveUpWhereNoWorkerEverAnswers(t *testing.T) {
	inBubble(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, ErrNoWorkers) || e.MayHaveRun || !strings.Contains(e.Advice, "maximum workers") {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 13*time.Minute || took > 17*time.Minute {
			t.Errorf("took %s", took)
		}
	}, WithMaxInFlight(4))
}

// While workers answer other calls, a call that is refused again and again goes
// on past the time it would give up at.
func TestNoGivingUpWhileWorkersAnswer(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: runpodtest.Fixed(50 * time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		start := time.Now()
		wg.Wait()
		if took := time.Since(start); took < 20*time.Minute {
			t.Errorf("took only %s: the test shows nothing", took)
		}
	}, WithMaxInFlight(40))
}

func TestContextEndsASleepingCallAtOnce(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnEndpoint, Times: runpodtest.Always, Do: runpodtest.Answer(503, "down", "Retry-After", "40")})
		ctx, cancel := context.WithCancel(t.Context())
		stop := time.AfterFunc(10*time.Second, cancel)
		defer stop.Stop()
		start := time.Now()
		_, err := c.Call(ctx, "POST", "/x", nil, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, context.Canceled) || e.Status != 503 || string(e.Body) != "down" || len(e.Attempts) != 1 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestNoSleepThatTheDeadlineMakesPointless(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnEndpoint, Times: runpodtest.Always, Do: runpodtest.Answer(503, "", "Retry-After", "40")})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Call(ctx, "POST", "/x", nil, nil)
		if took := time.Since(start); took > time.Second || !errors.Is(err, context.DeadlineExceeded) || attempts(err) != 1 {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestContextEndsAWaitForAPlace(t *testing.T) {
	inBubble(t, runpodtest.Config{ColdStart: runpodtest.Fixed(time.Hour)}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := c.Call(ctx, "POST", "/x", nil, nil)
			done <- err
		}()
		time.Sleep(time.Second)
		waiting, leave := context.WithTimeout(t.Context(), 5*time.Second)
		defer leave()
		_, err := c.Call(waiting, "POST", "/x", nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || attempts(err) != 0 {
			t.Errorf("got %v", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || attempts(err) != 1 {
			t.Errorf("got %v", err)
		}
	}, WithMaxInFlight(1))
}

func TestRateLimitPacesAttempts(t *testing.T) {
	inBubble(t, runpodtest.Config{MinWorkers: 3, ServiceTime: runpodtest.Fixed(time.Millisecond)}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		for range 5 {
			if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 8*time.Second {
			t.Errorf("5 attempts in %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}, WithRateLimit(rate.Every(2*time.Second), 1))
}

// Idle connections outlive a call that was given up: go-retryablehttp would
// close them all.
func TestGivingUpKeepsConnections(t *testing.T) {
	inBubble(t, runpodtest.Config{MinWorkers: 3, Concurrency: 8, ServiceTime: runpodtest.Fixed(time.Second)}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		burst := func() {
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() { c.Call(t.Context(), "POST", "/x", nil, nil) })
			}
			wg.Wait()
		}
		burst()
		opened := c.Stats().EndpointConnsOpened
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Call(ctx, "POST", "/x", nil, nil); err == nil {
			t.Error("it should have been too late")
		}
		burst()
		if now := c.Stats().EndpointConnsOpened; now > opened+1 { // the cancelled one's own
			t.Errorf("%d connections became %d", opened, now)
		}
	})
}

func TestDo(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/moved":
				http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
			case "/bad":
				w.WriteHeader(http.StatusUnprocessableEntity)
				io.WriteString(w, strings.Repeat("long words ", 2000))
			default:
				fmt.Fprintf(w, "%s %s ", r.Method, r.URL.RequestURI())
				io.Copy(w, r.Body)
			}
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		do := func(req *http.Request, err error) (int, string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body)
		}
		if status, body := do(http.NewRequest("POST", srv.EndpointURL+"/a%2Fb?q=1", strings.NewReader("body"))); status != 200 || body != "POST /a%2Fb?q=1 body" {
			t.Errorf("got %d %q", status, body)
		}
		if status, body := do(http.NewRequest("GET", "/path/only", nil)); status != 200 || body != "GET /path/only " {
			t.Errorf("got %d %q", status, body)
		}
		if status, body := do(http.NewRequest("POST", "/bad", nil)); status != 422 || len(body) != 22000 {
			t.Errorf("got %d and %d bytes", status, len(body))
		}
		if status, _ := do(http.NewRequest("GET", "/moved", nil)); status != http.StatusFound {
			t.Errorf("a redirect was followed: %d", status)
		}
		// A body without GetBody goes out whole on every attempt.
		srv.Fault(runpodtest.Fault{Times: 2, Do: runpodtest.Answer(503, "")})
		if status, body := do(http.NewRequest("POST", "/x", io.NopCloser(strings.NewReader("unseekable")))); status != 200 || body != "POST /x unseekable" {
			t.Errorf("got %d %q", status, body)
		}
		req, _ := http.NewRequest("GET", "http://elsewhere.example/", nil)
		if _, err := c.Do(req); !errors.Is(err, ErrBadRequest) || !strings.Contains(err.Error(), "host") {
			t.Errorf("another host: %v", err)
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the caller's request was changed")
		}
		for name, value := range map[string]string{"Not A Token": "x", "Smuggled": "a\r\nb: c"} {
			req, _ := http.NewRequest("GET", "/", nil)
			req.Header[name] = []string{value}
			if _, err := c.Do(req); !errors.Is(err, ErrBadRequest) || attempts(err) != 0 {
				t.Errorf("header %q: %v", name, err)
			}
		}
	})
}

// An answer that is refused for good after retries is a response too.
func TestDoReturnsTheLastAnswer(t *testing.T) {
	inBubble(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "/x", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !bytes.Contains(body, []byte("no workers available")) {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	})
}

func TestDoTakesOptionsFromItsContext(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterRead()})
		req, _ := http.NewRequestWithContext(WithCallOptions(t.Context(), Idempotent()), "POST", "/x", strings.NewReader("{}"))
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
}

func TestUpgradePassesThrough(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, "echo "+line)
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequest("GET", "/socket", nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		socket, ok := resp.Body.(io.ReadWriteCloser)
		if resp.StatusCode != 101 || !ok {
			t.Fatalf("got %d with a %T", resp.StatusCode, resp.Body)
		}
		defer socket.Close()
		time.Sleep(time.Minute) // the socket outlives the call
		io.WriteString(socket, "hello\n")
		if got, err := io.ReadAll(socket); string(got) != "echo hello\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestCallOutputs(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		ctx, in := t.Context(), map[string]int{"n": 1}
		var raw []byte
		var buf bytes.Buffer
		r, err := c.Call(ctx, "POST", "/x", in, &raw)
		if err != nil || string(raw) != `{"n":1}` || string(r.Body) != string(raw) {
			t.Errorf("raw: %s, %v", raw, err)
		}
		if r, err = c.Call(ctx, "POST", "/x", in, &buf); err != nil || buf.String() != `{"n":1}` || r.Body != nil {
			t.Errorf("streamed: %s, %v", buf.String(), err)
		}
		var wrong []int
		if r, err = c.Call(ctx, "POST", "/x", in, &wrong); err == nil || r == nil || !strings.Contains(err.Error(), "JSON") {
			t.Errorf("decoded the wrong way: %v, %v", r, err)
		}
		if _, err = c.Call(ctx, "POST", "/x", make(chan int), nil); !errors.Is(err, ErrBadRequest) {
			t.Errorf("what JSON cannot say: %v", err)
		}
		if _, err = c.Call(ctx, "POST", "/x", make([]byte, maxBody+1), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("over 30 MB: %v", err)
		}
		full := failingWriter{errors.New("disk full")}
		if _, err = c.Call(ctx, "POST", "/x", in, full); !errors.Is(err, full.error) {
			t.Errorf("a writer that fails: %v", err)
		}
	})
}

type failingWriter struct{ error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.error }

func TestKeyReachesTheEndpointOnly(t *testing.T) {
	var wrong atomic.Int64
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				wrong.Add(1)
			}
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
			t.Error(err)
		}
		if wrong.Load() != 0 {
			t.Error("the edge let the key through: the simulation is wrong")
		}
	})
}

// An attempt that gets no answer ends by the client's own limit, which lies
// beyond the service's.
func TestAttemptLimit(t *testing.T) {
	limit := DefaultRetryPolicy().attemptLimit()
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		silent := func() { srv.Fault(runpodtest.Fault{Do: runpodtest.Delay(time.Hour)}) }
		silent()
		r, err := c.Call(t.Context(), "GET", "/x", nil, nil)
		if err != nil || len(r.Attempts) != 2 || r.Attempts[0].Duration != limit || !errors.Is(r.Attempts[0].Err, errAttemptLimit) {
			t.Errorf("idempotent: %+v, %v", r, err)
		}
		silent()
		start := time.Now()
		_, err = c.Call(t.Context(), "POST", "/x", nil, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, ErrProcessingTimeout) || !e.MayHaveRun || time.Since(start) != limit {
			t.Errorf("not idempotent, after %s: %v", time.Since(start), err)
		}
	})
}

// Where nothing is in flight, one caller and no more sleeps for less than the
// workers' idle timeout.
func TestOneCallerStaysOutThere(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		const long, short = 15 * time.Second, 4 * time.Second
		if got := c.calls.ep.pilot(long, time.Minute); got != long {
			t.Errorf("what the server asked for was undercut: %s", got)
		}
		if first, second := c.calls.ep.pilot(long, -1), c.calls.ep.pilot(long, -1); first != short || second != long {
			t.Errorf("the first caller sleeps %s, the second %s", first, second)
		}
		time.Sleep(short)
		if err := c.calls.ep.admission.gate.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer c.calls.ep.admission.gate.Release()
		if got := c.calls.ep.pilot(long, -1); got != long {
			t.Errorf("somebody is in flight, and a caller sleeps %s", got)
		}
	})
}

// A queue endpoint that is called like a load balancer says which call is the
// right one.
func TestQueueEndpointNamesTheRightCall(t *testing.T) {
	inBubble(t, runpodtest.Config{QueueBased: true}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		_, err := c.Call(t.Context(), "POST", "/run", nil, nil)
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrBadRequest) || !strings.Contains(e.Advice, "queue.New") {
			t.Errorf("called: %v", err)
		}
	})
}

// Only a call of which the caller has not said whether it may run twice, and that
// something could still come of, is advised to be marked.
func TestAdviceToMarkACallIdempotent(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		opts         []CallOption
		status       int
		advised      bool
	}{
		{"a POST", "POST", nil, 504, true},
		{"a POST that must not run twice", "POST", []CallOption{NotIdempotent()}, 504, false},
		{"a marked POST, sent three times", "POST", []CallOption{Idempotent()}, 500, false},
		{"a GET, sent three times", "GET", nil, 500, false},
		{"a GET that must not run twice", "GET", []CallOption{NotIdempotent()}, 504, false},
	} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			srv.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(tt.status, "")})
			_, err := c.Call(t.Context(), tt.method, "/x", nil, nil, tt.opts...)
			if e, ok := errors.AsType[*Error](err); !ok || !e.MayHaveRun || strings.Contains(e.Advice, "Idempotent") != tt.advised {
				t.Errorf("%s: %v", tt.name, err)
			}
		})
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Delay(time.Hour)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "Idempotent") {
			t.Errorf("the context is over: %v", err)
		}
	})
}

// What a call's request has in it that is secret is in no error and no log line,
// although the server echoes it.
func TestSecretsOfACall(t *testing.T) {
	var log logs
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Times: 2, Do: runpodtest.WorkerAnswer(422, `{"detail":"password hush-hush is too short","key":"`+srv.APIKey+`"}`)})
		_, err := c.Call(t.Context(), "POST", "/login", map[string]string{"password": "hush-hush"}, nil, Secret("", "hush-hush"))
		if text := fmt.Sprint(err) + log.String(); strings.Contains(text, "hush") || strings.Contains(text, srv.APIKey) || !strings.Contains(text, "is too short") {
			t.Errorf("shown: %s", text)
		}
		if _, err := c.Call(t.Context(), "POST", "/login", nil, nil); !strings.Contains(fmt.Sprint(err), "hush-hush") {
			t.Errorf("a call without secrets: %v", err)
		}
	}, WithLogger(log.logger()))
}

// Who has answered decides what kind of error it is, and what to do about it.
func TestWhoAnsweredDecidesTheAdvice(t *testing.T) {
	for _, tt := range []struct {
		name, worker string
		status       int
		header, body string
		kind         error
		says         string
	}{
		{name: "the balancer's 401", status: 401, body: `{"detail":"invalid api key"}`, kind: ErrUnauthorized, says: "check the Runpod API key"},
		{name: "the worker's own 401", worker: "w1", status: 401, kind: ErrBadRequest, says: "the program on the worker"},
		{name: "the worker's own 403", worker: "w1", status: 403, body: "<html>", kind: ErrBadRequest, says: "the program on the worker"},
		{name: "a block page", status: 403, body: "error code: 1010", kind: ErrBadRequest, says: "User-Agent"},
		{name: "a proxy's 407", status: 407, kind: ErrBadRequest, says: "check the proxy"},
		{name: "no such endpoint", status: 404, kind: ErrNotFound, says: "check the endpoint's id"},
		{name: "the worker's own 404", worker: "w1", status: 404, kind: ErrNotFound, says: "the program on the worker that does not know it"},
		{name: "a redirect", status: 307, header: "https://elsewhere.test/x?key=the-key", says: `it redirects to "https://elsewhere.test/x?key=[redacted]"`},
	} {
		withServer(t, func(w http.ResponseWriter, r *http.Request) {
			if tt.worker != "" {
				w.Header().Set(workerIDHeader, tt.worker)
			}
			if tt.header != "" {
				w.Header().Set("Location", tt.header)
			}
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}, func(t *testing.T, c *Client) {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v", tt.name, err)
			}
		})
	}
}

// A deadline that comes while others are served is no reason to look at the
// maximum of workers being 0.
func TestDeadlineWhileOthersAreServed(t *testing.T) {
	for others, says := range map[bool]string{true: "workers answer other calls", false: "maximum workers is above 0"} {
		withServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/served" {
				w.Header().Set(workerIDHeader, "w1")
				return
			}
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"no workers available"}`)
		}, func(t *testing.T, c *Client) {
			if others {
				time.AfterFunc(time.Second, func() { c.Call(t.Context(), "POST", "/served", nil, nil) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := c.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), says) {
				t.Errorf("others served: %v: %v", others, err)
			}
		})
	}
}

// An answer without a body has nothing left to read: a caller who does not close
// it keeps no place.
func TestAnswersWithoutABodyKeepNoPlace(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		length string
	}{{"HEAD", 200, "5"}, {"GET", 204, ""}, {"GET", 304, ""}, {"GET", 200, "0"}, {"GET", 404, "0"}, {"GET", 422, "2"}} {
		withServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(workerIDHeader, "w1")
			if tt.length != "" {
				w.Header().Set("Content-Length", tt.length)
			}
			w.WriteHeader(tt.status)
			if tt.status == 422 {
				io.WriteString(w, "no") // read ahead, to its end
			}
		}, func(t *testing.T, c *Client) {
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, tt.method, "/x", nil)
				if _, err := c.Do(req); err != nil {
					t.Errorf("%s, %d: %v", tt.method, tt.status, err)
				}
			}
		}, WithMaxInFlight(1))
	}
}

// A call that waits for a place in vain, as one does that is made from within
// the open streams which have them all, is told so.
func TestWaitForAPlaceInVain(t *testing.T) {
	withServer(t, func(w http.ResponseWriter, r *http.Request) { dribble(w, r, 200, "data: 1\n\n") }, func(t *testing.T, c *Client) {
		for range 2 {
			resp, err := c.HTTPClient().Get("/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.Call(ctx, "POST", "/x", nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waited 30s for one of 2 places in flight (WithMaxInFlight)") {
			t.Errorf("got %v", err)
		}
	}, WithMaxInFlight(2))
}
