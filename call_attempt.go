package runpod

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// attempt is one sending of a request: its place in flight, its context and
// clock, and what it has shown. It belongs to the call's goroutine, and after
// the call to the reader of the answer's body.
type attempt struct {
	Observation
	ep    *endpoint
	start time.Time
	view  attemptView

	ctx     context.Context // ends with the caller's, at the limit, and with the attempt
	cancel  context.CancelCauseFunc
	clock   *time.Timer // cancels ctx when it runs out
	noneUp  bool        // it was ended since no worker is up
	placed  bool        // it has a place in flight
	ended   atomic.Bool // the place was given back
	reply   attemptBody
	release func()    // gives back what is shared with others; nil: nothing is
	reader  *lifetime // counts the body that a caller reads; nil: none does
	drained bool      // nothing of the answer is left to read

	// What the connection tells, on goroutines of net/http's.
	trace   httptrace.ClientTrace
	conn    atomic.Pointer[countedConn]
	mark    atomic.Int64 // what conn had written before it
	headers atomic.Bool  // the headers were handed to conn
}

// begin starts the attempt's clock.
func (a *attempt) begin(ctx context.Context) {
	a.start = time.Now()
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.clock = time.AfterFunc(a.ep.policy.attemptLimit(), a.expire)
}

func (a *attempt) expire() { a.cancel(errAttemptLimit) }

// timedOut reports whether the clock has ended the attempt.
func (a *attempt) timedOut() bool { return context.Cause(a.ctx) == errAttemptLimit }

// finish ends the attempt's context and gives its place back. It may be called
// again.
func (a *attempt) finish() {
	if !a.ended.CompareAndSwap(false, true) {
		return
	}
	if a.placed {
		defer a.ep.admission.gate.Release()
	}
	if a.release != nil {
		defer a.release()
	}
	if a.reader != nil {
		defer a.reader.unread()
	}
	if a.cancel != nil { // it had begun
		a.clock.Stop()
		a.cancel(nil)
	}
}

// share waits for a limit that is shared with others, for an attempt that has
// its place already.
func (a *attempt) share(ctx context.Context, life *lifetime, shared Limiter) error {
	ctx, cancel := life.bind(ctx)
	defer cancel()
	release, err := shared.Acquire(ctx)
	if err == nil {
		a.release = release
	}
	return err
}

// traced returns the context to send the request with, which has net/http say
// how far the request has come.
func (a *attempt) traced() context.Context {
	a.trace.GotConn, a.trace.WroteHeaders = a.gotConn, a.wroteHeaders
	return httptrace.WithClientTrace(a.ctx, &a.trace)
}

// roundTrip sends the request and takes of the answer what belongs to the
// attempt: the beginning of an error's body, or all of it if the call wants the
// answer whole.
func (a *attempt) roundTrip(req *http.Request, whole bool) (*http.Response, error) {
	resp, err := a.ep.transport.RoundTrip(req)
	a.clock.Stop()
	if err != nil {
		return nil, err
	}
	a.Elapsed = time.Since(a.start)
	a.Status = resp.StatusCode
	a.WorkerID = workerOf(resp, a.ep.secrets)
	a.RetryAfter = backoff.RetryAfter(resp.Header.Get("Retry-After"), a.start.Add(a.Elapsed))
	switch {
	case a.Status == http.StatusSwitchingProtocols:
		a.finish() // the connection is the caller's now
	case resp.Body == http.NoBody:
		a.drained = true
	case a.Status >= 400 || whole && a.Status >= 300:
		a.peek(resp)
	case whole:
		err = a.readWhole(resp)
	default:
		a.reply = attemptBody{ReadCloser: resp.Body, a: a}
		resp.Body = &a.reply
	}
	return resp, err
}

// peek reads the beginning of an error's body ahead. An error in that leaves the
// status, which decides, and fails the caller's reading in its turn.
func (a *attempt) peek(resp *http.Response) {
	body := peekBody(a.ctx, resp.Body, peekTime)
	a.Body = body.beginning(resp.Header.Get("Content-Encoding"))
	a.reply = attemptBody{ReadCloser: body, a: a}
	resp.Body = &a.reply
	a.drained = body.whole()
}

// readWhole reads an answer's body to its end, under a limit of its own.
func (a *attempt) readWhole(resp *http.Response) error {
	defer resp.Body.Close()
	a.clock.Reset(a.ep.policy.ProcessingLimit)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	a.clock.Stop()
	if err != nil {
		a.headers.Store(true) // an answer had begun
		return err
	}
	a.finish()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return nil
}

// failed notes that the attempt has no answer, and ends it.
func (a *attempt) failed(err error) {
	a.noneUp = context.Cause(a.ctx) == errNoneUp
	a.Sent = a.wrote()
	switch began := a.Status != 0; {
	case !a.timedOut():
	case began:
		err = errAnswerLimit
	case a.Sent:
		err = fmt.Errorf("%w: the request was written, and nothing came back for %s", errAttemptLimit, a.ep.policy.attemptLimit())
	default:
		err = errAttemptLimit
	}
	a.finish()
	a.Elapsed = time.Since(a.start)
	a.Status, a.WorkerID, a.RetryAfter = 0, "", backoff.NotSaid
	a.Err = asLine(a.ep.secrets, err)
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	conn := counterUnder(info.Conn)
	if conn != nil {
		a.mark.Store(conn.written.Load())
	}
	a.conn.Store(conn)
}

func (a *attempt) wroteHeaders() { a.headers.Store(true) }

// wrote reports whether the server can have seen the request.
func (a *attempt) wrote() bool {
	conn := a.conn.Load()
	return a.headers.Load() && (conn == nil || conn.written.Load() > a.mark.Load())
}

// attemptBody is an answer's body in the caller's hands. Its end is the
// attempt's end.
type attemptBody struct {
	io.ReadCloser
	a     *attempt
	read  int64
	owner bodyOwner // nil: the call has not handed it to its caller
	until time.Time // when it must have been read; zero: it need not
}

// bodyOwner is the call whose answer's body the caller reads: it makes the error
// of one that cannot be read to its end, and learns when nothing more is read.
type bodyOwner interface {
	explain(error) error
	shown(status int, read int64, err error)
}

func (b *attemptBody) Read(p []byte) (int, error) {
	n, err := b.readInTime(p)
	b.read += int64(n)
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.owner != nil {
		err = b.owner.explain(err)
	}
	b.over(err)
	return n, err
}

// limit bounds the reading of all that is left.
func (b *attemptBody) limit(most time.Duration) { b.until = time.Now().Add(most) }

// readInTime reads under the attempt's clock: until something comes.
func (b *attemptBody) readInTime(p []byte) (int, error) {
	if b.a.ended.Load() {
		return b.ReadCloser.Read(p)
	}
	idle := b.a.ep.policy.StreamIdle
	if !b.until.IsZero() {
		idle = min(idle, time.Until(b.until))
	}
	b.a.clock.Reset(idle)
	n, err := b.ReadCloser.Read(p)
	b.a.clock.Stop()
	if err != nil && err != io.EOF && b.a.timedOut() {
		err = fmt.Errorf("nothing came for %s", idle)
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.over(io.EOF)
	return b.ReadCloser.Close()
}

// over ends the attempt, and the call if its caller has the body.
func (b *attemptBody) over(err error) {
	defer b.a.finish()
	if b.owner == nil {
		return
	}
	if err == io.EOF {
		err = nil
	}
	b.owner.shown(b.a.Status, b.read, err)
}
