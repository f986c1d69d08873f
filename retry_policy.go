package runpod

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// RetryPolicy holds the times by which calls and transfers are retried. Most
// callers set GiveUp, if anything. A zero field means its default. Some fields
// are times of the service; they are here for tests, in which a simulated
// endpoint's time runs faster and the policy is [RetryPolicy.Scaled] to it. A
// RetryPolicy is a plain value.
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
	// attempt, from sending to the answer's headers. Default 30 s, so that a
	// request which takes too long is ended by the service, with its reason, and
	// not by this limit.
	Grace time.Duration
	// BaseBackoff and MaxBackoff bound the exponential backoff with full
	// jitter. The delay before retry n is drawn evenly from 0 to
	// min(MaxBackoff, BaseBackoff x 2^n), and counts from when the failed attempt
	// was sent. Defaults 1 s and 20 s: the first retries are quick, so that a
	// worker which has just become ready finds a request, and no retry is so late
	// that an endpoint's return goes unnoticed for long.
	BaseBackoff, MaxBackoff time.Duration
	// Jitter spreads the retries of refusals that took longer than their backoff:
	// each is sent again after 0 to Jitter. Default 250 ms: enough that they do
	// not arrive in one instant, and short compared with a GPU request.
	Jitter time.Duration
	// MaxRetryAfter caps the delay that a Retry-After header can ask for. Up to
	// the cap, no retry is sent earlier than the header says. Default 1 min.
	MaxRetryAfter time.Duration
	// GiveUp limits how long a call tries. The call fails when no worker has
	// answered any call of the Client for this long, or when the call's own
	// attempts have met only trouble (5xx, 429, lost connections) for this long.
	// Default 15 min: three times the longest cold start reported.
	GiveUp time.Duration
	// BudgetSize and BudgetRefill are the budget that all calls of a Client share
	// for retries after trouble (5xx, 429, lost connections): a bucket of
	// BudgetSize tokens. One token is added every BudgetRefill, and a fifth of one
	// with every answer from a worker. A retry takes a token, or waits for one.
	// Default for BudgetSize: 100, as in the AWS standard retryer (500 tokens, 5 a
	// retry). Default for BudgetRefill: MaxBackoff / WithMaxInFlight; in an outage
	// the calls then retry half as often as by their backoff alone, and none waits
	// longer than MaxBackoff for a token.
	BudgetSize   int
	BudgetRefill time.Duration
	// WarmFor limits how long workers that were started ahead of calls are kept
	// if no call comes. Default 5 min, the longest upload to be expected.
	WarmFor time.Duration
	// Stall ends an S3 attempt in which no byte has moved for this long, or fewer
	// than 16 KiB while bytes keep moving. The gateway has ten times as long to
	// answer a listing, and four times to put an object together.
	// Default 1 min.
	Stall time.Duration
	// StreamIdle ends an answer that is read as it comes (by the caller of Do, by
	// a client on Transport, by Call into an io.Writer) if its reader has waited
	// this long and nothing came. Default 6 min: the service lets no request run
	// longer than 5.5 (Runpod docs), so that no stream which lives meets it. What
	// the caller takes between two reads does not count, and a socket after a 101
	// is not bounded.
	StreamIdle time.Duration
}

// DefaultRetryPolicy returns the policy of a Client that is given none.
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
		StreamIdle:      6 * time.Minute,
	}
}

// fields gives every time of the policy with its name, for what must treat
// them all alike.
func (p *RetryPolicy) fields() []policyField {
	return []policyField{
		{"QueueWait", &p.QueueWait}, {"ProcessingLimit", &p.ProcessingLimit}, {"IdleTimeout", &p.IdleTimeout}, {"WarmFor", &p.WarmFor}, {"Grace", &p.Grace},
		{"BaseBackoff", &p.BaseBackoff}, {"MaxBackoff", &p.MaxBackoff}, {"Jitter", &p.Jitter},
		{"MaxRetryAfter", &p.MaxRetryAfter}, {"GiveUp", &p.GiveUp}, {"BudgetRefill", &p.BudgetRefill}, {"Stall", &p.Stall}, {"StreamIdle", &p.StreamIdle},
	}
}

type policyField struct {
	name string
	d    *time.Duration
}

// Scaled returns p with every time multiplied by f, a zero field as its default.
// If f is not a positive number, New refuses the result.
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
