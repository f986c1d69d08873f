package runpod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// call is one request of a caller's with all its attempts. It is the context
// that goes through go-retryablehttp. It belongs to one goroutine; others touch
// only the attempt in progress.
type call struct {
	context.Context // the caller's
	life            *lifetime
	ep              *endpoint
	method          string
	path            string
	body            requestBody
	once            io.ReadCloser // the caller's own body, for the first attempt; nil: body gives it
	single          *onceBody     // the body, where there is no second one; nil: there is
	session         *Session
	pinned          string // the session's worker when the call began
	lease           *lease // its job's share in a wake; nil: none

	foreign    bool // the request is that of somebody else's HTTP client
	idempotent bool
	droppable  bool // it is pinned to a worker and may go to another
	whole      bool // read the answer's body within the attempt, to its end
	unpinned   bool // it has been sent on to another worker
	mayHaveRun bool

	start    time.Time
	attempts []Attempt
	current  *attempt // what the last attempt showed, until it is judged
	last     decision
	answer   *Observation // the last attempt's
	delay    time.Duration
	progress progress
	ticket   int64 // its place in line, by when it first came

	// Room for what nearly every call needs, so that it costs no allocation.
	request   http.Request
	loop      retryablehttp.Request
	attempt1  attempt
	attempts1 [1]Attempt
}

// over reports whether the call's context has ended or its Client was closed.
func (c *call) over() bool { return c.Err() != nil || c.life.isClosed() }

// apply takes in the options of the call.
func (c *call) apply(req *http.Request, opts []CallOption) {
	o := callOptions{idempotent: isIdempotent(req.Method)}
	for _, opt := range opts {
		opt(&o)
	}
	c.idempotent, c.lease = o.idempotent, o.lease
	c.pin(req, &o)
}

// op names the call without its query, which may hold what nobody should read
// in a log.
func (c *call) op() string { return operationName(c.method, c.path) }

type callKey struct{}

// Value makes the call findable beneath go-retryablehttp, which hands on
// nothing but the context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func callFrom(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// do sends a request as often as it takes. Any final status is a response; an
// error means that there is none.
func (c *call) do(req *http.Request) (*http.Response, error) {
	c.request = *req.WithContext(c)
	c.start = time.Now()
	c.attempts, c.answer = c.attempts1[:0], &c.attempt1.Observation
	c.ep.counts.calls.Add(1)
	c.loop.Request = &c.request
	resp, err := c.ep.retry.Do(&c.loop)
	c.closeOnce()
	if err != nil || c.last.verdict != VerdictDeliver {
		c.ep.counts.failed.Add(1)
	}
	if err == nil {
		return resp, nil
	}
	if resp != nil {
		resp.Body.Close()
	}
	return nil, c.fail(err)
}

// closeOnce closes the caller's own body where no attempt has taken it.
func (c *call) closeOnce() {
	if c.single != nil {
		c.single.finish()
	}
	if c.once != nil {
		c.once.Close()
		c.once = nil
	}
}

// open gives the body for the next attempt; nil for none.
func (c *call) open() (io.ReadCloser, error) {
	if c.single != nil {
		return c.single.take(), nil
	}
	if body := c.once; body != nil {
		c.once = nil
		return body, nil
	}
	if c.body == nil {
		return nil, nil
	}
	return c.body()
}

// judge decides about the attempt that has just ended, and whether another one
// is made.
func (c *call) judge(err error) bool {
	a := c.current
	if a == nil { // it ended before it was sent
		c.answer = &Observation{Err: err}
		return false
	}
	c.current = nil
	o := &a.Observation
	o.Idempotent, o.IDsSeen, o.Repeats, o.Droppable = c.idempotent, c.ep.idsSeen.Load(), c.progress.thin, c.droppable && !c.unpinned
	o.Number = len(c.attempts) + 1
	d := c.ep.policy.judge(c.ep.first, *o)
	if o.Err != nil && (c.over() || cancelled(&c.request)) {
		d = decision{verdict: VerdictGiveUp, reason: "the context ended", mayHaveRun: o.Sent}
	}
	if d.verdict.retries() && !c.replays() {
		d.forWantOfBody()
	}
	now := time.Now()
	c.ep.note(*o, d, now, !a.released.Load())
	c.schedule(a, &d, now)
	c.mayHaveRun = c.mayHaveRun || d.mayHaveRun
	c.unpinned = c.unpinned || d.verdict == VerdictDropPin
	c.last, c.answer = d, o
	if c.session != nil && d.verdict == VerdictDeliver {
		c.session.answered(c.pinned, o.WorkerID)
	}
	record := Attempt{
		Start: a.start, Duration: o.Elapsed, Status: o.Status, WorkerID: o.WorkerID,
		Verdict: d.verdict, Reason: d.reason, Delay: c.delay, Err: o.Err,
	}
	c.attempts = append(c.attempts, record)
	c.log(slog.LevelDebug, "attempt", o.Err)
	if len(c.ep.observers) > 0 {
		c.ep.observers.attemptEnd(a.observed, AttemptInfo{Op: c.op(), Number: o.Number}, record)
	}
	return d.verdict.retries()
}

// schedule draws the delay before the next attempt, or gives up where none
// would help any more.
func (c *call) schedule(a *attempt, d *decision, now time.Time) {
	c.delay = 0
	if !d.verdict.retries() {
		return
	}
	c.progress.note(c.ep.policy, a.Observation, d, a.start)
	delay := c.ep.policy.backoff(c.progress.quick, now.Sub(a.start), a.RetryAfter, rand.Float64())
	delay = max(c.ep.pilot(delay, a.RetryAfter), c.ep.budgets.take(now, d))
	since := c.progress.troubleSince
	if since.IsZero() {
		since = c.ep.patienceFrom(c)
	}
	deadline, hasDeadline := c.Deadline()
	tooLong := now.Add(delay).Sub(since) >= c.ep.policy.GiveUp
	tooLate := hasDeadline && now.Add(delay).After(deadline) || c.over()
	if !tooLong && !tooLate {
		c.progress.quick++
		c.delay = delay
		return
	}
	c.ep.budgets.back(d)
	d.verdict, d.expired = VerdictGiveUp, tooLate
	if tooLate {
		d.reason += "; the context ends before another attempt"
	} else {
		d.reason += "; for too long"
	}
}

// wait is the pause between two attempts: the only one there is.
func (c *call) wait() error { return c.sleep(c.delay) }

// sleep waits for d, or for the end of the context or the Client.
func (c *call) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.Done():
		return context.Cause(c)
	case <-c.life.done:
		return ErrClosed
	}
}

// fail makes the error of a call that has no response.
func (c *call) fail(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // its text has the whole URL in it, query included
	}
	e := c.newError()
	if !c.over() {
		e.Err = errors.Join(e.Err, err)
	} else if last := c.answer.Err; last != nil && !errors.Is(last, context.Canceled) && !errors.Is(last, context.DeadlineExceeded) && !errors.Is(last, net.ErrClosed) {
		e.Err = errors.Join(e.Err, last)
	}
	return c.report(e)
}

// newError describes the call as it stands after its last attempt. Where a
// context has ended the call, that is the cause, and the last attempt's answer
// stands beside it.
func (c *call) newError() *Error {
	e := &Error{
		Op: c.op(), Kind: c.last.kind, Status: c.answer.Status, WorkerID: c.answer.WorkerID,
		Attempts: c.attempts, Body: redacted(c.answer.Body, c.ep.secrets), MayHaveRun: c.mayHaveRun,
		Advice: callAdvice(c.last),
	}
	switch {
	case c.over():
		over := c.ended()
		e.Err = over.Err
		if over.Kind != nil {
			e.Kind, e.Advice = over.Kind, ""
		}
	case c.last.expired:
		e.Err = context.DeadlineExceeded
	}
	return e
}

// ended is the error of a call that its context or its Client has ended.
func (c *call) ended() *Error {
	if c.life.isClosed() {
		return &Error{Op: c.op(), Kind: ErrClosed}
	}
	return ended(c, c.op())
}

// report logs an error on its way to the caller.
func (c *call) report(e *Error) error {
	c.log(slog.LevelWarn, "gave up", e)
	return e
}

func (c *call) log(level slog.Level, message string, err error) {
	if !c.ep.logger.Enabled(c, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("op", c.op()), slog.Int("attempts", len(c.attempts)))
	if n := len(c.attempts); n > 0 {
		a := &c.attempts[n-1]
		attrs = append(attrs, slog.Int("status", a.Status), slog.String("worker", a.WorkerID),
			slog.Duration("took", a.Duration), slog.String("verdict", a.Verdict.String()),
			slog.String("reason", a.Reason), slog.Duration("delay", a.Delay))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.ep.logger.LogAttrs(c, level, message, attrs...)
}

// callAdvice says what to do about a call that failed for good.
func callAdvice(d decision) string {
	if d.bodyGone {
		return "set the request's GetBody, or its ContentLength, so that it can be sent again"
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
	if d.mayHaveRun {
		return "mark the call Idempotent to have it sent again"
	}
	return ""
}

// sleep waits for d or for the context's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
