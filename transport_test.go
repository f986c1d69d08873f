package runpod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// program is an endpoint's Config with this program on every worker.
func program(cfg runpodtest.Config, h http.HandlerFunc) runpodtest.Config {
	cfg.Handler = func(runpodtest.Worker) http.Handler { return h }
	return cfg
}

// clientFor is a Client for a server of the test's own, over loopback.
func clientFor(t testing.TB, url string, opts ...Option) *Client {
	t.Helper()
	c, err := New(append([]Option{WithAPIKey("the-key"), WithEndpoint(url), WithHTTPTransport(&http.Transport{}),
		WithRetryPolicy(DefaultRetryPolicy().Scaled(1e-3))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// trackedBody is a body without GetBody that knows whether it was closed.
type trackedBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *trackedBody) Close() error { b.closed.Store(true); return nil }

func read(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// An ordinary client, unchanged, meets an endpoint scaled to zero whose worker
// takes longer to start than the balancer waits.
func TestTransportSurvivesAColdStart(t *testing.T) {
	cfg := program(runpodtest.Config{ColdStart: runpodtest.Fixed(150 * time.Second)}, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		resp, err := c.HTTPClient().Post(srv.EndpointURL+"/v1/echo", "text/plain", strings.NewReader("hello"))
		if got := read(t, resp, err); got != "hello" {
			t.Errorf("got %q", got)
		}
		if st := srv.Stats(); st.Refused != 1 || st.Requests != 2 {
			t.Errorf("%d requests, %d refused: want 2 and 1", st.Requests, st.Refused)
		}
		resp, err = c.HTTPClient().Get("/v1/models") // a path is enough
		if read(t, resp, err); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestTransportSendsTheKeyToTheEndpointAlone(t *testing.T) {
	var elsewhere, here []http.Header
	var mu sync.Mutex
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Header.Clone())
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer other.Close()
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		here = append(here, r.Header.Clone())
		mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	}))
	defer own.Close()
	c := clientFor(t, own.URL)
	hc := c.HTTPClient()

	t.Run("in place of the other client's own", func(t *testing.T) {
		req, _ := http.NewRequest("GET", own.URL+"/x", nil)
		req.Header.Set("Authorization", "Bearer sk-of-somebody-else")
		before := maps.Clone(req.Header)
		resp, err := hc.Do(req)
		read(t, resp, err)
		if got := here[len(here)-1].Get("Authorization"); got != "Bearer the-key" {
			t.Errorf("sent %q", got)
		}
		if !maps.EqualFunc(before, req.Header, func(a, b []string) bool { return a[0] == b[0] }) {
			t.Error("the request was changed")
		}
	})
	t.Run("not elsewhere, once, untouched", func(t *testing.T) {
		req, _ := http.NewRequest("POST", other.URL, strings.NewReader("body"))
		req.Header.Set("Authorization", "Bearer theirs")
		req.Header.Set("X-Api-Key", "the-key")
		resp, err := hc.Do(req)
		read(t, resp, err)
		if len(elsewhere) != 1 || resp.StatusCode != 503 {
			t.Errorf("%d requests, status %d", len(elsewhere), resp.StatusCode)
		}
		if h := elsewhere[0]; h.Get("Authorization") != "Bearer theirs" || h.Get("X-Api-Key") != "" {
			t.Errorf("sent %v", h)
		}
		if req.Header.Get("X-Api-Key") != "the-key" {
			t.Error("the request was changed")
		}
	})
	t.Run("not after a redirect elsewhere", func(t *testing.T) {
		elsewhere = nil
		resp, err := hc.Post(own.URL+"/x?to="+other.URL, "text/plain", strings.NewReader("body"))
		read(t, resp, err)
		if len(elsewhere) != 1 || elsewhere[0].Get("Authorization") != "" {
			t.Errorf("sent %v", elsewhere)
		}
	})
	t.Run("after a redirect at home", func(t *testing.T) {
		here = nil
		resp, err := hc.Get(own.URL + "/x?to=/y")
		read(t, resp, err)
		if len(here) != 2 || here[1].Get("Authorization") != "Bearer the-key" {
			t.Errorf("sent %v", here)
		}
	})
}

func TestTransportClosesTheBody(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer open.Close()
	gone := clientFor(t, open.URL)
	gone.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, url string
		c         *Client
		ctx       context.Context
		length    int64
		fails     bool
	}{
		{name: "answered", url: open.URL, c: clientFor(t, open.URL), length: -1},
		{name: "answered, length known", url: open.URL, c: clientFor(t, open.URL), length: 4},
		{name: "no endpoint set", url: open.URL, c: must(New(WithAPIKey("k"))), length: -1, fails: true},
		{name: "client closed", url: open.URL, c: gone, length: -1, fails: true},
		{name: "client closed, elsewhere", url: "http://127.0.0.1:1", c: gone, length: -1, fails: true},
		{name: "context ended", url: open.URL, c: clientFor(t, open.URL), ctx: ended, length: -1, fails: true},
		{name: "length wrong", url: open.URL, c: clientFor(t, open.URL), length: 5, fails: true},
		{name: "too large", url: open.URL, c: clientFor(t, open.URL), length: maxBody + 1, fails: true},
		{name: "nobody there", url: closed.URL, c: clientFor(t, closed.URL), length: -1, fails: true},
		{name: "nobody there, elsewhere", url: closed.URL, c: clientFor(t, open.URL), length: -1, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			body := &trackedBody{Reader: strings.NewReader("body")}
			req, _ := http.NewRequestWithContext(ctx, "POST", tt.url, body)
			req.ContentLength = tt.length
			resp, err := tt.c.Transport().RoundTrip(req)
			if (err != nil) != tt.fails || err != nil && resp != nil {
				t.Errorf("response %v, error %v", resp, err)
			}
			if err == nil {
				read(t, resp, err)
			}
			for end := time.Now().Add(5 * time.Second); !body.closed.Load() && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // net/http may close it a moment later
			}
			if !body.closed.Load() {
				t.Error("the body was not closed")
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A body of unknown length that cannot be opened again.
func TestTransportSendsAStreamOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     runpodtest.Action
		status int // 0: an error
		seen   int // how often the endpoint got it
		says   bool
	}{
		{name: "nothing goes wrong", status: 200, seen: 1},
		{name: "refused for want of workers", do: runpodtest.WorkerAnswer(503, "{}"), status: 503, seen: 1, says: true},
		{name: "lost after it was written", do: runpodtest.ResetAfterRead(), seen: 1},
		{name: "connection refused before anything was read", do: runpodtest.RefuseConnection(), status: 200, seen: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := new(logs)
			cfg := program(warm(), func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				if tt.name != "nothing goes wrong" {
					srv.Fault(runpodtest.Fault{Do: tt.do})
				}
				body := &trackedBody{Reader: strings.NewReader("streamed")}
				req, _ := http.NewRequest("POST", srv.EndpointURL+"/x", body)
				resp, err := c.HTTPClient().Do(req)
				synctest.Wait()
				switch {
				case tt.status == 0:
					if err == nil {
						t.Errorf("status %d, want an error", resp.StatusCode)
					}
				case err != nil || resp.StatusCode != tt.status:
					t.Errorf("got %v, %v", resp, err)
				default:
					if got := read(t, resp, err); tt.status == 200 && got != "streamed" {
						t.Errorf("got %q", got)
					}
				}
				if n := srv.Stats().Requests; n != tt.seen {
					t.Errorf("the endpoint saw %d requests", n)
				}
				if !body.closed.Load() {
					t.Error("the body was not closed")
				}
			}, WithLogger(log.logger()))
			if says := strings.Contains(log.String(), "GetBody"); says != tt.says {
				t.Errorf("the log speaks of GetBody: %v\n%s", says, log)
			}
		})
	}
}

// Where there is no answer, the error says what a second attempt lacked.
func TestTransportErrorNamesGetBody(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterRead()})
		req, _ := http.NewRequest("PUT", srv.EndpointURL+"/x", &trackedBody{Reader: strings.NewReader("streamed")})
		_, err := c.Transport().RoundTrip(req)
		if err == nil || !strings.Contains(err.Error(), "GetBody") {
			t.Errorf("got %v", err)
		}
	})
}

// The body is written in answer to what the endpoint says: it must not be
// read ahead.
func TestTransportStreamsBothWays(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); rc.Flush() {
			fmt.Fprintf(w, "%s!\n", lines.Text())
		}
	}))
	defer srv.Close()
	c := clientFor(t, srv.URL)
	out, in := io.Pipe()
	req, _ := http.NewRequest("POST", srv.URL, out)
	go io.WriteString(in, "0\n")
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint(i, "!") {
			t.Fatalf("got %q, %v", lines.Text(), lines.Err())
		}
		fmt.Fprintln(in, i+1)
	}
	in.Close()
}

// An answer is there with its headers, however long its body takes.
func TestTransportHandsOverAtTheHeaders(t *testing.T) {
	cfg := program(runpodtest.Config{MinWorkers: 1}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			time.Sleep(time.Minute)
		}
	})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		resp, err := c.HTTPClient().Get(srv.EndpointURL + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the headers took %v", took)
		}
		buf := make([]byte, 64)
		n, err := resp.Body.Read(buf)
		if string(buf[:n]) != "data: 0\n\n" || time.Since(start) > time.Second {
			t.Errorf("read %q after %v, %v", buf[:n], time.Since(start), err)
		}
		read(t, resp, nil)
	})
}

func TestTransportTellsABrokenStream(t *testing.T) {
	for _, do := range []runpodtest.Action{runpodtest.TruncateReply(5), runpodtest.ResetReply(5)} {
		cfg := program(runpodtest.Config{MinWorkers: 1}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "0123456789")
			http.NewResponseController(w).Flush() // no Content-Length: chunked
		})
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			srv.Fault(runpodtest.Fault{Do: do})
			resp, err := c.HTTPClient().Get(srv.EndpointURL + "/x")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			e, ok := errors.AsType[*Error](err)
			if !ok || !e.MayHaveRun || !strings.Contains(err.Error(), "broke off") || e.WorkerID == "" {
				t.Errorf("got %v", err)
			}
			if srv.Stats().Requests != 1 {
				t.Error("sent again although part of the answer had been handed over")
			}
		})
	}
}

// upgrade asks for a connection that echoes lines.
func upgrade(t *testing.T, hc *http.Client, url string) io.ReadWriteCloser {
	t.Helper()
	req, _ := http.NewRequest("GET", url, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := hc.Do(req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", resp, err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body is a %T: no socket", resp.Body)
	}
	return conn
}

func echoLines(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "echo")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.Copy(conn, rw)
}

func TestTransportLeavesSocketsAlone(t *testing.T) {
	cfg := program(runpodtest.Config{ColdStart: runpodtest.Fixed(75 * time.Second), QueueWait: 30 * time.Second}, echoLines)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		conn := upgrade(t, c.HTTPClient(), srv.EndpointURL+"/ws")
		defer conn.Close()
		if in := c.Stats().InFlight; in != 0 {
			t.Errorf("%d places in flight are held by a socket", in)
		}
		lines := bufio.NewScanner(conn)
		for i := range 3 {
			time.Sleep(10 * time.Minute) // no limit of the client's runs
			fmt.Fprintln(conn, i)
			if !lines.Scan() || lines.Text() != fmt.Sprint(i) {
				t.Fatalf("got %q, %v", lines.Text(), lines.Err())
			}
		}
	})
}

// net/http sends a POST with an Idempotency-Key again by itself when a kept
// connection breaks: then a worker could run it twice and nobody would know.
func TestTransportIsTheOnlyOneToRetry(t *testing.T) {
	var got atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if got.Add(1) > 1 {
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.Close()
		}
	}))
	defer srv.Close()
	c := clientFor(t, srv.URL)
	for i := range 2 {
		req, _ := http.NewRequest("POST", srv.URL, strings.NewReader("{}"))
		req.Header.Set("Idempotency-Key", "1")
		resp, err := c.HTTPClient().Do(req)
		if i == 0 {
			read(t, resp, err)
		} else if err == nil {
			t.Error("a lost connection was no error")
		}
	}
	if n := got.Load(); n != 2 {
		t.Errorf("2 requests arrived as %d", n)
	}
}

func TestTransportObeysTheClientsTimeout(t *testing.T) {
	inBubble(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		hc := c.HTTPClient()
		hc.Timeout = 5 * time.Minute
		start := time.Now()
		_, err := hc.Get(srv.EndpointURL + "/x")
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > hc.Timeout+time.Second || took < 4*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestTransportObeysRequestCancel(t *testing.T) {
	inBubble(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		cancel := make(chan struct{})
		req, _ := http.NewRequest("GET", srv.EndpointURL+"/x", nil)
		req.Cancel = cancel //lint:ignore SA1019 this is what is tested
		time.AfterFunc(3*time.Minute, func() { close(cancel) })
		start := time.Now()
		if _, err := c.Transport().RoundTrip(req); err == nil || time.Since(start) != 3*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestTransportIsSafeForConcurrentUse(t *testing.T) {
	cfg := program(runpodtest.Config{MinWorkers: 3, Concurrency: 8}, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Times: 10, Skip: 5, Do: runpodtest.Answer(502, "")})
		hc := c.HTTPClient()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte('a' + i%26)}, 1000)
				resp, err := hc.Post(srv.EndpointURL+"/x", "text/plain", bytes.NewReader(body))
				if got := read(t, resp, err); got != string(body) {
					t.Errorf("request %d got %d bytes of something else", i, len(got))
				}
			})
		}
		wg.Wait()
	})
}
