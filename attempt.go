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
	places    *gate
	limiter   *rate.Limiter
	policy    RetryPolicy
	logger    *slog.Logger

	idsSeen    atomic.Bool  // workers here name themselves
	lastAnswer atomic.Int64 // when a worker last answered any call, in Unix nanoseconds
	refused    atomic.Int64 // when the balancer last had no worker, likewise
	counts     callCounts
}

// callCounts are what Stats says of the calls.
type callCounts struct {
	calls, failed, attempts, cold, trouble, delivered atomic.Int64
}

func newEndpoint(c *config) *endpoint {
	ep := &endpoint{
		base:    c.endpoint,
		bearer:  "Bearer " + c.apiKey,
		secrets: c.secrets(),
		conns:   &connCounter{},
		places:  newGate(c.maxInFlight),
		limiter: c.limiter,
		policy:  c.policy,
		logger:  c.logger,
	}
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
	quick        int // failures in a row that came within MaxBackoff
	thin         int // retries on thin evidence
	mayHaveRun   bool
	answer       seen // the last attempt, for the error
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
	seen
	c      *call
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
		ep.places.release()
	})
	ctx, cancel := context.WithCancelCause(c)
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
	if err := ep.places.acquire(c); err != nil {
		return err
	}
	err := ep.pace(c)
	if err == nil && ep.refused.Load() > ep.lastAnswer.Load() && time.Since(ep.patienceFrom(c)) >= ep.policy.GiveUp {
		c.last = decision{verdict: GiveUp, kind: ErrNoWorkers, reason: "no worker has answered any call for too long"}
		err = errors.New(c.last.reason)
	}
	if err != nil {
		ep.places.release()
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
	resp, err := a.c.ep.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	a.elapsed = time.Since(a.start)
	a.status = resp.StatusCode
	a.workerID = resp.Header.Get(workerIDHeader)
	a.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	return resp, a.receive(resp)
}

// receive takes of the answer's body what belongs to the attempt: the
// beginning of an error, or all of it where the call wants it whole.
func (a *attempt) receive(resp *http.Response) error {
	switch {
	case a.status == http.StatusSwitchingProtocols:
		a.finish() // the connection is the caller's now
		return nil
	case a.status >= 400:
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
	a.body = head
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
	a.elapsed = time.Since(a.start)
	a.status, a.workerID, a.retryAfter = 0, "", -1
	a.err = err
	a.sent = a.wrote()
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
		c.answer.err = err
		return false
	}
	c.current = nil
	s := a.seen
	s.idempotent, s.idsSeen, s.repeats = c.idempotent, c.ep.idsSeen.Load(), c.thin
	d := c.ep.policy.classify(s)
	if s.err != nil && c.Err() != nil {
		d = decision{verdict: GiveUp, reason: "the context ended", mayHaveRun: s.sent}
	}
	c.ep.note(s, d)
	c.schedule(a, &d)
	c.mayHaveRun = c.mayHaveRun || d.mayHaveRun
	c.last, c.answer = d, s
	c.attempts = append(c.attempts, Attempt{
		Start: a.start, Duration: s.elapsed, Status: s.status, WorkerID: s.workerID,
		Verdict: d.verdict, Reason: d.reason, Delay: c.delay, Err: s.err,
	})
	c.log(slog.LevelDebug, "attempt", s.err)
	return d.verdict == RetryBackoff || d.verdict == RetryAfter
}

// schedule draws the delay before the next attempt, or gives up where none
// would help any more.
func (c *call) schedule(a *attempt, d *decision) {
	c.delay = 0
	if d.verdict == Deliver || d.verdict == GiveUp {
		return
	}
	if a.elapsed >= c.ep.policy.MaxBackoff {
		c.quick = 0
	}
	now := time.Now()
	delay := c.ep.policy.backoff(c.quick, now.Sub(a.start), a.retryAfter, rand.Float64())
	c.quick++
	if d.thin {
		c.thin++
	}
	since := c.ep.patienceFrom(c)
	if d.cold {
		c.troubleSince = time.Time{}
	} else {
		if c.troubleSince.IsZero() {
			c.troubleSince = a.start
		}
		since = c.troubleSince
	}
	deadline, hasDeadline := c.Deadline()
	switch {
	case now.Add(delay).Sub(since) >= c.ep.policy.GiveUp:
		d.verdict, d.reason = GiveUp, d.reason+"; for too long"
	case hasDeadline && now.Add(delay).After(deadline), c.Err() != nil:
		d.verdict, d.reason, d.expired = GiveUp, d.reason+"; the context ends before another attempt", true
	default:
		c.delay = delay
	}
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
func (ep *endpoint) note(s seen, d decision) {
	if s.workerID != "" {
		ep.idsSeen.Store(true)
	}
	switch {
	case d.cold:
		ep.refused.Store(time.Now().UnixNano())
		ep.counts.cold.Add(1)
	case s.workerID != "" || d.verdict == Deliver:
		ep.lastAnswer.Store(time.Now().UnixNano())
	}
	switch {
	case d.verdict == Deliver:
		ep.counts.delivered.Add(1)
	case !d.cold && d.verdict != GiveUp:
		ep.counts.trouble.Add(1)
	}
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
	} else if last := c.answer.err; last != nil && !errors.Is(last, c.Err()) {
		e.Err = errors.Join(e.Err, last)
	}
	return c.report(e)
}

// newError describes the call as it stands after its last attempt. Where a
// context has ended the call, that is the cause, and the last attempt's answer
// stands beside it.
func (c *call) newError() *Error {
	e := &Error{
		Op: c.op, Kind: c.last.kind, Status: c.answer.status, WorkerID: c.answer.workerID,
		Attempts: c.attempts, Body: redacted(c.answer.body, c.ep.secrets), MayHaveRun: c.mayHaveRun,
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
