package runpod

import (
	"log/slog"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/redact"
	"golang.org/x/time/rate"
)

// endpoint is one load-balancing endpoint: how it is reached, by which rules
// calls to it are judged and paced, and what calls have shown about it. It is
// safe for concurrent use.
type endpoint struct {
	target
	secrets   *redact.Secrets // never to be shown
	transport *http.Transport
	conns     *connCounter
	admission *admission
	limiter   *rate.Limiter // nil: no limit
	shared    Limiter       // nil: none
	control   ControlPlane  // nil: not known
	policy    RetryPolicy
	first     []Classifier
	observers observers
	logger    *slog.Logger
	budgets   *budgets

	idsSeen    atomic.Bool  // workers here name themselves
	lastAnswer atomic.Int64 // when a worker last answered any call, in Unix nanoseconds
	refused    atomic.Int64 // when the balancer last had no worker, likewise
	piloted    atomic.Int64 // until when somebody is about to send, likewise
	counts     callCounts
}

// callCounts are what Stats says of the calls.
type callCounts struct {
	calls, failed, attempts, cold, trouble atomic.Int64

	waitedPlace, waitedCold, waitedBackoff atomic.Int64 // in nanoseconds
}

func newEndpoint(c *config) *endpoint {
	ep := &endpoint{
		target:    target{base: c.endpoint, bearer: []string{"Bearer " + c.apiKey}, extra: c.header},
		secrets:   c.secrets,
		conns:     newConnCounter(),
		limiter:   c.limiter,
		shared:    c.shared,
		control:   c.control,
		policy:    c.policy,
		first:     c.classifiers,
		observers: c.observers,
		logger:    c.logger,
	}
	ep.admission = newAdmission(c.admission, c.maxInFlight, c.policy)
	ep.budgets = newBudgets(c.maxInFlight, c.policy)
	ep.transport = cloneTransport(c.transport, c.dial, ep.conns)
	// No more connections can be idle than there were requests in flight, whose
	// number may change while the transport is in use.
	ep.transport.MaxIdleConns = 0
	ep.transport.MaxIdleConnsPerHost = math.MaxInt
	ep.transport.MaxConnsPerHost = 0
	ep.transport.ResponseHeaderTimeout = 0 // the attempt's limit is the policy's
	return ep
}

// setMaxInFlight changes how many requests may be in flight.
func (ep *endpoint) setMaxInFlight(inFlight int) {
	ep.admission.allow(inFlight)
	ep.budgets.sizeFor(inFlight, ep.policy)
}

// pilot shortens a delay if nothing is in flight: if every caller slept for
// longer than a worker's idle timeout (5 s by default, Runpod docs), workers
// that are there or starting would be taken away.
func (ep *endpoint) pilot(delay, said time.Duration) time.Duration {
	most := ep.policy.MaxBackoff / 5
	if delay <= most || said >= 0 {
		return delay
	}
	if taken, _, _ := ep.admission.gate.Counts(); taken > 0 {
		return delay
	}
	now := time.Now().UnixNano()
	if until := ep.piloted.Load(); now < until || !ep.piloted.CompareAndSwap(until, now+int64(most)) {
		return delay // somebody else is on the way
	}
	return most
}

// patienceFrom is when the patience of a call that began at start, with a
// balancer that has no workers, began: then, or when a worker last answered
// anybody.
func (ep *endpoint) patienceFrom(start time.Time) time.Time {
	if last := time.Unix(0, ep.lastAnswer.Load()); last.After(start) {
		return last
	}
	return start
}

// hopeless reports whether a call that began at start has waited for longer
// than GiveUp, and no worker has answered anybody since.
func (ep *endpoint) hopeless(start time.Time) bool {
	return ep.refused.Load() > ep.lastAnswer.Load() && time.Since(ep.patienceFrom(start)) >= ep.policy.GiveUp
}

// learn keeps what an attempt has shown about the endpoint; placed says that it
// still has its place in flight.
func (ep *endpoint) learn(o *Observation, d *decision, now time.Time, placed bool) {
	if o.WorkerID != "" && !ep.idsSeen.Load() {
		ep.idsSeen.Store(true)
	}
	switch {
	case d.cold:
		ep.refused.Store(now.UnixNano())
		ep.counts.cold.Add(1)
	case o.WorkerID != "" || d.verdict == VerdictDeliver:
		ep.lastAnswer.Store(now.UnixNano())
		ep.budgets.reward()
	}
	if d.trouble() {
		ep.counts.trouble.Add(1)
	}
	ep.admission.observe(o, d, now, placed)
}

// host is where the endpoint is, for people; "" if that is not known.
func (ep *endpoint) host() string {
	if ep.base == nil {
		return ""
	}
	return ep.base.Host
}

// answeredAt is when a worker last answered any call; zero if none has.
func (ep *endpoint) answeredAt() time.Time {
	if last := ep.lastAnswer.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// close stops the probes; the calls have ended.
func (ep *endpoint) close() {
	ep.admission.close()
	ep.transport.CloseIdleConnections()
}
