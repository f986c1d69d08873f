package runpod

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
	"golang.org/x/time/rate"
)

// listedWorkers is a control plane that lists one worker.
type listedWorkers WorkerStatus

func (l listedWorkers) Scaling(context.Context) (Scaling, error) {
	return Scaling{LoadBalancing: true}, nil
}
func (l listedWorkers) SetMinWorkers(context.Context, int) (Scaling, error) { return Scaling{}, nil }
func (l listedWorkers) Workers(context.Context) ([]WorkerState, error) {
	return []WorkerState{{ID: "w", Status: WorkerStatus(l)}}, nil
}

// startedWithin makes a call that must begin within 10 s, and checks when and how
// it fails.
func startedWithin(t *testing.T, c *Client, mayHaveRun bool, kind error) {
	t.Helper()
	start := time.Now()
	_, err := c.Call(t.Context(), "POST", "/x", nil, nil, StartWithin(10*time.Second))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.MayHaveRun != mayHaveRun || kind != nil && !errors.Is(err, kind) {
		t.Errorf("got %v (may have run: %t), want %v (%t)", err, ok && e.MayHaveRun, kind, mayHaveRun)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// StartWithin ends a call that waits for a place, for the pace, for a limit that
// is shared, and in its backoff.
func TestStartWithinWhileItWaits(t *testing.T) {
	slow := runpodtest.Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: runpodtest.Fixed(time.Minute)}
	for name, c := range map[string]struct {
		opts  []Option
		setUp func(ctx context.Context, srv *runpodtest.Server, c *Client)
		sent  int
	}{
		"place": {[]Option{WithMaxInFlight(1)}, func(ctx context.Context, _ *runpodtest.Server, c *Client) { c.Call(ctx, "POST", "/x", nil, nil) }, 1},
		"pace":  {[]Option{WithRateLimit(rate.Every(time.Hour), 1)}, func(ctx context.Context, _ *runpodtest.Server, c *Client) { c.Call(ctx, "POST", "/x", nil, nil) }, 1},
		"backoff": {nil, func(_ context.Context, srv *runpodtest.Server, _ *Client) {
			srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy", "Retry-After", "30"), Times: runpodtest.Always})
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, slow, func(t *testing.T, srv *runpodtest.Server, own *Client) {
				var other sync.WaitGroup
				other.Go(func() { c.setUp(t.Context(), srv, own) })
				time.Sleep(time.Millisecond)
				startedWithin(t, own, false, context.DeadlineExceeded)
				own.Close()
				other.Wait()
				if got := srv.Stats().Requests; got != c.sent {
					t.Errorf("%d requests were sent, want %d", got, c.sent)
				}
			}, c.opts...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		srv, shared := newServer(t, slow), newSharedLimit(0)
		own := newClient(t, srv, WithLimiter(shared))
		startedWithin(t, own, false, context.DeadlineExceeded)
		nothingHeld(t, own)
	})
}

// A request that is out is left to its answer, unless the control plane lists no
// worker that is up.
func TestStartWithinLeavesWhatIsOut(t *testing.T) {
	cold := runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), ServiceTime: runpodtest.Fixed(time.Second)}
	for status, ends := range map[WorkerStatus]bool{"": false, WorkerRunning: false, WorkerIdle: false, WorkerInitializing: true, WorkerThrottled: true} {
		var opts []Option
		if status != "" {
			opts = []Option{WithControl(listedWorkers(status))}
		}
		inBubble(t, cold, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			if ends {
				startedWithin(t, c, true, ErrNoWorkers)
			} else if r, err := c.Call(t.Context(), "POST", "/x", nil, nil, StartWithin(10*time.Second)); err != nil || len(r.Attempts) != 1 {
				t.Errorf("%s: got %v", status, err)
			}
			nothingHeld(t, c)
		}, opts...)
	}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, d := range []time.Duration{0, -1} {
			if _, err := c.Call(t.Context(), "POST", "/x", nil, nil, StartWithin(d)); fieldOf(err) != "StartWithin" || !errors.Is(err, ErrBadRequest) {
				t.Errorf("%s: got %v", d, err)
			}
		}
	})
}

// Urgent calls overtake those that wait.
func TestPriorityOfCalls(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: runpodtest.Fixed(time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var mu sync.Mutex
		var got []int
		var wg sync.WaitGroup
		for _, priority := range []int{0, -1, 0, 2, 1} {
			wg.Go(func() {
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil, Priority(priority)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, priority)
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, want := range []int{0, 2, 1, 0, -1} {
			if got[i] != want {
				t.Errorf("in the order %v", got)
				break
			}
		}
	}, WithMaxInFlight(1))
}
