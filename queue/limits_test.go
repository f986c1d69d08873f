package queue

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// 1,100 jobs at once, each looked at by an impatient caller: the service refuses
// none, since the Client keeps to its limits.
func TestRateLimitsAreKept(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime, cfg.MaxWorkers, cfg.Concurrency = runpodtest.Fixed(time.Second), 3, 500
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
		var wg sync.WaitGroup
		for range 1100 {
			wg.Go(func() {
				job, err := Run[greeting](t.Context(), q, Request{Input: "x"})
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if _, err := job.Status(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		calls, limited := srv.JobCalls()
		if calls["run"] != 1100 || calls["status"] != 2200 || limited != 0 {
			t.Errorf("calls %v, %d over the limit", calls, limited)
		}
		if n, err := q.PurgeQueue(t.Context()); err != nil {
			t.Error(n, err)
		}
		start := time.Now()
		for range 4 {
			if _, err := q.PurgeQueue(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, limited := srv.JobCalls(); limited != 0 || time.Since(start) < 10*time.Second {
			t.Errorf("5 purges in %v, %d over the limit", time.Since(start), limited)
		}
	})
}

// Where somebody else uses the limits up, the service's 429 is obeyed.
func TestRateLimitOfOthers(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/run", Times: 2, Do: runpodtest.Answer(429, "", "Retry-After", "7")})
		start := time.Now()
		runJob(t, q, "x")
		if took := time.Since(start); took < 14*time.Second {
			t.Errorf("queued after %v: Retry-After was undercut", took)
		}
	})
}

// So many at once, and in any 10 s; whoever waits leaves with its context.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(20, 3)
		for range 3 {
			if err := l.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second) // the pace has room again
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.enter(ctx); err == nil || time.Since(start) != time.Minute {
			t.Errorf("the fourth at once: %v after %v", err, time.Since(start))
		}
		l.leave()
		if err := l.enter(t.Context()); err != nil {
			t.Error(err)
		}
		for range 3 {
			l.leave()
		}
		time.Sleep(time.Minute)
		entered := 0
		for start := time.Now(); time.Since(start) < 10*time.Second; l.leave() {
			if err := l.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			entered++
		}
		if entered < 18 || entered > 21 { // the last one is after the 10 s
			t.Errorf("%d in 10 s", entered)
		}
	})
	var none *limit
	if none.enter(t.Context()) != nil {
		t.Error("a call without a limit is held up")
	}
	none.leave()
}

// Whoever waits for the limit leaves with the context or the Client, and nothing
// is sent.
func TestWaitForTheLimitEnds(t *testing.T) {
	for name, want := range map[string]error{"deadline": context.DeadlineExceeded, "cancelled": context.Canceled, "closed": runpod.ErrClosed} {
		inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := q.PurgeQueue(ctx); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "deadline":
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			case "cancelled":
				time.AfterFunc(time.Second, cancel)
			case "closed":
				time.AfterFunc(time.Second, func() { q.Close() })
			}
			start := time.Now()
			_, err := q.PurgeQueue(ctx)
			if problem(t, err); !errors.Is(err, want) || time.Since(start) > time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			if calls, _ := srv.JobCalls(); calls["purge-queue"] != 1 {
				t.Errorf("%s: sent %v", name, calls)
			}
		})
	}
}

// The limits are those of Runpod's docs: so many at once, and room for other
// calls beside long polls.
func TestDocumentedLimits(t *testing.T) {
	l := newLimits()
	for name, atOnce := range map[string]int{"run": 200, "runsync": 400, "status": 400, "status-sync": 200, "stream": 400, "cancel": 20} {
		if got := l[name].gate.Limit(); got != atOnce {
			t.Errorf("%s: %d at once, want %d", name, got, atOnce)
		}
	}
	for name, perWindow := range map[string]float64{"run": 1000, "runsync": 2000, "status": 2000, "status-sync": 2000, "stream": 2000, "cancel": 100, "purge-queue": 2} {
		if got := float64(l[name].pace.Burst()) + 10*float64(l[name].pace.Limit()); math.Abs(got-perWindow) > 0.01 {
			t.Errorf("%s: %v in 10 s, want %v", name, got, perWindow)
		}
	}
	if l["health"] != nil || l["batch"] != nil {
		t.Error("a limit that is not documented")
	}
}
