package runpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
	"github.com/gpuburst/runpod-go/internal/redact"
	"github.com/hashicorp/go-retryablehttp"
)

// call is one request of a caller's with all its attempts. It is the context
// that goes through go-retryablehttp. It belongs to one goroutine.
type call struct {
	context.Context // the caller's
	op              string
	ep              *endpoint
	wake            *wake
	life            *lifetime
	body            callBody
	options         callOptions

	whole     bool // read the answer's body within the attempt, to its end
	droppable bool // it is pinned to a worker and may go to another

	start      time.Time
	attempts   []Attempt
	pending    *attempt // the attempt under way, or over and not judged; nil: none
	last       decision
	answer     *Observation // the last attempt's
	unsent     error        // why the attempt that was to follow was not sent
	delay      time.Duration
	retries    retryState
	ticket     line.Ticket // its place in line, by when it first came
	bound      startBound  // of StartWithin
	refusals   int         // by a balancer without workers
	view       *callView   // for the observers; nil: there are none
	unpinned   bool        // it has been sent on to another worker
	mayHaveRun bool

	waitedPlace time.Duration // for places in flight
	waitedCold  time.Duration // in attempts that met no worker, and in the backoffs after them

	// Room for what nearly every call needs, so that it costs no allocation.
	request   http.Request
	loop      retryablehttp.Request
	attempt1  attempt
	attempts1 [1]Attempt
}

// over reports whether the call's context has ended or its Client was closed.
func (c *call) over() bool { return c.Err() != nil || c.life.isClosed() }

type callKey struct{}

// Value makes the call findable beneath go-retryablehttp.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func callFrom(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// configure applies the call's options to it and to its request.
func (c *call) configure(req *http.Request, opts []CallOption) (err error) {
	if c.options, err = optionsFor(c.op, req.Method, opts); err != nil {
		return err
	}
	if len(c.options.header) > 0 {
		header := maps.Clone(req.Header)
		maps.Copy(header, c.options.header)
		req.Header = header
	}
	if c.options.pin != "" {
		req.Header = withHeader(req.Header, workerIDHeader, []string{c.options.pin})
	}
	c.ticket.Priority = c.options.priority
	c.droppable = c.options.anyWorker && req.Header.Get(workerIDHeader) != ""
	return nil
}

// run sends a request as often as it takes. Any final status is a response; an
// error means that there is none.
func (c *call) run(loop *retryablehttp.Client, req *http.Request) (*http.Response, error) {
	defer c.cleanUp()
	c.request = *req.WithContext(c)
	c.start = time.Now()
	c.bound = newStartBound(c.start, c.options.startWithin)
	c.Context, c.view = viewCall(c.Context, c.ep.observers, c.info)
	c.attempts, c.answer = c.attempts1[:0], &c.attempt1.Observation
	c.ep.counts.calls.Add(1)
	c.loop.Request = &c.request
	resp, err := loop.Do(&c.loop)
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

// cleanUp gives back what the call still has. An attempt is left over only if a
// callback of the user's has panicked.
func (c *call) cleanUp() {
	if c.pending != nil {
		c.pending.finish()
	}
	c.body.discard()
}

// newLoop makes the loop that all calls go round in. This is the way of each
// attempt, from top to bottom, and so are the functions that follow:
//
//	place   wait for a place in flight, in the order in which the calls came
//	pace    wait for the rate limit's turn
//	wake    light requests that kept workers coming make way for the call
//	clock   begin: the observers, the attempt's context, its time limit
//	send    the request goes out, the answer comes back
//	judge   the classifiers, then the table, say what follows
//	pay     a retry takes a token, and is given up if it would come too late
//	wait    the backoff, or what the server has asked for
//
// What go-retryablehttp does for us is to go round: it calls send, judge and
// wait in turn, drains an answer that is not the last, so that its connection
// is used again, and copies the request, since net/http may still be reading
// the one that has failed. Whether and when to send again is decided here. It
// hands on nothing but the context, so that is how a call travels through it.
func newLoop() *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			// Not the transport itself: go-retryablehttp closes all idle
			// connections of one that lets it, whenever a call gives up.
			Transport:     roundTripper(func(req *http.Request) (*http.Response, error) { return callFrom(req.Context()).send(req) }),
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
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// send makes an attempt.
func (c *call) send(req *http.Request) (*http.Response, error) {
	if err := c.place(); err != nil {
		return nil, err
	}
	a := c.pending
	if err := c.pace(); err != nil {
		a.finish()
		c.pending = nil // there was no attempt
		return nil, err
	}
	if c.options.elsewhere != nil && c.options.elsewhere(false, false) {
		a.finish()
		c.pending = nil
		c.last = decision{verdict: VerdictGiveUp, kind: ErrNoWorkers, cause: "cold_wait", reason: errMoved.Error()}
		return nil, errMoved
	}
	c.makeWay()
	ctx, header, view := c.view.attempt(c, AttemptInfo{Op: c.op, Number: a.Number, Again: c.lastCause()}, req)
	a.view = view
	a.begin(ctx)
	c.tell(JobProgress{Phase: JobSent, Attempt: a.Number, Since: a.start}, nil)
	c.ep.counts.attempts.Add(1)
	resp, err := c.roundTrip(a, req, header)
	if err != nil {
		a.failed(err)
		return nil, a.Err
	}
	return resp, nil
}

// place waits for a place in flight, and for the limit shared with others. The
// attempt that gets it gives it back.
func (c *call) place() error {
	c.pending = nil
	if !c.options.light {
		if err := c.awaitPlace(); err != nil {
			return err
		}
	}
	a := &c.attempt1
	if len(c.attempts) > 0 {
		a = new(attempt)
	}
	a.ep, a.Number, a.placed = c.ep, len(c.attempts)+1, !c.options.light
	c.pending = a
	if err := c.awaitShare(a); err != nil {
		a.finish()
		c.pending = nil
		return err
	}
	return nil
}

// awaitPlace waits for a place. A call that waited in vain says for what.
func (c *call) awaitPlace() error {
	gate := c.ep.admission.gate
	if c.options.tell != nil {
		c.tell(JobProgress{Phase: JobWaiting, Attempt: len(c.attempts) + 1}, func() int { return gate.Ahead(&c.ticket) })
	}
	ctx, cancel := c.bound.context(c)
	defer cancel()
	waited, err := c.waiting(func() error { return gate.AcquireAgain(ctx, c.life.done, &c.ticket) })
	if err == nil || waited == 0 || c.life.isClosed() || c.Err() == nil {
		return err
	}
	return fmt.Errorf("it waited %s for one of %s in flight (WithMaxInFlight): a streamed answer keeps its place until it is read to its end or closed",
		waited.Round(time.Millisecond), plural(gate.Limit(), "place"))
}

// awaitShare waits for the limit that is shared with others, for an attempt that
// has its place.
func (c *call) awaitShare(a *attempt) error {
	if !a.placed || c.ep.shared == nil {
		return nil
	}
	ctx, cancel := c.bound.context(c)
	defer cancel()
	_, err := c.waiting(func() error { return a.share(ctx, c.life, c.ep.shared) })
	return err
}

// waiting counts what is waited for a place. A wait that closing the Client has
// ended returns ErrClosed.
func (c *call) waiting(wait func() error) (time.Duration, error) {
	came := time.Now()
	err := wait()
	waited := time.Since(came)
	c.waitedPlace += waited
	c.ep.counts.waitedPlace.Add(int64(waited))
	if err != nil && c.life.isClosed() {
		err = ErrClosed
	}
	return waited, err
}

// pace waits for the rate limit's turn, if there is one. A call that has waited
// for longer than GiveUp by then, here and in line, while no worker answered
// anybody, fails here.
func (c *call) pace() error {
	if err := c.awaitTurn(); err != nil {
		return err
	}
	if !c.ep.hopeless(c.start) {
		return nil
	}
	c.last = decision{verdict: VerdictGiveUp, kind: ErrNoWorkers, cause: "cold_wait", reason: "no worker has answered any call for too long"}
	return errors.New(c.last.reason)
}

// awaitTurn does not wait at all if the deadline would come first.
func (c *call) awaitTurn() error {
	if c.ep.limiter == nil || c.options.light {
		return nil
	}
	turn := c.ep.limiter.Reserve()
	delay := turn.Delay()
	if c.bound.excludes(time.Now().Add(delay)) {
		turn.Cancel()
		return c.bound.err()
	}
	if deadline, ok := c.Deadline(); ok && time.Now().Add(delay).After(deadline) {
		turn.Cancel()
		return fmt.Errorf("the rate limit's turn would come in %s: %w", delay, context.DeadlineExceeded)
	}
	err := c.sleep(delay)
	if err != nil {
		turn.Cancel()
	}
	return err
}

// makeWay has light requests withdrawn for the attempt that is about to be sent.
func (c *call) makeWay() {
	if c.options.beforeSend != nil {
		c.options.beforeSend()
	}
	c.wake.sending()
}

// roundTrip sends an attempt's own copy of the request: with the body opened
// anew, and without a pin that the call was told to drop.
func (c *call) roundTrip(a *attempt, req *http.Request, header http.Header) (*http.Response, error) {
	defer c.bound.watch(a.ctx, c.ep.control, a.cancel)()
	out := req.WithContext(a.traced())
	out.Header = header
	body, err := c.body.open()
	if err != nil {
		return nil, err
	}
	if body != nil {
		out.Body, out.GetBody = body, c.body.again
	}
	if !c.options.idempotent {
		sendOnce(out)
	}
	if c.unpinned {
		out.Header = out.Header.Clone()
		out.Header.Del(workerIDHeader)
	}
	return a.roundTrip(out, c.whole)
}

// judge decides about the attempt that has just ended, has a retry paid for,
// and reports whether there is one.
func (c *call) judge(err error) bool {
	a := c.pending
	if a == nil { // it ended before it was sent
		c.unsent = withoutURL(err)
		return false
	}
	now := time.Now()
	d := c.verdict(a)
	c.ep.learn(&a.Observation, &d, now, !a.ended.Load())
	c.wake.saw(a.WorkerID)
	c.delay = c.pay(a, &d, now)
	c.record(a, d)
	c.tellRetry(d, now)
	c.pending = nil
	if d.verdict.retries() || a.drained {
		a.finish() // what may be left of the answer, perhaps for ever, is of no use
	}
	return d.verdict.retries()
}

// tell says how far the call is.
func (c *call) tell(p JobProgress, ahead func() int) {
	if c.options.tell != nil {
		c.options.tell(jobState{JobProgress: p, ahead: ahead})
	}
}

// tellRetry says that another attempt follows.
func (c *call) tellRetry(d decision, now time.Time) {
	switch {
	case !d.verdict.retries():
	case d.cold:
		c.refusals++
		c.tell(JobProgress{Phase: JobCold, Attempt: c.refusals, Next: now.Add(c.delay)}, nil)
	default:
		c.tell(JobProgress{Phase: JobWaiting, Attempt: len(c.attempts) + 1, Next: now.Add(c.delay)}, nil)
	}
}

// verdict is the table's, unless the call is over or its body is gone.
func (c *call) verdict(a *attempt) decision {
	o := &a.Observation
	o.Idempotent, o.IDsSeen, o.Repeats, o.Droppable = c.options.idempotent, c.ep.idsSeen.Load(), c.retries.thin, c.droppable && !c.unpinned
	d := c.ep.policy.judge(c.ep.first, *o)
	if o.Err != nil && (c.over() || cancelled(&c.request)) {
		d = decision{verdict: VerdictGiveUp, cause: "cancelled", reason: "the context ended", mayHaveRun: o.Sent}
	} else if o.Err != nil && a.noneUp {
		d = noneUp()
	}
	if d.verdict.retries() && !c.body.replays() {
		d.wantsBody()
	}
	return d
}

// pay draws the delay before the next attempt and pays for it, or gives up if
// no attempt would help any more.
func (c *call) pay(a *attempt, d *decision, now time.Time) time.Duration {
	if !d.verdict.retries() {
		return 0
	}
	if c.options.elsewhere != nil && a.WorkerID == "" && (!d.mayHaveRun || c.options.idempotent) && c.options.elsewhere(true, d.cold) {
		d.verdict, d.moved = VerdictGiveUp, true
		d.reason += "; " + errMoved.Error()
		return 0
	}
	policy := &c.ep.policy
	c.retries.note(*policy, &a.Observation, d, a.start)
	delay := policy.backoff(c.retries.quick, now.Sub(a.start), a.RetryAfter, rand.Float64())
	delay = max(c.ep.pilot(delay, a.RetryAfter), c.ep.budgets.charge(now, d))
	since := c.retries.troubleSince
	if since.IsZero() {
		since = c.ep.patienceFrom(c.start)
	}
	deadline, _ := c.Deadline()
	if c.over() {
		deadline = now.Add(-1)
	}
	paid := *d
	if c.bound.excludes(now.Add(delay)) {
		d.verdict, d.late = VerdictGiveUp, true
		d.reason += "; no other attempt may begin, as StartWithin asks"
		c.ep.budgets.refund(&paid)
		return 0
	}
	if d.lapses(now.Add(delay), deadline, since, policy.GiveUp) {
		c.ep.budgets.refund(&paid)
		return 0
	}
	c.retries.quick++
	return delay
}

// record keeps what became of an attempt, for whoever wants to know.
func (c *call) record(a *attempt, d decision) {
	c.mayHaveRun = c.mayHaveRun || d.mayHaveRun
	c.unpinned = c.unpinned || d.verdict == VerdictDropPin
	c.last, c.answer = d, &a.Observation
	if c.options.afterAnswer != nil && d.verdict == VerdictDeliver {
		c.options.afterAnswer(a.WorkerID)
	}
	record := Attempt{
		Start: a.start, Duration: a.Elapsed, Status: a.Status, WorkerID: a.WorkerID,
		Verdict: d.verdict, Cause: d.cause, Reason: d.reason, Delay: c.delay, Err: a.Err,
	}
	c.attempts = append(c.attempts, record)
	if d.cold {
		c.waitedCold += a.Elapsed
		c.ep.counts.waitedCold.Add(int64(a.Elapsed))
	}
	c.log(slog.LevelDebug, "attempt", a.Err)
	c.view.endAttempt(a.view, record)
}

// wait is the pause between two attempts: the only one there is.
func (c *call) wait() error {
	began := time.Now()
	err := c.sleep(c.delay)
	waited := time.Since(began)
	c.ep.counts.waitedBackoff.Add(int64(waited))
	if c.last.cold {
		c.waitedCold += waited
		c.ep.counts.waitedCold.Add(int64(waited))
	}
	return err
}

// sleep waits for d, or for the end of the context or the Client.
func (c *call) sleep(d time.Duration) error { return backoff.SleepUntil(c, c.life.done, ErrClosed, d) }

// info is what observers are told of the call as it begins.
func (c *call) info() CallInfo {
	return CallInfo{
		Method: c.request.Method, Path: c.request.URL.Path, Host: c.request.URL.Host,
		Route: cmp.Or(c.options.route, c.request.URL.Path), JobID: c.options.job, BodyBytes: c.request.ContentLength,
	}
}

// lastCause is the cause of the attempt before; "" if there was none.
func (c *call) lastCause() string {
	if n := len(c.attempts); n > 0 {
		return c.attempts[n-1].Cause
	}
	return ""
}

// shown ends the call for the observers: status is that of the answer, 0 if
// there is none, err is why the caller does not have all of it, and read is how
// much of its body was read.
func (c *call) shown(status int, read int64, err error) {
	c.view.endCall(func(info *CallInfo) {
		info.Status, info.WorkerID, info.Attempts, info.Cause = c.answer.Status, c.answer.WorkerID, len(c.attempts), c.lastCause()
		info.AnswerBytes, info.WaitedPlace, info.WaitedCold = read, c.waitedPlace, c.waitedCold
		info.Outcome, info.Err = outcomeOf(status, err, c.over()), err
	})
}

// handOver gives the call's answer to its caller, who reads the body.
func (c *call) handOver(resp *http.Response) {
	if c.last.bodyGone { // it would not have been the last, had there been another body
		c.log(slog.LevelWarn, "gave up", nil)
	}
	body, ok := resp.Body.(*attemptBody)
	if !ok || body.ReadCloser == http.NoBody {
		c.shown(resp.StatusCode, 0, nil)
	}
	if !ok {
		return
	}
	body.owner = c
	if !body.a.ended.Load() { // there is something left to read
		c.life.read()
		body.a.reader = c.life
	}
}

// fail makes the error of a call that has no response.
func (c *call) fail(err error) error {
	e := c.newError()
	last := c.unsent
	if last == nil {
		last = c.answer.Err
	}
	if !c.over() {
		e.Err = errors.Join(e.Err, withoutURL(err))
	} else if last != nil && !errors.Is(last, context.Canceled) && !errors.Is(last, context.DeadlineExceeded) && !errors.Is(last, net.ErrClosed) {
		e.Err = errors.Join(e.Err, last)
	}
	return c.report(e)
}

// withoutURL takes an http.Client's error off, whose text has the whole URL in
// it, query included.
func withoutURL(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return inner.Err
	}
	return err
}

// redacted is an answer's text without the Client's secrets and the call's own.
func (c *call) redacted(text []byte) []byte {
	text = c.ep.secrets.Bytes(text)
	if len(c.options.secrets) > 0 {
		text = redact.New(c.options.secrets...).Bytes(text)
	}
	return text
}

// newError describes the call as it stands after its last attempt. If a context
// has ended the call, that is the cause, and the last attempt's answer stands
// beside it.
func (c *call) newError() *Error {
	e := &Error{
		Op: c.op, Kind: c.last.kind, Status: c.answer.Status, WorkerID: c.answer.WorkerID,
		Attempts: c.attempts, Body: c.redacted(c.answer.Body), MayHaveRun: c.mayHaveRun,
		Advice: c.last.advice(),
	}
	if c.last.mayHaveRun && e.Advice == "" && !c.options.idempotent && !c.options.decided && !c.last.expired && !c.over() {
		e.Advice = "mark the call Idempotent to have it sent again"
	}
	if e.Kind == ErrNoWorkers && c.ep.answeredAt().After(c.start) {
		e.Advice = busyAdvice
	}
	if c.last.moved {
		e.Err = errMoved
	}
	switch {
	case c.over():
		over := c.ended()
		e.Err = over.Err
		if over.Kind != nil {
			e.Kind, e.Advice = over.Kind, ""
		}
	case c.last.late:
		e.Err = c.bound.err()
	case c.last.expired:
		e.Err = context.DeadlineExceeded
	}
	return e
}

// ended is the error of a call that its context or its Client has ended.
func (c *call) ended() *Error {
	if c.life.isClosed() {
		return &Error{Op: c.op, Kind: ErrClosed}
	}
	return ended(c, c.op)
}

// explain makes the error of an answer's body in the caller's hands.
func (c *call) explain(err error) error {
	if c.over() {
		return c.ended()
	}
	return c.broken(err)
}

// broken is the error of an answer that broke off in its body: the request has
// run.
func (c *call) broken(err error) error {
	e := c.newError()
	e.MayHaveRun = true
	if e.Err == nil {
		e.Err = fmt.Errorf("the answer broke off: %w", err)
	}
	return c.report(e)
}

// report logs an error on its way to the caller.
func (c *call) report(e *Error) error {
	e.Err = without(c.ep.secrets, e.Err)
	c.log(slog.LevelWarn, "gave up", e)
	return e
}

func (c *call) log(level slog.Level, message string, err error) {
	if !c.ep.logger.Enabled(c, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("op", c.op), slog.Int("attempts", len(c.attempts)))
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

// cancelled reports whether a request was ended by the channel that contexts
// have replaced; http.Client still uses it for its Timeout.
func cancelled(req *http.Request) bool {
	select {
	case <-req.Cancel: //lint:ignore SA1019 other people's requests may have one
		return true
	default:
		return false
	}
}
