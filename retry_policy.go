package runpod

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// RetryPolicy holds the times by which calls and transfers are retried. A zero
// field means its default. The service's own times are fields too, so that an
// endpoint whose time runs faster (a simulated one) gets a [RetryPolicy.Scaled]
// policy. It is a plain value.
type RetryPolicy struct {
	// QueueWait is how long the balancer keeps a request waiting for a worker
	// before it answers 400. Default 2 min (Runpod docs, load balancing).
	QueueWait time.Duration
	// ProcessingLimit is how long a worker may take for one request before the
	// balancer answers 524. Default 5.5 min (Runpod docs, load balancing).
	ProcessingLimit time.Duration
	// IdleTimeout is how long a worker stays after its last request. Default 5 s,
	// the shorter of the two documented defaults (Runpod docs: 5 s in the console,
	// 10 s in REST v2). Workers that are kept warm get a light request every 3/5
	// of it.
	IdleTimeout time.Duration
	// Grace is added to QueueWait and ProcessingLimit to make the limit of one
	// attempt, which runs from sending to the answer's headers. Default 30 s:
	// the service must be the one that says a request took too long.
	Grace time.Duration
	// BaseBackoff and MaxBackoff bound the exponential backoff with full
	// jitter: before retry n a call waits for a time drawn evenly from 0 to
	// min(MaxBackoff, BaseBackoff x 2^n), counted from when the failed attempt
	// was sent. Defaults 1 s and 20 s: the first few retries are quick enough
	// that a worker which has just become ready finds a request, and the cap
	// bounds how late an endpoint's return is noticed.
	BaseBackoff, MaxBackoff time.Duration
	// Jitter spreads the retries of refusals that have used their backoff up
	// by waiting at the balancer: each goes back after 0 to Jitter. Default
	// 250 ms: enough not to arrive all in one instant, and short beside any
	// GPU request.
	Jitter time.Duration
	// MaxRetryAfter caps what a Retry-After header can ask for; what it asks
	// below the cap is never undercut. Default 1 min.
	MaxRetryAfter time.Duration
	// GiveUp bounds a call's patience: it fails when for this long no worker
	// has answered any call of the Client, or when for this long its own
	// attempts met nothing but trouble (5xx, 429, lost connections). Default
	// 15 min: three times the longest cold start reported.
	GiveUp time.Duration
	// BudgetSize and BudgetRefill are the retry budget, shared by all calls of a
	// Client, for retries on trouble (5xx, 429, lost connections): a bucket of
	// BudgetSize tokens into which one comes every BudgetRefill, and a fifth of
	// one with every answer by a worker. A retry takes a token; where there is
	// none it waits for one. Defaults: 100, as in the AWS standard retryer (500
	// tokens, 5 a retry), and MaxBackoff / WithMaxInFlight, so that in an outage
	// the callers retry half as often as their backoff alone would have them,
	// and none waits longer than MaxBackoff for a token.
	BudgetSize   int
	BudgetRefill time.Duration
	// WarmFor bounds how long workers that a wake has started are kept when no
	// call comes. Default 5 min, the longest upload to be expected.
	WarmFor time.Duration
	// Stall ends an S3 attempt in which no byte has moved for this long.
	// Default 1 min.
	Stall time.Duration
}

// DefaultRetryPolicy is the policy a Client uses when it is given none.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{
		QueueWait:       2 * time.Minute,
		ProcessingLimit: 330 * time.Second,
		IdleTimeout:     5 * time.Second,
		Grace:           30 * time.Second,
		BaseBackoff:     time.Second,
		MaxBackoff:      20 * time.Second,
		Jitter:          250 * time.Millisecond,
		MaxRetryAfter:   time.Minute,
		GiveUp:          15 * time.Minute,
		BudgetSize:      100,
		WarmFor:         5 * time.Minute,
		Stall:           time.Minute,
	}
}

// fields gives every time of the policy with its name, for what must treat
// them all alike.
func (p *RetryPolicy) fields() []policyField {
	return []policyField{
		{"QueueWait", &p.QueueWait}, {"ProcessingLimit", &p.ProcessingLimit}, {"IdleTimeout", &p.IdleTimeout}, {"WarmFor", &p.WarmFor}, {"Grace", &p.Grace},
		{"BaseBackoff", &p.BaseBackoff}, {"MaxBackoff", &p.MaxBackoff}, {"Jitter", &p.Jitter},
		{"MaxRetryAfter", &p.MaxRetryAfter}, {"GiveUp", &p.GiveUp}, {"BudgetRefill", &p.BudgetRefill}, {"Stall", &p.Stall},
	}
}

type policyField struct {
	name string
	d    *time.Duration
}

// Scaled multiplies every time in p by f, zero fields as their defaults. An f
// that is not a positive number gives a policy that New refuses.
func (p RetryPolicy) Scaled(f float64) RetryPolicy {
	p = p.withDefaults()
	for _, field := range p.fields() {
		scaled := float64(*field.d) * f
		switch {
		case !(f > 0):
			*field.d = -1
		case *field.d == 0: // BudgetRefill, which follows MaxBackoff
		case scaled >= math.MaxInt64:
			*field.d = math.MaxInt64
		default:
			*field.d = max(1, time.Duration(scaled))
		}
	}
	return p
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	defaults := DefaultRetryPolicy()
	from := defaults.fields()
	for i, field := range p.fields() {
		if *field.d == 0 {
			*field.d = *from[i].d
		}
	}
	if p.BudgetSize == 0 {
		p.BudgetSize = defaults.BudgetSize
	}
	return p
}

func (p RetryPolicy) validate() error {
	for _, field := range p.fields() {
		if *field.d < 0 {
			return fmt.Errorf("%s is negative", field.name)
		}
	}
	if p.BudgetSize < 0 {
		return errors.New("BudgetSize is negative")
	}
	if p.BaseBackoff > p.MaxBackoff {
		return fmt.Errorf("BaseBackoff (%s) is above MaxBackoff (%s)", p.BaseBackoff, p.MaxBackoff)
	}
	return nil
}

// attemptLimit is how long one attempt may take to its headers. No limit of
// the client may lie at QueueWait: it would race the balancer's own answer.
func (p RetryPolicy) attemptLimit() time.Duration {
	return p.QueueWait + p.ProcessingLimit + p.Grace
}

// sleep is [backoff.Sleep].
func sleep(ctx context.Context, d time.Duration) error { return backoff.Sleep(ctx, d) }
