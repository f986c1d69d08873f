package runpod

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestBudgetDelaysAndNeverFails(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBudget(3, time.Second)
	for i, want := range []time.Duration{0, 0, 0, time.Second, 2 * time.Second} {
		if got := b.spend(now); got != want {
			t.Errorf("retry %d waits %s, want %s", i, got, want)
		}
	}
	now = now.Add(2 * time.Second) // the two that wait have got theirs
	if got := b.spend(now); got != time.Second {
		t.Errorf("the next one waits %s", got)
	}
	now = now.Add(time.Hour)
	for range 3 {
		if got := b.spend(now); got != 0 {
			t.Errorf("a full budget delays by %s", got)
		}
	}
	if got := b.spend(now); got != time.Second {
		t.Errorf("it holds more than its size: %s", got)
	}
	for range 10 {
		b.earn(earned)
	}
	if got := b.spend(now); got != 0 {
		t.Errorf("answers fill nothing in: %s", got)
	}
}

// An outage is answered with fewer retries than the backoff alone would send,
// and the first success comes within one backoff cap of its end.
func TestOutageMakesNoStorm(t *testing.T) {
	cfg := warm()
	cfg.MinWorkers, cfg.ServiceTime = 3, runpodtest.Fixed(time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		const calls, outage = 15, 10 * time.Minute
		rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnEndpoint, Times: runpodtest.Always, Do: runpodtest.Answer(502, "")})
		end := time.Now().Add(outage)
		time.AfterFunc(outage, rule.Remove)
		answered := make(chan time.Time, calls)
		for range calls {
			go func() {
				if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
					t.Error(err)
				}
				answered <- time.Now()
			}()
		}
		first := <-answered
		if late := first.Sub(end); late < 0 || late > 20*time.Second {
			t.Errorf("the first success came %s after the outage", late)
		}
		for range calls - 1 {
			<-answered
		}
		// Backoff alone: each caller about once in 10 s.
		alone := int64(calls * outage / (10 * time.Second))
		if n := c.Stats().Attempts; n > alone*3/4 {
			t.Errorf("%d attempts, the backoff alone would send about %d", n, alone)
		}
	}, WithMaxInFlight(15))
}

// A retry that the deadline forbids is not paid for.
func TestBudgetIsRefunded(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "", "Retry-After", "40")})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if b := c.calls.ep.budgets.trouble; b.tokens != b.size {
			t.Errorf("%v of %v tokens are left", b.tokens, b.size)
		}
	})
}

// A refusal that has waited its time at the balancer is retried for nothing;
// one that came at once pays from the budget for refusals, and trouble from its
// own.
func TestBudgetThatARetryIsPaidFrom(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		d             decision
		trouble, cold float64 // taken
	}{
		{decision{cold: true, verdict: VerdictRetryNow}, 0, 0},
		{decision{cold: true, verdict: VerdictRetryBackoff}, 0, 1},
		{decision{verdict: VerdictRetryBackoff}, 1, 0},
		{decision{verdict: VerdictRetryNow}, 1, 0},
	} {
		b := newBudgets(15, DefaultRetryPolicy())
		if delay := b.charge(now, &tt.d); delay != 0 {
			t.Errorf("%+v waits %s for a full budget", tt.d, delay)
		}
		if trouble, cold := b.trouble.size-b.trouble.tokens, b.cold.size-b.cold.tokens; trouble != tt.trouble || cold != tt.cold {
			t.Errorf("%+v took %v and %v", tt.d, trouble, cold)
		}
		b.refund(&tt.d)
		if b.trouble.tokens != b.trouble.size || b.cold.tokens != b.cold.size {
			t.Errorf("%+v is not refunded: %v and %v", tt.d, b.trouble.tokens, b.cold.tokens)
		}
	}
}
