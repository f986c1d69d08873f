package websocket_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/coder/websocket"
	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
	"github.com/gpuburst/runpod-go/websocket"
)

// echo is a worker's program: it answers every message with itself. The socket
// /bye is closed at the first message; /no, /moved and /slow are none.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ping", "/healthz":
		return
	case "/slow":
		time.Sleep(20 * time.Second)
		return
	case "/no":
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	case "/moved":
		http.Redirect(w, r, "https://elsewhere.example.org/ws", http.StatusFound)
		return
	}
	conn, err := ws.Accept(w, r, &ws.AcceptOptions{Subprotocols: []string{"frames"}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, data) != nil {
			return
		}
		if r.URL.Path == "/bye" {
			conn.Close(ws.StatusNormalClosure, "enough")
		}
	}
}

// coldEndpoint has no worker, starts one in 75 s, refuses after 30 s, and does
// not take an open socket for work.
func coldEndpoint() runpodtest.Config {
	return runpodtest.Config{
		ColdStart: runpodtest.Fixed(75 * time.Second), QueueWait: 30 * time.Second, SocketsIdle: true,
		Handler: func(runpodtest.Worker) http.Handler { return http.HandlerFunc(echo) },
	}
}

// inBubble runs a test in virtual time. The bubble waits for every goroutine: one
// that is left behind fails the test.
func inBubble(t *testing.T, cfg runpodtest.Config, f func(t *testing.T, srv *runpodtest.Server, c *runpod.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := runpod.New(runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL),
			runpod.WithDialContext(srv.DialContext), runpod.WithHTTPTransport(&http.Transport{}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f(t, srv, c)
	})
}

func dial(t *testing.T, c *runpod.Client, path string, o *websocket.Options) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), c, path, o)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func say(t *testing.T, conn *websocket.Conn, text string) error {
	t.Helper()
	if err := conn.Write(t.Context(), ws.MessageText, []byte(text)); err != nil {
		return err
	}
	_, data, err := conn.Read(t.Context())
	if err == nil && string(data) != text {
		t.Errorf("said %q, heard %q", text, data)
	}
	return err
}

// lives is how many workers have not ended.
func lives(srv *runpodtest.Server) (n int) {
	for _, w := range srv.Workers() {
		if w.End == "" {
			n++
		}
	}
	return n
}

func TestDialThroughAColdStart(t *testing.T) {
	inBubble(t, coldEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		start := time.Now()
		conn, resp, err := websocket.Dial(t.Context(), c, "/ws?room=1", &websocket.Options{
			DialOptions: &ws.DialOptions{Subprotocols: []string{"frames"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if took := time.Since(start); took < 75*time.Second || srv.Stats().Requests < 2 {
			t.Errorf("open after %v and %d requests: this was no cold start", took, srv.Stats().Requests)
		}
		if conn.WorkerID != srv.Workers()[0].ID || resp.StatusCode != http.StatusSwitchingProtocols || conn.Subprotocol() != "frames" {
			t.Errorf("worker %q, %s, protocol %q", conn.WorkerID, resp.Status, conn.Subprotocol())
		}
		if err := say(t, conn, "hello"); err != nil {
			t.Error(err)
		}
	})
}

// The worker lives through ten minutes of silence for as long as the socket does,
// and no longer.
func TestWorkerLivesAsLongAsTheSocket(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    *websocket.Options
		kept bool
		end  func(conn *websocket.Conn) error
	}{
		{"by default, closed", nil, true, func(c *websocket.Conn) error { return c.Close(ws.StatusNormalClosure, "") }},
		{"by default, closed at once", nil, true, func(c *websocket.Conn) error { return c.CloseNow() }},
		{"a path and an interval of its own", &websocket.Options{KeepAlivePath: "/healthz", KeepAliveEvery: time.Second}, true, func(c *websocket.Conn) error { return c.CloseNow() }},
		{"without", &websocket.Options{KeepAliveEvery: -1}, false, func(c *websocket.Conn) error { return c.CloseNow() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, coldEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
				conn := dial(t, c, "/ws", tt.o)
				time.Sleep(10 * time.Minute)
				if kept := lives(srv) == 1; kept != tt.kept || len(srv.Workers()) != 1 {
					t.Errorf("after 10 minutes the worker lives: %v, of %d", kept, len(srv.Workers()))
				}
				if err := say(t, conn, "still there?"); (err == nil) != tt.kept {
					t.Error(err)
				}
				if err := conn.KeepAliveErr(); err != nil {
					t.Error(err)
				}
				tt.end(conn)
				synctest.Wait() // a request may just have been on its way
				sent := srv.Stats().Requests
				time.Sleep(time.Minute)
				if lives(srv) != 0 || srv.Stats().Requests != sent {
					t.Errorf("a minute after the end %d workers live, %d requests were sent", lives(srv), srv.Stats().Requests-sent)
				}
				if err := conn.KeepAliveErr(); err != nil {
					t.Errorf("closed by its owner: %v", err)
				}
			})
		})
	}
}

// Every way for a socket to end is the keeping's end.
func TestKeepingEndsWithTheSocket(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		end        func(t *testing.T, srv *runpodtest.Server, c *runpod.Client, conn *websocket.Conn)
		want       error
	}{
		{name: "the worker closes it", path: "/bye", end: func(t *testing.T, _ *runpodtest.Server, _ *runpod.Client, conn *websocket.Conn) {
			say(t, conn, "x")
			if _, _, err := conn.Read(t.Context()); ws.CloseStatus(err) != ws.StatusNormalClosure {
				t.Error(err)
			}
		}},
		{name: "a read's context ends", path: "/ws", end: func(t *testing.T, _ *runpodtest.Server, _ *runpod.Client, conn *websocket.Conn) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, _, err := conn.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}},
		{name: "the worker dies, a reader sees it", path: "/ws", end: func(t *testing.T, srv *runpodtest.Server, _ *runpod.Client, conn *websocket.Conn) {
			time.AfterFunc(time.Minute, func() { srv.CrashWorker(conn.WorkerID) })
			if _, _, err := conn.Read(t.Context()); err == nil {
				t.Error("no error")
			}
		}},
		{name: "the worker dies, nobody reads", path: "/ws", want: runpod.ErrWorkerGone, end: func(t *testing.T, srv *runpodtest.Server, _ *runpod.Client, conn *websocket.Conn) {
			srv.CrashWorker(conn.WorkerID)
		}},
		{name: "the client is closed, nobody reads", path: "/ws", want: runpod.ErrClosed, end: func(t *testing.T, _ *runpodtest.Server, c *runpod.Client, conn *websocket.Conn) {
			c.Close()
		}},
		{name: "the client is closed, a reader sees it", path: "/ws", end: func(t *testing.T, _ *runpodtest.Server, c *runpod.Client, conn *websocket.Conn) {
			time.AfterFunc(time.Minute, func() { c.Close() })
			if _, _, err := conn.Read(t.Context()); err == nil {
				t.Error("the socket lives")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, coldEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
				conn := dial(t, c, tt.path, nil)
				defer conn.CloseNow()
				tt.end(t, srv, c, conn)
				time.Sleep(10 * time.Second)
				sent := srv.Stats().Requests
				time.Sleep(time.Minute)
				if srv.Stats().Requests != sent {
					t.Errorf("%d requests after the end", srv.Stats().Requests-sent)
				}
				if err := conn.KeepAliveErr(); tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("the keeping ended with %v", err)
				}
			})
		})
	}
}

// The socket lives while keep-alive requests fail, and they go on.
func TestFailingKeepAliveLeavesTheSocket(t *testing.T) {
	cfg := coldEndpoint()
	cfg.IdleTimeout = 5 * time.Minute
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		conn := dial(t, c, "/ws", nil)
		defer conn.CloseNow()
		srv.Fault(runpodtest.Fault{Path: "/ping", Times: 20, Do: runpodtest.Answer(500, "out of order")})
		before := srv.Stats().Requests
		time.Sleep(2 * time.Minute)
		if sent := srv.Stats().Requests - before; sent < 30 {
			t.Errorf("%d requests in 2 minutes", sent)
		}
		if err := errors.Join(say(t, conn, "hello"), conn.KeepAliveErr()); err != nil {
			t.Error(err)
		}
	})
}

// ctx is the dialling's: it ends that, and no socket.
func TestContextBoundsTheDialling(t *testing.T) {
	inBubble(t, coldEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		conn, _, err := websocket.Dial(ctx, c, "/ws?token=hush", nil)
		if conn != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Minute)
		conn, _, err = websocket.Dial(ctx, c, "/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		cancel()
		time.Sleep(time.Minute)
		if err := say(t, conn, "hello"); err != nil {
			t.Error(err)
		}
	})
}

func TestDialRefused(t *testing.T) {
	inBubble(t, coldEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		for field, tt := range map[string]struct {
			path string
			o    websocket.Options
		}{
			"path":                           {path: "wss://elsewhere.example.org/ws"},
			"Options.KeepAlivePath":          {"/ws", websocket.Options{KeepAlivePath: "ping"}},
			"Options.DialOptions.HTTPClient": {"/ws", websocket.Options{DialOptions: &ws.DialOptions{HTTPClient: http.DefaultClient}}},
			"Options.DialOptions.Host":       {"/ws", websocket.Options{DialOptions: &ws.DialOptions{Host: "elsewhere"}}},
		} {
			_, _, err := websocket.Dial(t.Context(), c, tt.path, &tt.o)
			if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != field || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%s: %v", field, err)
			}
		}
		if n := srv.Stats().Requests; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
		for path, want := range map[string]int{"/no?key=hush": 422, "/moved": 302} {
			before := srv.Stats().Requests
			_, resp, err := websocket.Dial(t.Context(), c, path, nil)
			e, ok := errors.AsType[*runpod.Error](err)
			if !ok || e.Status != want || e.WorkerID == "" || resp.StatusCode != want || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: %v", path, err)
			}
			if (want == 422) != errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%s: %v", path, err)
			}
			if before > 0 && srv.Stats().Requests != before+1 {
				t.Errorf("%s was sent %d times", path, srv.Stats().Requests-before)
			}
		}
	})
}

// A socket of a session goes to the session's worker, and keeps that one,
// wherever the session goes next.
func TestDialInASession(t *testing.T) {
	cfg := coldEndpoint()
	cfg.MinWorkers = 2
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		s := c.Session()
		defer s.End()
		if _, err := s.Call(t.Context(), "GET", "/healthz", nil, nil); err != nil {
			t.Fatal(err)
		}
		first := s.WorkerID()
		conn := dial(t, c, "/ws", &websocket.Options{Session: s})
		defer conn.CloseNow()
		if conn.WorkerID != first {
			t.Fatalf("the session is on %s, its socket on %s", first, conn.WorkerID)
		}
		var busy sync.WaitGroup
		busy.Go(func() { c.Session(runpod.OnWorker(first), runpod.Strict()).Call(t.Context(), "GET", "/slow", nil, nil) })
		time.Sleep(time.Second)
		if _, err := s.Call(t.Context(), "GET", "/healthz", nil, nil); err != nil || s.WorkerID() == first {
			t.Fatalf("%v; the session is still on its busy worker: this test shows nothing", err)
		}
		busy.Wait()
		srv.SetWorkers(0, 2)
		time.Sleep(10 * time.Minute)
		if err := say(t, conn, "hello"); err != nil || lives(srv) != 1 {
			t.Errorf("%v, %d workers live", err, lives(srv))
		}
	})
}

func TestDialIsSafeForConcurrentUse(t *testing.T) {
	cfg := coldEndpoint()
	cfg.Concurrency = 10
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				conn, _, err := websocket.Dial(t.Context(), c, "/ws", nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.CloseNow()
				time.Sleep(time.Minute)
				if err := say(t, conn, "hello"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// Where the handshake's answer names no worker, the one that answers a request
// is kept; where none ever says its name, that is told.
func TestWorkerWithoutAName(t *testing.T) {
	for _, named := range []bool{true, false} {
		var asked, pinned atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ping" {
				asked.Add(1)
				if r.Header.Get("X-Runpod-Worker-Id") == "strict w1" {
					pinned.Add(1)
				}
				if named {
					w.Header().Set("X-Runpod-Worker-Id", "w1")
				}
			}
			echo(w, r)
		}))
		c, err := runpod.New(runpod.WithAPIKey("k"), runpod.WithEndpoint(srv.URL), runpod.WithHTTPTransport(&http.Transport{}))
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, c, "/ws", &websocket.Options{KeepAliveEvery: 5 * time.Millisecond})
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("named %v: %d requests, %d to the worker, %v", named, asked.Load(), pinned.Load(), conn.KeepAliveErr())
			}
			if named && pinned.Load() > 1 || !named && conn.KeepAliveErr() != nil {
				break
			}
		}
		if err := say(t, conn, "hello"); err != nil {
			t.Error(err)
		}
		conn.CloseNow()
		c.Close()
		srv.Close()
	}
}

// FuzzClose: whatever a worker sends on an open socket and however it ends it,
// reading ends with an error, and nothing is left over: the bubble waits for every
// goroutine.
func FuzzClose(f *testing.F) {
	f.Add([]byte{0x88, 2, 0x03, 0xe8})                            // normal
	f.Add(append([]byte{0x88, 8, 0x03, 0xf3}, "broken"...))       // with a reason
	f.Add([]byte{0x88, 0})                                        // without a status
	f.Add([]byte{0x88, 1, 3})                                     // half a status
	f.Add([]byte{0x88, 2, 0x03, 0xed})                            // a status that nobody may send
	f.Add([]byte{0x88, 4, 0x03, 0xe8, 0xff, 0xfe})                // a reason that is no text
	f.Add([]byte{0x88, 126, 0, 200})                              // longer than it may be
	f.Add([]byte{0x82, 127, 0x7f, 255, 255, 255, 255, 255, 0, 0}) // a message of 2^63 bytes
	f.Add([]byte{0x81, 2, 'h', 'i', 0x89, 1, 'p', 0x88, 2, 0x03, 0xe8})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frames []byte) {
		cfg := coldEndpoint()
		cfg.MinWorkers = 1
		cfg.Handler = func(runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/ws" {
					return
				}
				conn, rest, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				fmt.Fprintf(rest, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
				rest.Write(frames)
				rest.Flush()
			})
		}
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *runpod.Client) {
			conn := dial(t, c, "/ws", nil)
			defer conn.CloseNow()
			var err error
			for range len(frames) + 1 { // a message has 2 bytes at the least
				if _, _, err = conn.Read(t.Context()); err != nil {
					break
				}
			}
			if err == nil || len(err.Error()) > 1000 {
				t.Errorf("%q: %v", frames, err)
			}
		})
	})
}
