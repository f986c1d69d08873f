package runpod

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verdict is what is done after an attempt.
type Verdict uint8

// The verdicts. See the package documentation for which answer gets which.
const (
	VerdictDeliver      Verdict = iota // hand the answer to the caller
	VerdictRetryNow                    // send again at once: it has used its backoff up by waiting
	VerdictRetryBackoff                // send again after the backoff
	VerdictRetryAfter                  // send again when the server said, or later
	VerdictDropPin                     // send again after the backoff, to any worker
	VerdictGiveUp                      // end with this answer or error
)

var verdictNames = [...]string{"deliver", "retry now", "retry after backoff", "retry after what the server said", "drop the pin and retry", "give up"}

// String is the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown verdict"
}

// retries reports whether another attempt follows.
func (v Verdict) retries() bool { return v != VerdictDeliver && v != VerdictGiveUp }

// Attempt is the record of one attempt, for results, errors, logs and observers.
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

// Observation is everything about an attempt that its verdict depends on.
type Observation struct {
	Status     int           // HTTP status; 0: no answer came
	WorkerID   string        // X-Runpod-Worker-Id of the answer
	Body       []byte        // the beginning of the body of an answer of 400 or more, at most 4 KiB
	Elapsed    time.Duration // from sending to the headers or the error
	RetryAfter time.Duration // what the server asked for; negative: nothing
	Err        error         // why no answer came
	Sent       bool          // the request had been written when Err came
	Idempotent bool          // running the request twice does no harm
	Number     int           // of the attempt within its call, from 1
	Repeats    int           // how often this call was retried on thin evidence already
	IDsSeen    bool          // this endpoint's workers are known to name themselves
	Droppable  bool          // the request is pinned to a worker and may go to any other
}

// Classifier is a caller's own say before the table of the package
// documentation: false leaves an attempt to the table. It must be quick and
// safe for concurrent use; it must not keep the Observation's Body.
type Classifier func(Observation) (Verdict, bool)

// decision is a verdict with its grounds.
type decision struct {
	verdict    Verdict
	reason     string
	kind       error // the error's kind, should this be the last attempt
	account    account
	thin       bool // on thin evidence: counts into Observation.Repeats
	expired    bool // given up since the context ends before another attempt
	mayHaveRun bool
	bodyGone   bool // given up since the body can be read only once
}

// account says who pays for a retry.
type account uint8

const (
	trouble account = iota // something is wrong: the retry budget
	cold                   // the balancer had no worker: nobody's fault, nothing ran
)

// maxThin is how often one call is retried on evidence that may just as well
// mean the caller's own mistake: a worker's 500, a host name not found.
const maxThin = 2

// judge asks the caller's classifiers, if there are any, and then the table.
func (p RetryPolicy) judge(first []Classifier, s Observation) decision {
	d := p.classify(s)
	for _, classify := range first {
		if verdict, ok := classify(s); ok && int(verdict) < len(verdictNames) {
			d.verdict, d.reason = verdict, "as the caller's classifier says"
			break
		}
	}
	return d
}

// classify decides what to do after an attempt. It is the table of the package
// documentation, and depends on nothing but its arguments.
func (p RetryPolicy) classify(s Observation) decision {
	switch {
	case s.Err != nil:
		return classifyError(s)
	case s.Status < 400:
		return decision{verdict: VerdictDeliver, reason: "answered"}
	case s.Status == http.StatusBadRequest:
		return p.classify400(s)
	case s.Status < 500:
		return classify4xx(s)
	default:
		return classify5xx(s)
	}
}

func classifyError(s Observation) decision {
	switch {
	case errors.Is(s.Err, errAttemptLimit):
		return rerun(s, "no answer within the attempt's limit", ErrProcessingTimeout)
	case s.Sent:
		return rerun(s, "connection lost after the request was written", nil)
	case isPermanent(s.Err):
		return decision{verdict: VerdictGiveUp, reason: "cannot connect: certificate or address is wrong"}
	case isHostNotFound(s.Err):
		return thin(s, "host name not found", ErrNotFound)
	default:
		return decision{verdict: VerdictRetryBackoff, reason: "connection failed before the request was written"}
	}
}

// classify400 tells a cold start from the caller's own mistake: by the body,
// by the worker's name, and where both are silent by how long it took.
func (p RetryPolicy) classify400(s Observation) decision {
	switch refusal := readRefusal(s.Body); {
	case refusal == refusalQueueBased:
		return decision{verdict: VerdictGiveUp, kind: ErrBadRequest, reason: "a queue-based endpoint, not a load-balancing one"}
	case refusal == refusalPinned && s.Droppable:
		return decision{verdict: VerdictDropPin, account: cold, kind: ErrNoWorkers, reason: "the worker it is pinned to is busy"}
	case refusal == refusalCold, refusal == refusalPinned:
		return p.coldStart(s)
	case s.WorkerID != "":
		return decision{verdict: VerdictGiveUp, kind: ErrBadRequest, reason: "the worker's own 400"}
	case refusal == refusalLikelyCold || p.tookQueueWait(s.Elapsed):
		return p.coldStart(s)
	case s.IDsSeen:
		return thin(s, "a 400 that names no worker, where workers name themselves", ErrBadRequest)
	default:
		return decision{verdict: VerdictGiveUp, kind: ErrBadRequest, reason: "a 400 that came too soon to be a cold start"}
	}
}

// coldStart is the decision about a request that no worker took: one that has
// waited longer than any backoff goes back at once.
func (p RetryPolicy) coldStart(s Observation) decision {
	d := decision{verdict: VerdictRetryBackoff, account: cold, kind: ErrNoWorkers, reason: "refused at once: no worker available"}
	if s.Elapsed >= p.MaxBackoff {
		d.verdict, d.reason = VerdictRetryNow, "no worker within the balancer's wait"
	}
	return d
}

// tookQueueWait reports whether an answer came when the balancer's wait ends:
// measured at 120 to 121 s.
func (p RetryPolicy) tookQueueWait(elapsed time.Duration) bool {
	return elapsed >= p.QueueWait-p.QueueWait/50 && elapsed <= p.QueueWait+p.QueueWait/12
}

func classify4xx(s Observation) decision {
	wait := func(reason string, kind error) decision {
		return decision{verdict: serverSaid(s), reason: reason, kind: kind}
	}
	end := func(reason string, kind error) decision {
		return decision{verdict: VerdictGiveUp, reason: reason, kind: kind}
	}
	switch s.Status {
	case http.StatusTooManyRequests:
		return wait("rate limited", ErrRateLimited)
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return wait("the server asked for the request once more", nil)
	case http.StatusUnauthorized, http.StatusForbidden:
		return end("the key was refused", ErrUnauthorized)
	case http.StatusNotFound:
		if bytes.Contains(s.Body, []byte(workerGone)) {
			d := end("the worker it is pinned to is gone", ErrWorkerGone)
			if s.Droppable {
				d.verdict, d.account = VerdictDropPin, cold
			}
			return d
		}
		return end("no such endpoint or path", ErrNotFound)
	case http.StatusRequestEntityTooLarge:
		return end("the body is too large", ErrTooLarge)
	default:
		return end("the request was refused", ErrBadRequest)
	}
}

func classify5xx(s Observation) decision {
	named := s.WorkerID != ""
	switch s.Status {
	case http.StatusServiceUnavailable:
		reason := "the service is unavailable"
		if named {
			reason = "the worker is still loading"
		}
		return decision{verdict: serverSaid(s), reason: reason}
	case 524:
		return rerun(s, "the worker took longer than the service allows", ErrProcessingTimeout)
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return decision{verdict: VerdictGiveUp, reason: "not supported by the server", kind: ErrBadRequest}
	case http.StatusInsufficientStorage:
		return decision{verdict: VerdictGiveUp, reason: "no room on the volume", kind: ErrVolumeFull}
	case http.StatusBadGateway, 521, 522, 523, 525, 526, 530:
		if !named {
			return decision{verdict: VerdictRetryBackoff, kind: ErrNoWorkers, reason: "the balancer reached no worker"}
		}
		return rerun(s, "the worker's connection broke", nil)
	case http.StatusInternalServerError:
		d := rerun(s, "the worker failed", nil)
		if d.verdict == VerdictRetryBackoff {
			d.thin = true
			if s.Repeats >= maxThin {
				d.verdict = VerdictGiveUp
			}
		}
		return d
	default:
		return rerun(s, "the server failed", nil)
	}
}

// rerun is the decision where a worker may have carried the request out: only
// a request that may run twice is sent again.
func rerun(s Observation, reason string, kind error) decision {
	d := decision{verdict: VerdictGiveUp, reason: reason, kind: kind, mayHaveRun: true}
	if s.Idempotent {
		d.verdict = VerdictRetryBackoff
	}
	return d
}

// thin retries maxThin times and no more.
func thin(s Observation, reason string, kind error) decision {
	d := decision{verdict: VerdictGiveUp, reason: reason, kind: kind, thin: true}
	if s.Repeats < maxThin {
		d.verdict = VerdictRetryBackoff
	}
	return d
}

func serverSaid(s Observation) Verdict {
	if s.RetryAfter >= 0 {
		return VerdictRetryAfter
	}
	return VerdictRetryBackoff
}

// refusal is what a 400's body says about who wrote it.
type refusal uint8

const (
	refusalUnknown    refusal = iota
	refusalPinned             // the one worker that it is pinned to was busy
	refusalCold               // just one of the two bodies the balancer is known to send
	refusalLikelyCold         // their words in another shape
	refusalQueueBased         // the endpoint is not a load-balancing one
)

// The balancer's words: {"error":"no workers available"} stands in Runpod's
// docs, {"detail":"timed out waiting for worker"} was reported by users,
// "worker_timeout" is the documented reason for a pinned worker that is busy,
// "affinity_worker_gone" for one that is gone.
const (
	noWorkers     = "no workers available"
	timedOut      = "timed out waiting for worker"
	workerTimeout = "worker_timeout"
	workerGone    = "affinity_worker_gone"
	notForQB      = "not allowed for QB API"
)

func readRefusal(body []byte) refusal {
	var said struct{ Error, Detail, Reason any }
	if json.Unmarshal(body, &said) == nil {
		switch {
		case said.Reason == workerTimeout:
			return refusalPinned
		case said.Error == noWorkers, said.Detail == timedOut:
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

// progress is what the next delay depends on of a call's attempts so far.
type progress struct {
	quick        int       // failures in a row that came within MaxBackoff
	thin         int       // retries on thin evidence
	troubleSince time.Time // when the attempts began to meet nothing but trouble; zero: they do not
}

// note takes in an attempt, sent at start, that is to be retried.
func (g *progress) note(p RetryPolicy, s Observation, d *decision, start time.Time) {
	if s.Elapsed >= p.MaxBackoff {
		g.quick = 0
	}
	if d.thin {
		g.thin++
	}
	switch {
	case d.account == cold:
		g.troubleSince = time.Time{}
	case g.troubleSince.IsZero():
		g.troubleSince = start
	}
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
