package runpod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"
)

// workerIDHeader names the worker that answered; the balancer's own answers
// are believed not to have it.
const workerIDHeader = "X-Runpod-Worker-Id"

// peekLimit is how much of an error's body is read to judge it.
const peekLimit = 4 << 10

var errAttemptLimit = errors.New("no answer within the attempt's limit")

// endpoint is one load-balancing endpoint: go-retryablehttp's loop with our
// verdicts and delays, around a RoundTripper that makes the attempts. It is
// safe for concurrent use.
type endpoint struct {
	base      *url.URL
	bearer    string
	secrets   []string // never to be shown
	retry     *retryablehttp.Client
	transport *http.Transport
	conns     *connCounter
	admission *admission
	limiter   *rate.Limiter
	policy    RetryPolicy
	first     Classifier
	observer  Observer
	logger    *slog.Logger
	budgets   budgets

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
		base:     c.endpoint,
		bearer:   "Bearer " + c.apiKey,
		secrets:  c.secrets(),
		conns:    &connCounter{},
		limiter:  c.limiter,
		policy:   c.policy,
		first:    c.classifier,
		observer: c.observer,
		logger:   c.logger,
	}
	ep.admission = newAdmission(c.admission, c.maxInFlight, c.policy)
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

// call is one request of a caller's with all its attempts, and the context of
// the operation that it is. It belongs to one goroutine; only the attempt in
// progress is touched by others.
type call struct {
	context.Context
	ep         *endpoint
	op         string
	body       requestBody
	idempotent bool
	whole      bool // read the answer's body within the attempt, to its end

	start        time.Time
	troubleSince time.Time // when the attempts began to meet nothing but trouble
	attempts     []Attempt
	current      *attempt // what the last attempt showed, until it is judged
	last         decision
	delay        time.Duration
	ticket       int64 // its place in line, by when it first came
	quick        int   // failures in a row that came within MaxBackoff
	thin         int   // retries on thin evidence
	droppable    bool  // it is pinned to a worker and may go to another
	unpinned     bool  // it has been sent on to another
	mayHaveRun   bool
	answer       Observation // the last attempt, for the error
}

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
func (ep *endpoint) do(c *call, req *http.Request) (*http.Response, error) {
	c.ep, c.start = ep, time.Now()
	ep.counts.calls.Add(1)
	resp, err := ep.retry.Do(&retryablehttp.Request{Request: req.WithContext(c)})
	if resp != nil && c.last.verdict != Deliver || err != nil {
		ep.counts.failed.Add(1)
	}
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, c.fail(err)
	}
	return resp, nil
}

// attempt is one sending of a request: its clock and what it showed.
type attempt struct {
	Observation
	c      *call
	ctx    context.Context // the observer's, where there is one
	start  time.Time
	cancel context.CancelCauseFunc
	timer  *time.Timer
	finish func() // gives the place back and ends the context; once

	conn    atomic.Pointer[countedConn]
	mark    atomic.Int64 // what conn had written before this request
	headers atomic.Bool  // the headers were handed to conn
}

// attempt makes one attempt: a place first, then the clock.
func (ep *endpoint) attempt(req *http.Request) (*http.Response, error) {
	c := callFrom(req.Context())
	c.current = nil
	if err := ep.admit(c); err != nil {
		return nil, err
	}
	a := &attempt{c: c}
	a.finish = sync.OnceFunc(func() {
		a.timer.Stop()
		a.cancel(nil)
		ep.admission.gate.release()
	})
	a.ctx = c
	if start := ep.observer.AttemptStart; start != nil {
		a.ctx = start(c, AttemptInfo{Op: c.op, Number: len(c.attempts) + 1})
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	a.cancel = cancel
	a.start = time.Now()
	a.timer = time.AfterFunc(ep.policy.attemptLimit(), func() { cancel(errAttemptLimit) })
	c.current = a
	ep.counts.attempts.Add(1)

	out := req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: a.gotConn, WroteHeaders: a.wroteHeaders}))
	resp, err := a.send(out)
	if err != nil {
		a.failed(ctx, err)
		return nil, err
	}
	return resp, nil
}

// admit waits for a place and for the pace. A call that has waited longer than
// GiveUp fails here where no worker has answered anybody since.
func (ep *endpoint) admit(c *call) error {
	if err := ep.admission.gate.acquireAgain(c, &c.ticket); err != nil {
		return err
	}
	err := ep.pace(c)
	if err == nil && ep.refused.Load() > ep.lastAnswer.Load() && time.Since(ep.patienceFrom(c)) >= ep.policy.GiveUp {
		c.last = decision{verdict: GiveUp, kind: ErrNoWorkers, reason: "no worker has answered any call for too long"}
		err = errors.New(c.last.reason)
	}
	if err != nil {
		ep.admission.gate.release()
	}
	return err
}

// pace waits for the rate limit, if there is one.
func (ep *endpoint) pace(c *call) error {
	if ep.limiter == nil {
		return nil
	}
	err := ep.limiter.Wait(c)
	if err != nil && c.Err() == nil { // the limiter foresees what the deadline makes pointless
		err = errors.Join(context.DeadlineExceeded, err)
	}
	return err
}

func (a *attempt) send(out *http.Request) (*http.Response, error) {
	if a.c.body != nil {
		body, err := a.c.body()
		if err != nil {
			return nil, err
		}
		out.Body, out.GetBody = body, a.c.body
	}
	if a.c.unpinned {
		out.Header = out.Header.Clone()
		out.Header.Del(workerIDHeader)
	}
	resp, err := a.c.ep.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	a.Elapsed = time.Since(a.start)
	a.Status = resp.StatusCode
	a.WorkerID = resp.Header.Get(workerIDHeader)
	a.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	return resp, a.receive(resp)
}

// receive takes of the answer's body what belongs to the attempt: the
// beginning of an error, or all of it where the call wants it whole.
func (a *attempt) receive(resp *http.Response) error {
	switch {
	case a.Status == http.StatusSwitchingProtocols:
		a.finish() // the connection is the caller's now
		return nil
	case a.Status >= 400:
		a.peek(resp)
		return nil
	case a.c.whole:
		return a.readWhole(resp)
	default:
		a.timer.Stop()
		resp.Body = &attemptBody{body: resp.Body, a: a}
		return nil
	}
}

// peek reads the beginning of an error's body and puts it back.
func (a *attempt) peek(resp *http.Response) {
	// An error here leaves the status, which decides, and fails the caller's
	// reading in its turn.
	head, _ := io.ReadAll(io.LimitReader(resp.Body, peekLimit))
	a.timer.Stop()
	a.Body = head
	rest := resp.Body
	resp.Body = &attemptBody{body: struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}, a: a}
}

// readWhole reads an answer's body to its end, under a clock of its own.
func (a *attempt) readWhole(resp *http.Response) error {
	a.timer.Reset(a.c.ep.policy.ProcessingLimit)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	resp.Body.Close()
	if err != nil {
		a.headers.Store(true)
		return err
	}
	a.finish()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return nil
}

// failed notes that the attempt has no answer.
func (a *attempt) failed(ctx context.Context, err error) {
	if errors.Is(context.Cause(ctx), errAttemptLimit) {
		err = errAttemptLimit
	}
	a.Elapsed = time.Since(a.start)
	a.Status, a.WorkerID, a.RetryAfter = 0, "", -1
	a.Err = err
	a.Sent = a.wrote()
	a.finish()
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	conn := counterUnder(info.Conn)
	a.conn.Store(conn)
	if conn != nil {
		a.mark.Store(conn.written.Load())
	}
}

func (a *attempt) wroteHeaders() { a.headers.Store(true) }

// wrote reports whether the server can have seen the request.
func (a *attempt) wrote() bool {
	conn := a.conn.Load()
	return a.headers.Load() && (conn == nil || conn.written.Load() > a.mark.Load())
}

// attemptBody is an answer's body in the caller's hands: its end is the
// attempt's end.
type attemptBody struct {
	body io.ReadCloser
	a    *attempt
}

func (b *attemptBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err != nil {
		if err != io.EOF && b.a.c.Err() != nil {
			err = ended(b.a.c, b.a.c.op)
		}
		b.a.finish()
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.a.finish()
	return b.body.Close()
}

// judge decides about the attempt that has just ended, and whether another one
// is made.
func (c *call) judge(err error) bool {
	a := c.current
	if a == nil { // it ended before it was sent
		c.answer.Err = err
		return false
	}
	c.current = nil
	o := a.Observation
	o.Idempotent, o.IDsSeen, o.Repeats, o.Droppable = c.idempotent, c.ep.idsSeen.Load(), c.thin, c.droppable && !c.unpinned
	o.Number = len(c.attempts) + 1
	d := c.ep.policy.judge(c.ep.first, o)
	if o.Err != nil && c.Err() != nil {
		d = decision{verdict: GiveUp, reason: "the context ended", mayHaveRun: o.Sent}
	}
	c.ep.note(o, d)
	c.schedule(a, &d)
	c.mayHaveRun = c.mayHaveRun || d.mayHaveRun
	c.unpinned = c.unpinned || d.verdict == DropPin
	c.last, c.answer = d, o
	record := Attempt{
		Start: a.start, Duration: o.Elapsed, Status: o.Status, WorkerID: o.WorkerID,
		Verdict: d.verdict, Reason: d.reason, Delay: c.delay, Err: o.Err,
	}
	c.attempts = append(c.attempts, record)
	c.log(slog.LevelDebug, "attempt", o.Err)
	if end := c.ep.observer.AttemptEnd; end != nil {
		end(a.ctx, AttemptInfo{Op: c.op, Number: o.Number}, record)
	}
	return d.verdict.retries()
}

// schedule draws the delay before the next attempt, or gives up where none
// would help any more.
func (c *call) schedule(a *attempt, d *decision) {
	c.delay = 0
	if !d.verdict.retries() {
		return
	}
	now := time.Now()
	if a.Elapsed >= c.ep.policy.MaxBackoff {
		c.quick = 0
	}
	delay := c.ep.policy.backoff(c.quick, now.Sub(a.start), a.RetryAfter, rand.Float64())
	delay = c.ep.pilot(delay, a.RetryAfter)
	since := c.patience(a, d)
	deadline, hasDeadline := c.Deadline()
	switch {
	case now.Add(delay).Sub(since) >= c.ep.policy.GiveUp:
		d.verdict, d.reason = GiveUp, d.reason+"; for too long"
	case hasDeadline && now.Add(delay).After(deadline), c.Err() != nil:
		d.verdict, d.reason, d.expired = GiveUp, d.reason+"; the context ends before another attempt", true
	default:
		c.quick++
		if d.thin {
			c.thin++
		}
		// Asked last, so that nobody pays for a retry that is not made.
		c.delay = max(delay, c.ep.budgets.take(now, d))
	}
}

// patience is when the time began that GiveUp bounds: for a refusal of the
// balancer's when a worker last answered anybody, for trouble when the call's
// own began.
func (c *call) patience(a *attempt, d *decision) time.Time {
	if d.account == cold {
		c.troubleSince = time.Time{}
		return c.ep.patienceFrom(c)
	}
	if c.troubleSince.IsZero() {
		c.troubleSince = a.start
	}
	return c.troubleSince
}

// pilot shortens a delay where nothing is in flight: if every caller slept for
// longer than a worker's idle timeout (5 s by default, Runpod docs), workers
// that are there or starting would be taken away.
func (ep *endpoint) pilot(delay, said time.Duration) time.Duration {
	most := ep.policy.MaxBackoff / 5
	if delay <= most || said >= 0 {
		return delay
	}
	if held, _, _ := ep.admission.gate.counts(); held > 0 {
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
func (ep *endpoint) note(o Observation, d decision) {
	if o.WorkerID != "" && !ep.idsSeen.Load() {
		ep.idsSeen.Store(true)
	}
	switch {
	case d.account == cold:
		ep.refused.Store(time.Now().UnixNano())
		ep.counts.cold.Add(1)
	case o.WorkerID != "" || d.verdict == Deliver:
		ep.lastAnswer.Store(time.Now().UnixNano())
		ep.budgets.earn()
	}
	if d.account == trouble && d.verdict.retries() {
		ep.counts.trouble.Add(1)
	}
	ep.admission.observe(o, d)
}

// budgets are the two accounts that pay for retries.
type budgets struct {
	mu      *sync.Mutex
	trouble *budget
	cold    *budget
}

// newBudgets sizes the account for refusals by the backoff itself: it pays for
// what as many calls as may be in flight send while they all back off, and so
// bounds what more calls than that can send.
func newBudgets(inFlight int, p RetryPolicy) budgets {
	n := float64(inFlight)
	return budgets{
		mu:      new(sync.Mutex),
		trouble: newBudget(float64(p.BudgetSize), p.BudgetRefill),
		cold:    newBudget(5*n, time.Duration(float64(p.MaxBackoff)/2/n)),
	}
}

// take pays for a retry and says how long the payment takes. A refusal that
// has waited its 2 minutes has paid by waiting.
func (b *budgets) take(now time.Time, d *decision) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case d.account == trouble:
		return b.trouble.take(now)
	case d.verdict != RetryNow:
		return b.cold.take(now)
	}
	return 0
}

func (b *budgets) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble.earn(earned)
}

// wait is the pause between two attempts: the only one there is.
func (c *call) wait() error { return sleep(c, c.delay) }

// fail makes the error of a call that has no response.
func (c *call) fail(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // its text has the whole URL in it, query included
	}
	e := c.newError()
	if c.Err() == nil {
		e.Err = errors.Join(e.Err, err)
	} else if last := c.answer.Err; last != nil && !errors.Is(last, c.Err()) {
		e.Err = errors.Join(e.Err, last)
	}
	return c.report(e)
}

// newError describes the call as it stands after its last attempt. Where a
// context has ended the call, that is the cause, and the last attempt's answer
// stands beside it.
func (c *call) newError() *Error {
	e := &Error{
		Op: c.op, Kind: c.last.kind, Status: c.answer.Status, WorkerID: c.answer.WorkerID,
		Attempts: c.attempts, Body: redacted(c.answer.Body, c.ep.secrets), MayHaveRun: c.mayHaveRun,
		Advice: callAdvice(c.last),
	}
	switch {
	case c.Err() != nil:
		over := ended(c, c.op)
		e.Err = over.Err
		if over.Kind != nil {
			e.Kind, e.Advice = over.Kind, ""
		}
	case c.last.expired:
		e.Err = context.DeadlineExceeded
	}
	return e
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

// callAdvice says what to do about a call that failed for good.
func callAdvice(d decision) string {
	switch d.kind {
	case ErrNoWorkers:
		return "check that the endpoint's maximum workers is above 0 (an unused endpoint is set to 0) and that GPUs are to be had; minimum workers shorten the wait"
	case ErrUnauthorized:
		return "check the Runpod API key and what it may do"
	case ErrNotFound:
		return "check the endpoint's id and the path"
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
