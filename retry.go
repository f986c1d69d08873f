package runpod

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
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
	// Stall ends an S3 attempt in which no byte has moved for this long.
	// Default 1 min.
	Stall time.Duration
}

// DefaultRetryPolicy is the policy a Client uses when it is given none.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{
		QueueWait:       2 * time.Minute,
		ProcessingLimit: 330 * time.Second,
		Grace:           30 * time.Second,
		BaseBackoff:     time.Second,
		MaxBackoff:      20 * time.Second,
		Jitter:          250 * time.Millisecond,
		MaxRetryAfter:   time.Minute,
		GiveUp:          15 * time.Minute,
		Stall:           time.Minute,
	}
}

// fields gives every time of the policy with its name, for what must treat
// them all alike.
func (p *RetryPolicy) fields() []policyField {
	return []policyField{
		{"QueueWait", &p.QueueWait}, {"ProcessingLimit", &p.ProcessingLimit}, {"Grace", &p.Grace},
		{"BaseBackoff", &p.BaseBackoff}, {"MaxBackoff", &p.MaxBackoff}, {"Jitter", &p.Jitter},
		{"MaxRetryAfter", &p.MaxRetryAfter}, {"GiveUp", &p.GiveUp}, {"Stall", &p.Stall},
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
	return p
}

func (p RetryPolicy) validate() error {
	for _, field := range p.fields() {
		if *field.d < 0 {
			return fmt.Errorf("%s is negative", field.name)
		}
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

// Verdict is what is done after an attempt.
type Verdict uint8

// The verdicts. See the package documentation for which answer gets which.
const (
	Deliver      Verdict = iota // hand the answer to the caller
	RetryBackoff                // send again after the backoff
	RetryAfter                  // send again when the server said, or later
	GiveUp                      // end with this answer or error
)

// String is the verdict in words.
func (v Verdict) String() string {
	switch v {
	case Deliver:
		return "deliver"
	case RetryBackoff:
		return "retry after backoff"
	case RetryAfter:
		return "retry after what the server said"
	default:
		return "give up"
	}
}

// Attempt is the record of one attempt, for results, errors and logs.
type Attempt struct {
	Start    time.Time     // when it was sent
	Duration time.Duration // from sending to the answer's headers, or to the error
	Status   int           // the answer's status; 0 when none came
	WorkerID string        // the worker that answered; "" when none is named
	Verdict  Verdict       // what was done about it
	Reason   string        // why, in a few words
	Delay    time.Duration // how long was waited before the next attempt
	Err      error         // why there was no answer; nil when there was one
}

// seen is everything about an attempt that the verdict depends on.
type seen struct {
	status     int           // 0: no answer
	workerID   string        // X-Runpod-Worker-Id
	body       []byte        // the beginning of an error's body
	elapsed    time.Duration // from sending to the headers or the error
	retryAfter time.Duration // what the server asked for; negative: nothing
	err        error         // why there was no answer
	sent       bool          // the request had been written when err came
	idempotent bool          // running it twice does no harm
	idsSeen    bool          // this endpoint's workers are known to name themselves
	repeats    int           // how often this call was retried on thin evidence already
}

// decision is a verdict with its grounds.
type decision struct {
	verdict    Verdict
	reason     string
	kind       error // the error's kind, should this be the last attempt
	cold       bool  // the balancer had no worker: nobody's fault, nothing ran
	expired    bool  // given up since the context ends before another attempt
	thin       bool  // on thin evidence: counts into seen.repeats
	mayHaveRun bool
}

// maxThin is how often one call is retried on evidence that may just as well
// mean the caller's own mistake: a worker's 500, a host name not found.
const maxThin = 2

// classify decides what to do after an attempt. It is the table of the package
// documentation, and depends on nothing but its arguments.
func (p RetryPolicy) classify(s seen) decision {
	switch {
	case s.err != nil:
		return classifyError(s)
	case s.status < 400:
		return decision{verdict: Deliver, reason: "answered"}
	case s.status == http.StatusBadRequest:
		return p.classify400(s)
	case s.status < 500:
		return classify4xx(s)
	default:
		return classify5xx(s)
	}
}

func classifyError(s seen) decision {
	switch {
	case errors.Is(s.err, errAttemptLimit):
		return rerun(s, "no answer within the attempt's limit", ErrProcessingTimeout)
	case s.sent:
		return rerun(s, "connection lost after the request was written", nil)
	case isPermanent(s.err):
		return decision{verdict: GiveUp, reason: "cannot connect: certificate or address is wrong"}
	case isHostNotFound(s.err):
		return thin(s, "host name not found", ErrNotFound)
	default:
		return decision{verdict: RetryBackoff, reason: "connection failed before the request was written"}
	}
}

// classify400 tells a cold start from the caller's own mistake: by the body,
// by the worker's name, and where both are silent by how long it took.
func (p RetryPolicy) classify400(s seen) decision {
	cold := decision{verdict: RetryBackoff, cold: true, kind: ErrNoWorkers, reason: "no worker within the balancer's wait"}
	switch refusal := readRefusal(s.body); {
	case refusal == refusalQueueBased:
		return decision{verdict: GiveUp, kind: ErrBadRequest, reason: "a queue-based endpoint, not a load-balancing one"}
	case refusal == refusalCold:
		return cold
	case s.workerID != "":
		return decision{verdict: GiveUp, kind: ErrBadRequest, reason: "the worker's own 400"}
	case refusal == refusalLikelyCold || p.tookQueueWait(s.elapsed):
		return cold
	case s.idsSeen:
		return thin(s, "a 400 that names no worker, where workers name themselves", ErrBadRequest)
	default:
		return decision{verdict: GiveUp, kind: ErrBadRequest, reason: "a 400 that came too soon to be a cold start"}
	}
}

// tookQueueWait reports whether an answer came when the balancer's wait ends:
// measured at 120 to 121 s.
func (p RetryPolicy) tookQueueWait(elapsed time.Duration) bool {
	return elapsed >= p.QueueWait-p.QueueWait/50 && elapsed <= p.QueueWait+p.QueueWait/12
}

func classify4xx(s seen) decision {
	wait := func(reason string, kind error) decision {
		return decision{verdict: serverSaid(s), reason: reason, kind: kind}
	}
	end := func(reason string, kind error) decision {
		return decision{verdict: GiveUp, reason: reason, kind: kind}
	}
	switch s.status {
	case http.StatusTooManyRequests:
		return wait("rate limited", ErrRateLimited)
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return wait("the server asked for the request once more", nil)
	case http.StatusUnauthorized, http.StatusForbidden:
		return end("the key was refused", ErrUnauthorized)
	case http.StatusNotFound:
		return end("no such endpoint, path or worker", ErrNotFound)
	case http.StatusRequestEntityTooLarge:
		return end("the body is too large", ErrTooLarge)
	default:
		return end("the request was refused", ErrBadRequest)
	}
}

func classify5xx(s seen) decision {
	named := s.workerID != ""
	switch s.status {
	case http.StatusServiceUnavailable:
		reason := "the service is unavailable"
		if named {
			reason = "the worker is still loading"
		}
		return decision{verdict: serverSaid(s), reason: reason}
	case 524:
		return rerun(s, "the worker took longer than the service allows", ErrProcessingTimeout)
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return decision{verdict: GiveUp, reason: "not supported by the server", kind: ErrBadRequest}
	case http.StatusInsufficientStorage:
		return decision{verdict: GiveUp, reason: "no room on the volume", kind: ErrVolumeFull}
	case http.StatusBadGateway, 521, 522, 523, 525, 526, 530:
		if !named {
			return decision{verdict: RetryBackoff, reason: "the balancer reached no worker"}
		}
		return rerun(s, "the worker's connection broke", nil)
	case http.StatusInternalServerError:
		d := rerun(s, "the worker failed", nil)
		if d.verdict == RetryBackoff {
			d.thin = true
			if s.repeats >= maxThin {
				d.verdict = GiveUp
			}
		}
		return d
	default:
		return rerun(s, "the server failed", nil)
	}
}

// rerun is the decision where a worker may have carried the request out: only
// a request that may run twice is sent again.
func rerun(s seen, reason string, kind error) decision {
	d := decision{verdict: GiveUp, reason: reason, kind: kind, mayHaveRun: true}
	if s.idempotent {
		d.verdict = RetryBackoff
	}
	return d
}

// thin retries maxThin times and no more.
func thin(s seen, reason string, kind error) decision {
	d := decision{verdict: GiveUp, reason: reason, kind: kind, thin: true}
	if s.repeats < maxThin {
		d.verdict = RetryBackoff
	}
	return d
}

func serverSaid(s seen) Verdict {
	if s.retryAfter >= 0 {
		return RetryAfter
	}
	return RetryBackoff
}

// refusal is what a 400's body says about who wrote it.
type refusal uint8

const (
	refusalUnknown    refusal = iota
	refusalCold               // just one of the two bodies the balancer is known to send
	refusalLikelyCold         // their words in another shape
	refusalQueueBased         // the endpoint is not a load-balancing one
)

// The balancer's words: {"error":"no workers available"} stands in Runpod's
// docs, {"detail":"timed out waiting for worker"} was reported by users,
// "worker_timeout" is the documented reason for a pinned worker that is busy.
const (
	noWorkers     = "no workers available"
	timedOut      = "timed out waiting for worker"
	workerTimeout = "worker_timeout"
	notForQB      = "not allowed for QB API"
)

func readRefusal(body []byte) refusal {
	var said struct{ Error, Detail, Reason any }
	if json.Unmarshal(body, &said) == nil {
		switch {
		case said.Error == noWorkers, said.Detail == timedOut, said.Reason == workerTimeout:
			return refusalCold
		case said.Error == notForQB:
			return refusalQueueBased
		}
	}
	switch {
	case bytes.Contains(body, []byte(noWorkers)), bytes.Contains(body, []byte(timedOut)):
		return refusalLikelyCold
	case bytes.Contains(body, []byte(notForQB)):
		return refusalQueueBased
	}
	return refusalUnknown
}

// backoff is how long to wait before the next attempt. quick is how many
// attempts in a row failed within MaxBackoff, elapsed is how long ago the
// failed one was sent, said what the server asked for (negative: nothing), and
// random a number in [0, 1).
func (p RetryPolicy) backoff(quick int, elapsed, said time.Duration, random float64) time.Duration {
	ceiling := p.MaxBackoff
	if quick < 32 && p.BaseBackoff<<quick>>quick == p.BaseBackoff {
		ceiling = min(ceiling, p.BaseBackoff<<quick)
	}
	delay := time.Duration(random*float64(ceiling)) - elapsed
	jitter := time.Duration(random * float64(p.Jitter))
	delay = max(delay, jitter)
	if said >= 0 {
		delay = max(delay, min(said, p.MaxRetryAfter)+jitter)
	}
	return delay
}

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3):
// seconds or a date. It gives a negative time where there is nothing usable.
func parseRetryAfter(value string, now time.Time) time.Duration {
	const none = -1
	value = strings.TrimSpace(value)
	if value == "" {
		return none
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if !(seconds >= 0) {
			return none
		}
		return time.Duration(min(seconds, 365*24*3600) * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return none
}

// isPermanent reports errors of connecting that no retry mends.
func isPermanent(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, badName := errors.AsType[x509.HostnameError](err)
	_, badHeader := errors.AsType[tls.RecordHeaderError](err)
	_, badAddress := errors.AsType[*net.AddrError](err)
	return untrusted || badName || badHeader || badAddress
}

func isHostNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}
