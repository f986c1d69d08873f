package runpodtest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// quick is an endpoint without waiting, for tests about something else.
func quick() Config {
	return Config{MinWorkers: 1, ServiceTime: Fixed(time.Second)}
}

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"/a", "/a", true}, {"/a", "/ab", false}, {"/a*", "/ab/c", true}, {"*", "", true},
		{"*.jpg", "in/a.jpg", true}, {"in/*/x*.jpg", "in/1/2/x9.jpg", true}, {"in/*/x*.jpg", "in/x.jpg", false},
		{"a*a", "a", false}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
	} {
		if got := globMatch(tt.pattern, tt.s); got != tt.want {
			t.Errorf("globMatch(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func TestFaultAnswers(t *testing.T) {
	const id = "worker's id"
	for _, tt := range []struct {
		name   string
		do     Action
		status int
		body   string
		worker string
	}{
		{"edge 502", Answer(502, "bad gateway"), 502, "bad gateway", ""},
		{"edge 429", Answer(429, `{"error":"slow down"}`, "Retry-After", "2"), 429, `{"error":"slow down"}`, ""},
		{"worker 502", WorkerAnswer(502, ""), 502, "", id},
		{"worker 503 while loading", WorkerAnswer(503, `{"detail":"loading"}`), 503, `{"detail":"loading"}`, id},
		{"524 after the work", AnswerAfterWork(524, "error code: 524"), 524, "error code: 524", ""},
		{"none", Delay(time.Minute), 200, "", id},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, hc := newTwin(t, quick())
				rule := srv.Fault(Fault{Path: "/run/*", Do: tt.do})
				g := send(srv, hc, "POST", "/run/x", "{}")
				if g.status != tt.status || (tt.body != "" && g.body != tt.body) {
					t.Errorf("got %d %q", g.status, g.body)
				}
				if (g.worker != "") != (tt.worker != "") {
					t.Errorf("worker id %q, want %q", g.worker, tt.worker)
				}
				if rule.Fired() != 1 {
					t.Errorf("fired %d times", rule.Fired())
				}
				if g := send(srv, hc, "POST", "/run/x", "{}"); g.status != 200 {
					t.Errorf("the one-shot fired twice: %d", g.status)
				}
			})
		})
	}
}

func TestFaultResets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     Action
		want   error
		served int // requests a worker was given
	}{
		{"refused connection", RefuseConnection(), syscall.ECONNREFUSED, 0},
		{"reset connection", ResetConnection(), syscall.ECONNRESET, 0},
		{"reset before read", ResetBeforeRead(), syscall.ECONNRESET, 0},
		{"reset after read", ResetAfterRead(), syscall.ECONNRESET, 0},
		{"reset after work", ResetAfterWork(), syscall.ECONNRESET, 1},
		{"reset reply", ResetReply(3), syscall.ECONNRESET, 1},
		{"truncated reply", TruncateReply(3), io.ErrUnexpectedEOF, 1},
	} {
		for _, loopback := range []bool{false, true} {
			test := func(t *testing.T) {
				cfg := quick()
				if cfg.Loopback = loopback; loopback {
					cfg.Speed = 100
				}
				srv, hc := newTwin(t, cfg)
				srv.Fault(Fault{Do: tt.do})
				g := send(srv, hc, "POST", "/x", strings.Repeat("x", 1<<20))
				if loopback && tt.want == syscall.ECONNREFUSED {
					tt.want = syscall.ECONNRESET
				}
				if !errors.Is(g.err, tt.want) && !(loopback && lost(g.err)) {
					t.Errorf("error %v, want %v", g.err, tt.want)
				}
				if got := srv.Workers()[0].Served; got != tt.served {
					t.Errorf("%d requests reached the worker, want %d", got, tt.served)
				}
				if g := send(srv, hc, "POST", "/x", "{}"); g.status != 200 {
					t.Errorf("afterwards: %d %v", g.status, g.err)
				}
			}
			if loopback {
				t.Run(tt.name+"/loopback", test)
			} else {
				t.Run(tt.name, func(t *testing.T) { synctest.Test(t, test) })
			}
		}
	}
}

// lost reports whether net/http's words for a reset are among those it uses on a
// real socket, where reading and writing race to see it.
func lost(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

func TestStalledReplyEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, quick())
		srv.Fault(Fault{Do: StallReply(2)})
		hc.Timeout = time.Minute
		g := send(srv, hc, "GET", "/x", "")
		if g.err == nil || g.took != time.Minute || g.status != 200 {
			t.Errorf("got %d, %v after %v", g.status, g.err, g.took)
		}
	})
}

func TestSlowReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := quick()
		cfg.Handler = func(Worker) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1000)) })
		}
		srv, hc := newTwin(t, cfg)
		srv.Fault(Fault{Do: SlowReply(100)})
		if g := send(srv, hc, "GET", "/x", ""); g.took != 11*time.Second || len(g.body) != 1000 {
			t.Errorf("%d bytes after %v, want 1000 after 1 s of work and 10 s of sending", len(g.body), g.took)
		}
	})
}

func TestFaultOrderSkipAndStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, quick())
		srv.Fault(Fault{Do: Answer(501, ""), Skip: 1})
		srv.Fault(Fault{Do: Answer(502, ""), Times: 2})
		standing := srv.Fault(Fault{Do: Answer(503, ""), Times: Always, Method: "POST"})
		var got []int
		for range 6 {
			got = append(got, send(srv, hc, "POST", "/", "").status)
		}
		standing.Remove()
		got = append(got, send(srv, hc, "POST", "/", "").status)
		want := []int{502, 501, 502, 503, 503, 503, 200}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}
