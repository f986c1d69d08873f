package runpod

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// sharedLimit is a Limiter of so many places.
type sharedLimit struct {
	places         chan struct{}
	asked, waiting atomic.Int64
	most           atomic.Int64 // that waited at once
	fail           func() error
}

func newSharedLimit(n int) *sharedLimit { return &sharedLimit{places: make(chan struct{}, n)} }

func (l *sharedLimit) Acquire(ctx context.Context) (func(), error) {
	l.asked.Add(1)
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return nil, err
		}
	}
	l.most.Store(max(l.most.Load(), l.waiting.Add(1)))
	defer l.waiting.Add(-1)
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Two Clients share 3 places: each place is asked for once, after the Client's
// own bound, and given back.
func TestLimiterIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, runpodtest.Config{MinWorkers: 3, MaxWorkers: 3, Concurrency: 4, ServiceTime: runpodtest.Fixed(time.Second)})
		shared := newSharedLimit(3)
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy"), Times: 5})
		var wg sync.WaitGroup
		var peak atomic.Int64
		clients := []*Client{newClient(t, srv, WithLimiter(shared), WithMaxInFlight(4)), newClient(t, srv, WithLimiter(shared), WithMaxInFlight(4))}
		for _, c := range clients {
			for range 15 {
				wg.Go(func() {
					if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
						t.Error(err)
					}
					peak.Store(max(peak.Load(), int64(len(shared.places))))
				})
			}
		}
		wg.Wait()
		if asked := shared.asked.Load(); asked != 35 || len(shared.places) != 0 {
			t.Errorf("asked %d times for 30 calls and 5 retries; %d places are left taken", asked, len(shared.places))
		}
		if most := shared.most.Load(); most > 8 || peak.Load() > 3 {
			t.Errorf("%d waited at once for what two clients of 4 places each may have, %d had a place", most, peak.Load())
		}
		for _, c := range clients {
			nothingHeld(t, c)
		}
	})
}

// What Acquire does ends the call before it is sent: its error, a panic, and a
// wait that outlasts the call or the Client.
func TestLimiterThatDoesNotAdmit(t *testing.T) {
	sold := errors.New("sold out")
	synctest.Test(t, func(t *testing.T) {
		srv, shared := newServer(t, warm()), newSharedLimit(1)
		c := newClient(t, srv, WithLimiter(shared))
		shared.fail = func() error { return sold }
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); !errors.Is(err, sold) || attempts(err) != 0 {
			t.Errorf("got %v", err)
		}
		shared.fail = func() error { panic(sold) }
		func() {
			defer func() {
				if got := recover(); got != sold {
					t.Errorf("recovered %v", got)
				}
			}()
			c.Call(t.Context(), "POST", "/x", nil, nil)
		}()
		shared.fail = nil
		shared.places <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		closed := make(chan error)
		go func() {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			closed <- err
		}()
		synctest.Wait()
		nothing := c.Stats()
		c.Close()
		if err := <-closed; !errors.Is(err, ErrClosed) || nothing.InFlight != 1 {
			t.Errorf("got %v; %+v", err, nothing)
		}
		if st := srv.Stats(); st.Requests != 0 {
			t.Errorf("%d requests were sent", st.Requests)
		}
		nothingHeld(t, c)
	})
}

// Release may be nil.
func TestLimiterWithNothingToRelease(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
			t.Error(err)
		}
	}, WithLimiter(openLimit{}), WithLimiter(nil), WithLimiter(openLimit{}))
}

type openLimit struct{}

func (openLimit) Acquire(context.Context) (func(), error) { return nil, nil }
