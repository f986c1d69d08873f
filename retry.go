package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// Classifier decides about an attempt before the table of the package
// documentation does. It returns false to leave the attempt to the next
// Classifier or the table. It should return quickly, must be safe for
// concurrent use, and must not keep the Observation's Body. Add one with
// [WithClassifier].
type Classifier func(Observation) (Verdict, bool)

// maxThin is how often one call is retried on evidence that may just as well
// mean the caller's own mistake: a worker's 500, a host name not found.
const maxThin = 2

// judge asks the caller's classifiers, if there are any, and then the table.
func (p RetryPolicy) judge(first []Classifier, s Observation) decision {
	d := p.classify(s)
	for _, classify := range first {
		if verdict, ok := classify(s); ok && int(verdict) < len(verdictNames) {
			d.verdict, d.cause, d.reason = verdict, "classifier", "as the caller's classifier says"
			break
		}
	}
	return d
}

// classify decides what to do after an attempt. It is the table of the package
// documentation, and depends on nothing but its arguments.
func (p RetryPolicy) classify(s Observation) decision {
	d := p.byAnswer(s)
	if s.Droppable && dropsPin(s, d) {
		d.verdict, d.reason = VerdictDropPin, d.reason+"; another worker may have it"
	}
	return d
}

// dropsPin reports whether insisting on the worker that a request is pinned to
// may end in failure: the balancer itself has answered for it, or its connection
// broke.
func dropsPin(s Observation, d decision) bool {
	again := d.verdict == VerdictRetryNow || d.verdict == VerdictRetryBackoff || d.verdict == VerdictRetryAfter
	switch {
	case s.Err != nil:
		return false
	case s.WorkerID != "":
		return again && d.cause == "worker_connection_lost"
	case again:
		return s.Status == http.StatusBadRequest || s.Status >= 500
	}
	gone := s.Status == http.StatusBadRequest || s.Status == http.StatusNotFound || s.Status == http.StatusGone
	return d.verdict == VerdictGiveUp && gone && d.cause != "queue_endpoint"
}

// byAnswer is the table without what pins change.
func (p RetryPolicy) byAnswer(s Observation) decision {
	switch {
	case s.Err != nil:
		return classifyError(s)
	case s.Status < 400:
		return decision{verdict: VerdictDeliver, cause: "answered", reason: "answered"}
	case isQueueBased(s):
		return decision{verdict: VerdictGiveUp, hint: queueAdvice, kind: ErrBadRequest, cause: "queue_endpoint", reason: "a queue-based endpoint, not a load-balancing one"}
	case s.Status == http.StatusBadRequest:
		return p.classify400(s)
	case s.Status < 500:
		return classify4xx(s)
	default:
		return classify5xx(s)
	}
}

func classifyError(s Observation) decision {
	if d, permanent := classifyConnect(s.Err); permanent {
		return d
	}
	switch {
	case errors.Is(s.Err, errAttemptLimit):
		d := rerun(s, "attempt_timeout", "no answer within the attempt's limit", ErrProcessingTimeout)
		d.hint = silentAdvice
		return d
	case errors.Is(s.Err, errAnswerLimit):
		return rerun(s, "attempt_timeout", "an answer that did not end within the limit", ErrProcessingTimeout)
	case s.Sent:
		return rerun(s, "connection_lost", "connection lost after the request was written", nil)
	case isHostNotFound(s.Err):
		d := thin(s, "host_not_found", "host name not found", ErrNotFound)
		d.hint = hostHint
		return d
	default:
		return decision{verdict: VerdictRetryBackoff, cause: "connect_failed", reason: "connection failed before the request was written"}
	}
}

// classify400 tells a cold start from the caller's own mistake: by the body,
// by the worker's name, and where both are silent by how long it took.
func (p RetryPolicy) classify400(s Observation) decision {
	switch refusal := readRefusal(s.Body); {
	case refusal == refusalPinned && s.Droppable:
		return decision{verdict: VerdictDropPin, cold: true, kind: ErrNoWorkers, cause: "worker_busy", reason: "the worker it is pinned to is busy"}
	case refusal == refusalCold, refusal == refusalPinned:
		return p.coldStart(s)
	case s.WorkerID != "":
		return decision{verdict: VerdictGiveUp, kind: ErrBadRequest, cause: "bad_request", reason: "the worker's own 400"}
	case refusal == refusalLikelyCold || p.tookQueueWait(s.Elapsed):
		return p.coldStart(s)
	case s.IDsSeen:
		return thin(s, "unnamed_refusal", "a 400 that names no worker, where workers name themselves", ErrBadRequest)
	default:
		return decision{verdict: VerdictGiveUp, kind: ErrBadRequest, cause: "unnamed_refusal", reason: "a 400 that came too soon to be a cold start"}
	}
}

// coldStart is the decision about a request that no worker took: one that has
// waited longer than any backoff goes back at once.
func (p RetryPolicy) coldStart(s Observation) decision {
	d := decision{verdict: VerdictRetryBackoff, cold: true, kind: ErrNoWorkers, cause: "cold_refused", reason: "refused at once: no worker available"}
	if s.Elapsed >= p.MaxBackoff {
		d.verdict, d.cause, d.reason = VerdictRetryNow, "cold_wait", "no worker within the balancer's wait"
	}
	return d
}

// tookQueueWait reports whether an answer came when the balancer's wait ends:
// measured at 120 to 121 s.
func (p RetryPolicy) tookQueueWait(elapsed time.Duration) bool {
	return elapsed >= p.QueueWait-p.QueueWait/50 && elapsed <= p.QueueWait+p.QueueWait/12
}

func classify4xx(s Observation) decision {
	wait := func(cause, reason string, kind error) decision {
		return decision{verdict: serverSaid(s), cause: cause, reason: reason, kind: kind}
	}
	switch s.Status {
	case http.StatusTooManyRequests:
		return wait("rate_limited", "rate limited", ErrRateLimited)
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return wait("asked_again", "the server asked for the request once more", nil)
	case http.StatusUnauthorized, http.StatusForbidden:
		return classifyUnauthorized(s)
	case http.StatusNotFound:
		return classifyNotFound(s)
	case http.StatusProxyAuthRequired:
		return end("bad_request", "a proxy asks for a password", ErrBadRequest, proxyHint)
	case http.StatusRequestEntityTooLarge:
		return end("too_large", "the body is too large", ErrTooLarge, "")
	default:
		return end("bad_request", "the request was refused", ErrBadRequest, "")
	}
}

// end is the decision about an answer that no other attempt would change.
func end(cause, reason string, kind error, hint string) decision {
	return decision{verdict: VerdictGiveUp, cause: cause, reason: reason, kind: kind, hint: hint}
}

// classifyUnauthorized tells who has refused: the key is Runpod's business alone.
func classifyUnauthorized(s Observation) decision {
	switch {
	case s.WorkerID != "":
		return end("bad_request", "the worker's own "+strconv.Itoa(s.Status), ErrBadRequest, workerAuthAdvice)
	case s.Status == http.StatusForbidden && isBlockPage(s.Body):
		return end("blocked", "the network's edge blocked the request", ErrBadRequest, blockedAdvice)
	}
	return end("unauthorized", "the key was refused", ErrUnauthorized, "")
}

// isBlockPage reports whether a body is a page of the network's edge (reported by
// users: "error code: 1010"); the balancer's own errors are JSON.
func isBlockPage(body []byte) bool {
	text := bytes.ToLower(body)
	return bytes.Contains(text, []byte("error code: 1")) || bytes.Contains(text, []byte("<html")) || bytes.Contains(text, []byte("<!doctype html"))
}

func classifyNotFound(s Observation) decision {
	switch {
	case bytes.Contains(s.Body, []byte(workerGone)):
		d := end("worker_gone", "the worker it is pinned to is gone", ErrWorkerGone, "")
		if s.Droppable {
			d.verdict, d.cold = VerdictDropPin, true
		}
		return d
	case s.WorkerID != "":
		return end("not_found", "the worker knows no such path", ErrNotFound, workerPathAdvice)
	}
	return end("not_found", "no such endpoint or path", ErrNotFound, "")
}

func classify5xx(s Observation) decision {
	named := s.WorkerID != ""
	switch s.Status {
	case http.StatusServiceUnavailable:
		d := decision{verdict: serverSaid(s), cause: "unavailable", reason: "the service is unavailable"}
		if named {
			d.cause, d.reason = "worker_loading", "the worker is still loading"
		}
		return d
	case 524:
		return rerun(s, "processing_timeout", "the worker took longer than the service allows", ErrProcessingTimeout)
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return decision{verdict: VerdictGiveUp, cause: "not_supported", reason: "not supported by the server", kind: ErrBadRequest}
	case http.StatusInsufficientStorage:
		return decision{verdict: VerdictGiveUp, cause: "volume_full", reason: "no room on the volume", kind: ErrVolumeFull}
	case http.StatusBadGateway, 521, 522, 523, 525, 526, 530:
		if !named {
			return decision{verdict: VerdictRetryBackoff, kind: ErrNoWorkers, cause: "worker_unreachable", reason: "the balancer reached no worker"}
		}
		return rerun(s, "worker_connection_lost", "the worker's connection broke", nil)
	case http.StatusInternalServerError:
		d := rerun(s, "worker_failed", "the worker failed", nil)
		if d.verdict == VerdictRetryBackoff {
			d.thin = true
			if s.Repeats >= maxThin {
				d.verdict = VerdictGiveUp
			}
		}
		return d
	default:
		return rerun(s, "server_failed", "the server failed", nil)
	}
}

// rerun is the decision where a worker may have carried the request out: only
// a request that may run twice is sent again.
func rerun(s Observation, cause, reason string, kind error) decision {
	d := decision{verdict: VerdictGiveUp, cause: cause, reason: reason, kind: kind, mayHaveRun: true}
	if s.Idempotent {
		d.verdict = VerdictRetryBackoff
	}
	return d
}

// thin retries maxThin times and no more.
func thin(s Observation, cause, reason string, kind error) decision {
	d := decision{verdict: VerdictGiveUp, cause: cause, reason: reason, kind: kind, thin: true}
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

// isQueueBased reports whether an error says that the endpoint is not a
// load-balancing one, whatever its status, which the docs do not state.
func isQueueBased(s Observation) bool {
	return s.WorkerID == "" && bytes.Contains(s.Body, []byte(notForQB))
}

func readRefusal(body []byte) refusal {
	var said struct{ Error, Detail, Reason any }
	if json.Unmarshal(body, &said) == nil {
		switch {
		case said.Reason == workerTimeout:
			return refusalPinned
		case said.Error == noWorkers, said.Detail == timedOut:
			return refusalCold
		}
	}
	if bytes.Contains(body, []byte(noWorkers)) || bytes.Contains(body, []byte(timedOut)) {
		return refusalLikelyCold
	}
	return refusalUnknown
}

// retryState is what the next delay depends on of a call's attempts so far.
type retryState struct {
	quick        int       // failures in a row that came within MaxBackoff
	thin         int       // retries on thin evidence
	troubleSince time.Time // when the attempts began to meet nothing but trouble; zero: they do not
}

// note takes in an attempt, sent at start, that is to be retried.
func (g *retryState) note(p RetryPolicy, s *Observation, d *decision, start time.Time) {
	if s.Elapsed >= p.MaxBackoff {
		g.quick = 0
	}
	if d.thin {
		g.thin++
	}
	switch {
	case d.cold:
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
	delay := backoff.FullJitter(p.BaseBackoff, p.MaxBackoff, quick, random) - elapsed
	jitter := time.Duration(random * float64(p.Jitter))
	delay = max(delay, jitter)
	if said >= 0 {
		delay = max(delay, min(said, p.MaxRetryAfter)+jitter)
	}
	return delay
}
