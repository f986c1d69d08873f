package runpod

import (
	"errors"
	"time"
)

// decision is a verdict with its grounds.
type decision struct {
	verdict    Verdict
	cause      string // a short code that does not change, for counting; see Attempt.Cause
	reason     string // the same in words
	kind       error  // the error's kind, should this be the last attempt
	cold       bool   // the balancer had no worker: nothing is wrong, nothing ran
	thin       bool   // on thin evidence: counts into Observation.Repeats
	expired    bool   // given up since the context ends before another attempt
	late       bool   // given up since StartWithin allows no other attempt
	mayHaveRun bool
	bodyGone   bool   // given up since the body can be read only once
	moved      bool   // given up since another endpoint of a Group takes it
	hint       string // what to do about it; "": what the kind says
}

// errMoved ends a call at one endpoint of a Group that another is to take.
var errMoved = errors.New("another endpoint of the group takes it")

// trouble reports whether a retry is paid for from the budget for troubles.
func (d *decision) trouble() bool { return !d.cold && d.verdict.retries() }

// wantsBody turns a retry into the end of the call: there is no second body.
func (d *decision) wantsBody() {
	d.verdict, d.bodyGone = VerdictGiveUp, true
	d.reason += "; it would be sent again, but its body can be read only once: set Request.GetBody, or ContentLength"
}

// lapses turns a retry that would be made at that time into the end of the
// call, if that is too late: after the context's deadline (zero: none), or when
// the call's patience, which began at since, is used up.
func (d *decision) lapses(at, deadline, since time.Time, patience time.Duration) bool {
	switch {
	case !deadline.IsZero() && at.After(deadline):
		d.expired = true
		d.reason += "; the context ends before another attempt"
	case at.Sub(since) >= patience:
		d.reason += "; for too long"
	default:
		return false
	}
	d.verdict = VerdictGiveUp
	return true
}

// What to do about answers whose kind does not say it, by who gave them.
const (
	queueAdvice      = "call it with package queue: queue.New with the endpoint's id, then queue.Run"
	workerAuthAdvice = "it was the program on the worker that refused, not Runpod: ask what it wants; the API key ends at Runpod's edge and never reaches it"
	workerPathAdvice = "check the path: it was the program on the worker that does not know it"
	blockedAdvice    = "the network's edge blocked it, not Runpod: some User-Agents and networks are refused there, so try another one"
	silentAdvice     = "the service itself answers sooner, so the connection fell silent on its way: check proxies, firewalls and NAT in between"
	busyAdvice       = "workers answer other calls, but not enough for all: give it more time, raise the endpoint's maximum workers, or send less at once"
)

// advice says what to do about a call that ended with this decision; "" if
// there is nothing to say.
func (d *decision) advice() string {
	switch {
	case d.bodyGone:
		return "set the request's GetBody, or its ContentLength, so that it can be sent again"
	case d.hint != "":
		return d.hint
	}
	switch d.kind {
	case ErrNoWorkers:
		return "check that the endpoint's maximum workers is above 0 (an unused endpoint is set to 0) and that GPUs are to be had; minimum workers shorten the wait"
	case ErrUnauthorized:
		return "check the Runpod API key and what it may do"
	case ErrNotFound:
		return "check the endpoint's id and the path"
	case ErrWorkerGone:
		return "begin a new session, or allow another worker: OrAnyWorker, AnyWorker"
	case ErrRateLimited:
		return "send less at once: WithRateLimit, WithMaxInFlight"
	case ErrProcessingTimeout:
		return "make the request smaller: the service allows 5.5 minutes"
	}
	return ""
}
