package runpodtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// The conformance suite holds the server against what is known of the service,
// row by row, with nothing but net/http and the AWS SDK. A name begins with the
// section: endpoint or s3; the letter behind the row is how far the fact can be
// trusted: D documented by Runpod, R reported by users, I inferred.

// conform runs one row of the facts in virtual time.
func conform(t *testing.T, row string, cfg runpodtest.Config, f func(t *testing.T, tw *twin)) {
	t.Run(row, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, newTwin(t, cfg)) })
	})
}

// warm is an endpoint with one worker that is ready, and a second of work.
func warm() runpodtest.Config {
	return runpodtest.Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: runpodtest.Fixed(time.Second)}
}

// program makes every worker run h.
func program(h http.HandlerFunc) func(runpodtest.Worker) http.Handler {
	return func(runpodtest.Worker) http.Handler { return h }
}

// want checks an answer's status and, where given, its whole body.
func (g got) want(t *testing.T, status int, body string) {
	t.Helper()
	if g.err != nil || g.status != status || (body != "" && strings.TrimSpace(g.body) != body) {
		t.Errorf("got %d %q, error %v; want %d %q", g.status, g.body, g.err, status, body)
	}
}

// after checks how long an answer took.
func (g got) after(t *testing.T, want time.Duration) {
	t.Helper()
	if g.took != want {
		t.Errorf("took %v, want %v", g.took, want)
	}
}

// from checks whether the answer names a worker.
func (g got) from(t *testing.T, worker bool) {
	t.Helper()
	if (g.worker != "") != worker {
		t.Errorf("worker id %q; one is wanted: %v", g.worker, worker)
	}
}

// parallel sends n requests at once and returns their answers.
func (tw *twin) parallel(n int, send func(i int) got) []got {
	out := make([]got, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = send(i) })
	}
	wg.Wait()
	return out
}

func TestConformanceEndpointEdge(t *testing.T) {
	echo := warm()
	echo.Handler = program(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s auth=%q", r.Method, r.URL.RequestURI(), body, r.Header.Get("Authorization"))
	})
	conform(t, "endpoint: any path and method (D), the key ends at the edge (R)", echo, func(t *testing.T, tw *twin) {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"} {
			g := tw.send(method, "/a/b%20c?x=1&y", "hi")
			g.want(t, 200, method+` /a/b%20c?x=1&y hi auth=""`)
			g.from(t, true)
		}
	})
	conform(t, "endpoint: no token, bad token (R)", warm(), func(t *testing.T, tw *twin) {
		g := tw.send("GET", "/", "", "Authorization", "")
		g.want(t, 401, `{"status":401,"title":"Unauthorized","detail":"no token provided"}`)
		g.from(t, false)
		g = tw.send("GET", "/", "", "Authorization", "Bearer nonsense")
		g.want(t, 401, `{"status":401,"title":"Unauthorized","detail":"invalid api key"}`)
	})
	qb := warm()
	qb.QueueBased = true
	conform(t, "endpoint: queue-based, not load-balancing (D)", qb, func(t *testing.T, tw *twin) {
		tw.send("POST", "/run", "{}").want(t, 400, `{"error":"not allowed for QB API"}`)
	})
	big := warm()
	big.BodyLimit = 1 << 20
	conform(t, "endpoint: request body over the limit (D: 30 MB; I: 413)", big, func(t *testing.T, tw *twin) {
		tw.send("POST", "/", strings.Repeat("x", 1<<20)).want(t, 200, "")
		g := tw.send("POST", "/", strings.Repeat("x", 1<<20+1))
		g.want(t, 413, "")
		g.from(t, false)
	})
	conform(t, "endpoint: chunked request body over the limit (D, I)", big, func(t *testing.T, tw *twin) {
		req, _ := http.NewRequest("POST", tw.EndpointURL, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 2<<20))})
		req.Header.Set("Authorization", "Bearer "+tw.APIKey)
		resp, err := tw.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	large := big
	large.Handler = program(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/declared" {
			w.Header().Set("Content-Length", "1048577")
		}
		w.Write(make([]byte, 1<<19))
		w.Write(make([]byte, 1<<19+1))
	})
	conform(t, "endpoint: response body over the limit (D: 30 MB; I: how it ends)", large, func(t *testing.T, tw *twin) {
		tw.send("GET", "/declared", "").want(t, 502, "")
		if g := tw.send("GET", "/streamed", ""); !errors.Is(g.err, io.ErrUnexpectedEOF) || g.status != 200 {
			t.Errorf("got %d, %v: want a body cut short", g.status, g.err)
		}
	})
	conform(t, "endpoint: rate limiting (I: 429 with Retry-After)", warm(), func(t *testing.T, tw *twin) {
		tw.Fault(runpodtest.Fault{Do: runpodtest.Answer(429, `{"error":"too many requests"}`, "Retry-After", "2")})
		g := tw.send("POST", "/", "")
		g.want(t, 429, `{"error":"too many requests"}`)
		if g.header.Get("Retry-After") != "2" {
			t.Errorf("header %v", g.header)
		}
	})
	conform(t, "endpoint: unknown endpoint (I: 404)", warm(), func(t *testing.T, tw *twin) {
		tw.Fault(runpodtest.Fault{Do: runpodtest.Answer(404, "")})
		g := tw.send("POST", "/", "")
		g.want(t, 404, "")
		g.from(t, false)
	})
	conform(t, "endpoint: first request on a cold endpoint gets 502, the next succeeds (R)", warm(), func(t *testing.T, tw *twin) {
		tw.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "error code: 502")})
		g := tw.send("POST", "/", "")
		g.want(t, 502, "")
		g.from(t, false)
		tw.send("POST", "/", "").want(t, 200, "")
	})
	conform(t, "endpoint: ports misconfigured, 502 for minutes (D)", warm(), func(t *testing.T, tw *twin) {
		broken := tw.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, ""), Times: runpodtest.Always})
		for range 3 {
			tw.send("POST", "/", "").want(t, 502, "")
		}
		broken.Remove()
		tw.send("POST", "/", "").want(t, 200, "")
	})
	omit := warm()
	omit.OmitWorkerID = true
	conform(t, "endpoint: X-Runpod-Worker-Id may be absent (I)", omit, func(t *testing.T, tw *twin) {
		g := tw.send("GET", "/", "")
		g.want(t, 200, "")
		g.from(t, false)
	})
}

func TestConformanceEndpointWait(t *testing.T) {
	none := runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}
	conform(t, "endpoint: no worker within 2 min, documented body (D)", none, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/api/v1/tryon", "{}")
		g.want(t, 400, `{"error":"no workers available"}`)
		g.after(t, 2*time.Minute)
		g.from(t, false)
	})
	problem := none
	problem.Refusal = runpodtest.RefusalProblem
	conform(t, "endpoint: no worker within 2 min, reported body (R)", problem, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/api/v1/tryon", "{}")
		g.want(t, 400, `{"status":400,"title":"Bad Request","detail":"timed out waiting for worker"}`)
		if g.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("content type %q", g.header.Get("Content-Type"))
		}
	})
	full := none
	full.MaxWaiting = 2
	conform(t, "endpoint: refusal at once above a number waiting (I)", full, func(t *testing.T, tw *twin) {
		fast := 0
		for _, g := range tw.parallel(5, func(int) got { return tw.send("GET", "/", "") }) {
			g.want(t, 400, "")
			if g.took == 0 {
				fast++
			}
		}
		if fast != 3 {
			t.Errorf("%d of 5 were refused at once, want 3", fast)
		}
	})
	slow := warm()
	slow.ServiceTime = runpodtest.Fixed(6 * time.Minute)
	conform(t, "endpoint: processing over 5.5 min gives 524, the worker had it (D)", slow, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/", "")
		g.want(t, 524, "")
		g.after(t, 330*time.Second)
		g.from(t, false)
		if served := tw.Workers()[0].Served; served != 1 {
			t.Errorf("%d requests reached the worker", served)
		}
	})
	cold := runpodtest.Config{ColdStart: runpodtest.Fixed(50 * time.Second), Loading: runpodtest.Fixed(20 * time.Second),
		ServiceTime: runpodtest.Fixed(10 * time.Second)}
	conform(t, "endpoint: a worker up but still loading answers its own 503 (R)", cold, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/", "")
		g.want(t, 503, `{"detail":"the model is still loading"}`)
		g.after(t, 50*time.Second)
		g.from(t, true)
		tw.http.CloseIdleConnections()
		time.Sleep(4 * time.Second)
		tw.send("POST", "/", "").want(t, 503, "")
	})
	own := warm()
	own.Handler = program(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(422)
		io.WriteString(w, `{"detail":[{"loc":["body","person"],"msg":"field required"}]}`)
	})
	conform(t, "endpoint: a worker's own validation error, with its id (R)", own, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/", "{}")
		g.want(t, 422, `{"detail":[{"loc":["body","person"],"msg":"field required"}]}`)
		g.from(t, true)
		g.after(t, time.Second)
	})
	conform(t, "endpoint: any request wakes it, /ping included (R)", runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute)}, func(t *testing.T, tw *twin) {
		g := tw.send("GET", "/ping", "")
		g.want(t, 200, "")
		g.after(t, time.Minute)
	})
	conform(t, "endpoint: /ping may not count (switch)", runpodtest.Config{PingIsFree: true}, func(t *testing.T, tw *twin) {
		tw.send("GET", "/ping", "").want(t, 400, "")
		if n := tw.Stats().WorkersStarted; n != 0 {
			t.Errorf("%d workers started", n)
		}
	})
}

func TestConformanceEndpointAffinity(t *testing.T) {
	const header = "X-Runpod-Worker-Id"
	two := runpodtest.Config{MinWorkers: 2, ServiceTime: runpodtest.Fixed(10 * time.Second)}
	conform(t, "affinity: every worker's answer names it (D)", two, func(t *testing.T, tw *twin) {
		known := map[string]bool{}
		for _, w := range tw.Workers() {
			known[w.ID] = true
		}
		for _, g := range tw.parallel(2, func(int) got { return tw.send("GET", "/", "") }) {
			if !known[g.worker] {
				t.Errorf("answered by %q, workers are %v", g.worker, known)
			}
		}
	})
	conform(t, "affinity: soft prefers the worker and never fails for it (D)", two, func(t *testing.T, tw *twin) {
		id := tw.Workers()[1].ID
		for range 3 {
			if g := tw.send("GET", "/", "", header, id); g.worker != id {
				t.Errorf("served by %s, want %s", g.worker, id)
			}
		}
		for _, g := range tw.parallel(2, func(int) got { return tw.send("GET", "/", "", header, id) }) {
			g.want(t, 200, "")
			g.after(t, 10*time.Second)
		}
		tw.send("GET", "/", "", header, "nobody").want(t, 200, "")
	})
	conform(t, "affinity: strict waits for its worker (D)", two, func(t *testing.T, tw *twin) {
		id := tw.Workers()[0].ID
		slowest := time.Duration(0)
		for _, g := range tw.parallel(2, func(int) got { return tw.send("GET", "/", "", header, "strict "+id) }) {
			g.want(t, 200, "")
			slowest = max(slowest, g.took)
		}
		if slowest != 20*time.Second {
			t.Errorf("the second took %v, want 20 s behind the first", slowest)
		}
	})
	busy := two
	busy.ServiceTime = runpodtest.Fixed(320 * time.Second)
	conform(t, "affinity: strict, worker busy: 400 after 5 min (D)", busy, func(t *testing.T, tw *twin) {
		id := tw.Workers()[0].ID
		answers := tw.parallel(2, func(i int) got {
			time.Sleep(time.Duration(i) * time.Second)
			return tw.send("GET", "/", "", header, "strict "+id)
		})
		answers[0].want(t, 200, "")
		answers[1].want(t, 400, `{"error":"timed out waiting for worker","reason":"worker_timeout"}`)
		answers[1].after(t, 5*time.Minute)
		answers[1].from(t, false)
	})
	conform(t, "affinity: strict, worker gone: 404 (D)", two, func(t *testing.T, tw *twin) {
		g := tw.send("GET", "/", "", header, "strict nobody")
		g.want(t, 404, `{"error":"affinity_worker_gone","reason":"affinity_worker_gone"}`)
		g.after(t, 0)
	})
	conform(t, "affinity: strict, worker dies while waiting: 404 (D)", two, func(t *testing.T, tw *twin) {
		id := tw.Workers()[0].ID
		answers := tw.parallel(3, func(i int) got {
			time.Sleep(time.Duration(i) * time.Second)
			if i == 2 {
				return got{err: tw.CrashWorker(id)}
			}
			return tw.send("GET", "/", "", header, "strict "+id)
		})
		answers[0].want(t, 502, "")
		answers[1].want(t, 404, "")
	})
	lazy := runpodtest.Config{ColdStart: runpodtest.Fixed(30 * time.Second), ServiceTime: runpodtest.Fixed(time.Second)}
	conform(t, "affinity: strict-resume starts a scaled-down worker again (D)", lazy, func(t *testing.T, tw *twin) {
		id := tw.send("GET", "/", "").worker
		time.Sleep(time.Minute)
		tw.send("GET", "/", "", header, "strict "+id).want(t, 404, "")
		g := tw.send("GET", "/", "", header, "strict-resume "+id)
		g.want(t, 200, "")
		g.after(t, 31*time.Second)
		if g.worker != id {
			t.Errorf("served by %s, want %s", g.worker, id)
		}
		if err := tw.CrashWorker(id); err != nil {
			t.Fatal(err)
		}
		tw.send("GET", "/", "", header, "strict-resume "+id).want(t, 404, "")
	})
}

func TestConformanceEndpointScaling(t *testing.T) {
	base := runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	for _, tt := range []struct{ requests, workers int }{{1, 1}, {4, 1}, {5, 2}, {8, 2}, {9, 3}, {15, 3}} {
		conform(t, fmt.Sprintf("scaling: ceil(%d in flight / 4), at most 3 (D) is %d", tt.requests, tt.workers), base, func(t *testing.T, tw *twin) {
			tw.parallel(tt.requests, func(int) got { return tw.send("POST", "/", "") })
			if n := tw.Stats().WorkersStarted; n != tt.workers {
				t.Errorf("%d workers started", n)
			}
		})
	}
	conform(t, "scaling: one at a time starts only one worker (R)", base, func(t *testing.T, tw *twin) {
		for range 6 {
			tw.send("POST", "/", "").want(t, 200, "")
		}
		if n := tw.Stats().WorkersStarted; n != 1 {
			t.Errorf("%d workers started", n)
		}
	})
	conform(t, "scaling: idle timeout 5 s (D)", base, func(t *testing.T, tw *twin) {
		tw.send("POST", "/", "")
		time.Sleep(time.Minute)
		w := tw.Workers()[0]
		if w.End != "scaled down" || w.Stopped != 75*time.Second || w.Idle != 5*time.Second {
			t.Errorf("got %+v", w)
		}
	})
	conform(t, "scaling: minimum workers stay (D)", warm(), func(t *testing.T, tw *twin) {
		time.Sleep(time.Hour)
		tw.send("POST", "/", "").after(t, time.Second)
	})
	delay := base
	delay.ScalerType = runpodtest.QueueDelay
	conform(t, "scaling: QUEUE_DELAY starts a worker for what has waited 4 s (D, I)", delay, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/", "")
		g.want(t, 200, "")
		g.after(t, 74*time.Second)
	})
	conform(t, "scaling: bounds change while running (D)", runpodtest.Config{MaxWorkers: runpodtest.NoWorkers, ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(time.Second)}, func(t *testing.T, tw *twin) {
		tw.send("POST", "/", "").want(t, 400, "")
		if err := tw.SetWorkers(1, 2); err != nil {
			t.Fatal(err)
		}
		tw.send("POST", "/", "").after(t, 61*time.Second)
		if err := tw.SetWorkers(0, 0); err != nil {
			t.Fatal(err)
		}
		tw.send("POST", "/", "").want(t, 400, "")
	})
	policy := base
	policy.IdlePolicy = true
	conform(t, "scaling: unused for 7 days, max becomes 0 until a person raises it (D)", policy, func(t *testing.T, tw *twin) {
		tw.send("POST", "/", "").want(t, 200, "")
		time.Sleep(4 * 24 * time.Hour)
		tw.parallel(15, func(int) got { return tw.send("POST", "/", "") })
		if n := tw.Stats().WorkersStarted; n != 1+2 {
			t.Errorf("after 4 days %d workers started, want 2 more", n)
		}
		time.Sleep(8 * 24 * time.Hour)
		tw.send("POST", "/", "").want(t, 400, "")
		if err := tw.SetWorkers(0, 3); err != nil {
			t.Fatal(err)
		}
		tw.send("POST", "/", "").want(t, 200, "")
	})
	gpu := base
	gpu.Capacity = 1
	conform(t, "scaling: throttled workers wait for a GPU (D: a worker state)", gpu, func(t *testing.T, tw *twin) {
		tw.parallel(9, func(int) got { return tw.send("POST", "/", "") })
		st := tw.Stats()
		if st.PeakWorkers != 1 || st.WorkersStarted != 3 {
			t.Errorf("%d of %d workers had a GPU at once, want 1 of 3", st.PeakWorkers, st.WorkersStarted)
		}
	})
	wide := runpodtest.Config{MinWorkers: 8, MaxWorkers: 8, ServiceTime: runpodtest.Fixed(10 * time.Second)}
	for _, tt := range []struct {
		name    string
		routing runpodtest.Routing
		idle    int
	}{{"even", runpodtest.RouteEven, 0}, {"uneven (R)", runpodtest.RouteUneven, 2}} {
		wide.Routing = tt.routing
		conform(t, "routing: "+tt.name+", 8 workers, 6 requests at a time", wide, func(t *testing.T, tw *twin) {
			for range 4 {
				tw.parallel(6, func(int) got { return tw.send("POST", "/", "") })
			}
			idle := 0
			for _, w := range tw.Workers() {
				if w.Served == 0 {
					idle++
				}
			}
			if idle != tt.idle {
				t.Errorf("%d workers got nothing, want %d", idle, tt.idle)
			}
		})
	}
}

func TestConformanceEndpointWorkers(t *testing.T) {
	polled := func(status int, times *int) runpodtest.Config {
		cfg := warm()
		cfg.HealthPath = "/ping"
		cfg.Handler = program(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ping" {
				*times++
				w.WriteHeader(status)
			}
		})
		return cfg
	}
	var polls int
	conform(t, "health: /ping is polled every 5 s (R)", polled(200, &polls), func(t *testing.T, tw *twin) {
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if polls != 12 {
			t.Errorf("%d polls in 61 s", polls)
		}
		tw.send("GET", "/", "").want(t, 200, "")
	})
	var ignored int
	for _, status := range []int{204, 500} {
		conform(t, fmt.Sprintf("health: %d keeps a worker out of rotation (D)", status), polled(status, &ignored), func(t *testing.T, tw *twin) {
			time.Sleep(6 * time.Second)
			tw.send("GET", "/", "").want(t, 400, "")
		})
	}
	panics := warm()
	panics.Handler = program(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic("out of memory")
		}
	})
	conform(t, "worker: a crash gives 502, and another worker starts (I)", panics, func(t *testing.T, tw *twin) {
		g := tw.send("POST", "/bad", "")
		g.want(t, 502, "")
		g.from(t, true)
		tw.send("POST", "/good", "").want(t, 200, "")
		if w := tw.Workers()[0]; w.End != "crashed" {
			t.Errorf("the first worker: %+v", w)
		}
		if n := tw.Stats().Outcomes[runpodtest.OutcomeCrashed]; n != 1 {
			t.Errorf("%d requests are booked as crashed", n)
		}
	})
	sick := warm()
	sick.UnhealthyRate = 1
	conform(t, "worker: unhealthy ones cost money and take nothing (D: a worker state)", sick, func(t *testing.T, tw *twin) {
		tw.send("POST", "/", "").want(t, 400, "")
		if b := tw.Stats().Billed(); b < 2*time.Minute {
			t.Errorf("billed %v", b)
		}
	})
	sse := warm()
	sse.Handler = program(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
		}
	})
	conform(t, "worker: streams are passed through as they come (D)", sse, func(t *testing.T, tw *twin) {
		req, _ := http.NewRequest("GET", tw.EndpointURL, nil)
		req.Header.Set("Authorization", "Bearer "+tw.APIKey)
		start := time.Now()
		resp, err := tw.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := 0; lines.Scan(); {
			if lines.Text() == "" {
				continue
			}
			if at := time.Since(start); lines.Text() != fmt.Sprintf("data: %d", i) || at != time.Duration(i+1)*time.Second {
				t.Errorf("%q after %v", lines.Text(), at)
			}
			i++
		}
	})
	gone := warm()
	var handlerEnded time.Duration
	gone.Handler = program(func(_ http.ResponseWriter, r *http.Request) {
		start := time.Now()
		<-r.Context().Done()
		handlerEnded = time.Since(start)
	})
	conform(t, "worker: a client that leaves ends the handler's context (I)", gone, func(t *testing.T, tw *twin) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "POST", tw.EndpointURL, strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+tw.APIKey)
		if _, err := tw.http.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if handlerEnded != 4*time.Second {
			t.Errorf("the handler ended after %v, want 4 s", handlerEnded)
		}
	})
}

// socket is a worker that turns a request into a connection and echoes lines.
func socket(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		rw.WriteString("echo " + line)
		rw.Flush()
	}
}

func TestConformanceEndpointSockets(t *testing.T) {
	open := func(t *testing.T, tw *twin) io.ReadWriteCloser {
		req, _ := http.NewRequest("GET", tw.EndpointURL+"/ws", nil)
		req.Header.Set("Authorization", "Bearer "+tw.APIKey)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		resp, err := tw.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 101 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		return resp.Body.(io.ReadWriteCloser)
	}
	cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(10 * time.Second), Handler: program(socket)}
	conform(t, "websocket: an upgrade is passed through, past the processing limit (D, I)", cfg, func(t *testing.T, tw *twin) {
		conn := open(t, tw)
		defer conn.Close()
		r := bufio.NewReader(conn)
		for range 3 {
			fmt.Fprintln(conn, "hello")
			if line, err := r.ReadString('\n'); line != "echo hello\n" {
				t.Errorf("got %q, %v", line, err)
			}
			time.Sleep(5 * time.Minute)
		}
	})
	cfg.SocketsIdle = true
	conform(t, "websocket: a socket may not count as activity (R)", cfg, func(t *testing.T, tw *twin) {
		conn := open(t, tw)
		defer conn.Close()
		start := time.Now()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			t.Error("the socket survived its worker")
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("the worker idled out after %v, want 5 s", got)
		}
	})
}

func TestConformanceAccount(t *testing.T) {
	cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	conform(t, "account: every life, and what is billed", cfg, func(t *testing.T, tw *twin) {
		tw.parallel(5, func(int) got { return tw.send("POST", "/x", "") })
		time.Sleep(time.Minute)
		st := tw.Stats()
		if st.Requests != 5 || st.Succeeded != 5 || st.PeakWaiting != 5 || st.PeakInFlight != 5 || st.EndpointConns.Opened != 5 {
			t.Errorf("got %+v", st)
		}
		if st.Starting != 2*time.Minute || st.Busy != 50*time.Second || st.Billed() != st.Starting+st.Busy+st.Idle {
			t.Errorf("billed %v starting, %v busy, %v idle", st.Starting, st.Busy, st.Idle)
		}
		for i, r := range tw.Requests() {
			if r.Number != i+1 || r.Arrived != 0 || r.Started < time.Minute || r.Ended != r.Started+10*time.Second || r.Worker == "" || r.Status != 200 {
				t.Errorf("request %+v", r)
			}
		}
		var out strings.Builder
		if err := tw.WriteAccount(&out); err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for line := range strings.Lines(out.String()) {
			var l struct{ Kind string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			kinds[l.Kind]++
		}
		if kinds["request"] != 5 || kinds["worker"] != 2 || kinds["totals"] != 1 {
			t.Errorf("lines %v", kinds)
		}
	})
}
