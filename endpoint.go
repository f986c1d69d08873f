package runpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"
)

// workerIDHeader names the worker that answered; the balancer's own answers
// are believed not to have it.
const workerIDHeader = "X-Runpod-Worker-Id"

// endpoint is one load-balancing endpoint: go-retryablehttp's loop with our
// verdicts and delays, around a RoundTripper that makes the attempts. It is
// safe for concurrent use.
type endpoint struct {
	base      *url.URL
	bearer    []string // the Authorization header
	secrets   []string // never to be shown
	retry     *retryablehttp.Client
	transport *http.Transport
	conns     *connCounter
	admission *admission
	limiter   *rate.Limiter
	policy    RetryPolicy
	first     []Classifier
	observers observers
	logger    *slog.Logger
	budgets   *budgets
	wake      *wake     // nil: none
	answers   deadlines // of attempts, up to their answers' headers
	bodies    deadlines // of what is read of an answer within the attempt

	idsSeen    atomic.Bool  // workers here name themselves
	lastAnswer atomic.Int64 // when a worker last answered any call, in Unix nanoseconds
	refused    atomic.Int64 // when the balancer last had no worker, likewise
	piloted    atomic.Int64 // until when somebody is about to send, likewise
	counts     callCounts
}

// callCounts are what Stats says of the calls.
type callCounts struct {
	calls, failed, attempts, cold, trouble atomic.Int64
}

func newEndpoint(c *config) *endpoint {
	ep := &endpoint{
		base:      c.endpoint,
		bearer:    []string{"Bearer " + c.apiKey},
		secrets:   c.secrets(),
		conns:     newConnCounter(),
		limiter:   c.limiter,
		policy:    c.policy,
		first:     c.classifiers,
		observers: c.observers,
		logger:    c.logger,
	}
	ep.admission = newAdmission(c.admission, c.maxInFlight, c.policy)
	ep.answers.limit, ep.bodies.limit = c.policy.attemptLimit(), c.policy.ProcessingLimit
	ep.budgets = newBudgets(c.maxInFlight, c.policy)
	ep.transport = c.cloneTransport(ep.conns)
	ep.transport.MaxIdleConns = c.maxInFlight
	ep.transport.MaxIdleConnsPerHost = c.maxInFlight
	ep.transport.MaxConnsPerHost = 0
	ep.transport.ResponseHeaderTimeout = 0 // the attempt's limit is the policy's
	ep.retry = &retryablehttp.Client{
		HTTPClient: &http.Client{
			// Not the transport itself: go-retryablehttp closes all idle
			// connections of one that lets it, whenever a call gives up.
			Transport:     roundTripper(ep.attempt),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax: math.MaxInt, // time bounds a call, not a number
		CheckRetry: func(ctx context.Context, _ *http.Response, err error) (bool, error) {
			return callFrom(ctx).judge(err), nil
		},
		// Backoff sees neither the call nor its context, so the wait is made
		// where both are at hand.
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		PrepareRetry: func(req *http.Request) error { return callFrom(req.Context()).wait() },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return ep
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// admit waits for a place and for the pace. A call that has waited longer than
// GiveUp fails here where no worker has answered anybody since.
func (ep *endpoint) admit(c *call) error {
	if err := ep.admission.gate.AcquireAgain(c, c.life.done, &c.ticket); err != nil {
		return err
	}
	err := ep.pace(c)
	if err == nil && ep.refused.Load() > ep.lastAnswer.Load() && time.Since(ep.patienceFrom(c)) >= ep.policy.GiveUp {
		c.last = decision{verdict: VerdictGiveUp, kind: ErrNoWorkers, reason: "no worker has answered any call for too long"}
		err = errors.New(c.last.reason)
	}
	if err != nil {
		ep.admission.gate.Release()
	}
	return err
}

// pace waits for the rate limit, if there is one, and not at all where the
// deadline would come first.
func (ep *endpoint) pace(c *call) error {
	if ep.limiter == nil {
		return nil
	}
	turn := ep.limiter.Reserve()
	delay := turn.Delay()
	if deadline, ok := c.Deadline(); ok && time.Now().Add(delay).After(deadline) {
		turn.Cancel()
		return fmt.Errorf("the rate limit's turn would come in %s: %w", delay, context.DeadlineExceeded)
	}
	if delay == 0 {
		return nil
	}
	err := c.sleep(delay)
	if err != nil {
		turn.Cancel()
	}
	return err
}

// pilot shortens a delay where nothing is in flight: if every caller slept for
// longer than a worker's idle timeout (5 s by default, Runpod docs), workers
// that are there or starting would be taken away.
func (ep *endpoint) pilot(delay, said time.Duration) time.Duration {
	most := ep.policy.MaxBackoff / 5
	if delay <= most || said >= 0 {
		return delay
	}
	if held, _, _ := ep.admission.gate.Counts(); held > 0 {
		return delay
	}
	now := time.Now().UnixNano()
	if until := ep.piloted.Load(); now < until || !ep.piloted.CompareAndSwap(until, now+int64(most)) {
		return delay // somebody else is on the way
	}
	return most
}

// patienceFrom is when a call's patience with a balancer that has no workers
// began: when it started, or when a worker last answered anybody.
func (ep *endpoint) patienceFrom(c *call) time.Time {
	if last := time.Unix(0, ep.lastAnswer.Load()); last.After(c.start) {
		return last
	}
	return c.start
}

// note keeps what an attempt says about the endpoint.
func (ep *endpoint) note(o Observation, d decision, now time.Time, holds bool) {
	if o.WorkerID != "" && !ep.idsSeen.Load() {
		ep.idsSeen.Store(true)
	}
	switch {
	case d.account == cold:
		ep.refused.Store(now.UnixNano())
		ep.counts.cold.Add(1)
	case o.WorkerID != "" || d.verdict == VerdictDeliver:
		ep.lastAnswer.Store(now.UnixNano())
		ep.budgets.earn()
	}
	if d.account == trouble && d.verdict.retries() {
		ep.counts.trouble.Add(1)
	}
	ep.admission.observe(o, d, now, holds)
	ep.wake.saw(o.WorkerID)
}

// answeredAt is when a worker last answered any call; zero: never.
func (ep *endpoint) answeredAt() time.Time {
	if last := ep.lastAnswer.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// abort ends the attempts in progress, whose calls know that the Client is
// closed, and the bodies that callers still read.
func (ep *endpoint) abort() { ep.conns.shut() }

// close stops the timers; the calls have ended.
func (ep *endpoint) close() {
	ep.wake.shutdown()
	ep.admission.close()
	ep.answers.close()
	ep.bodies.close()
	ep.transport.CloseIdleConnections()
}
