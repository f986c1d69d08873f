package runpod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// peekLimit is how much of an error's body is read to judge it.
const peekLimit = 4 << 10

var errAttemptLimit = errors.New("no answer within the attempt's limit")

// attempt is one sending of a request: its clock and what it showed.
type attempt struct {
	Observation
	c        *call
	ctx      context.Context   // the last observer's, if there is one
	observed []context.Context // each observer's own
	start    time.Time
	clock    deadline
	reply    attemptBody

	expired  atomic.Bool // the clock has run out
	released atomic.Bool // the place was given back

	// What the connection tells, on goroutines of the transport's.
	trace   httptrace.ClientTrace
	conn    atomic.Pointer[countedConn]
	use     atomic.Int64 // which use of conn this is
	mark    atomic.Int64 // what conn had written before it
	headers atomic.Bool  // the headers were handed to conn
}

// attempt makes one attempt: a place first, then the clock.
func (ep *endpoint) attempt(req *http.Request) (*http.Response, error) {
	c := callFrom(req.Context())
	c.current = nil
	if err := ep.admit(c); err != nil {
		return nil, err
	}
	ep.wake.sending(c.lease)
	a := &c.attempt1
	if len(c.attempts) > 0 {
		a = new(attempt)
	}
	a.begin(c)
	ep.counts.attempts.Add(1)
	resp, err := a.send(req)
	if err != nil {
		a.failed(err)
		return nil, err
	}
	return resp, nil
}

// begin starts the attempt's clock.
func (a *attempt) begin(c *call) {
	a.c, a.ctx = c, c
	if len(c.ep.observers) > 0 {
		a.observed = c.ep.observers.attemptStart(c, AttemptInfo{Op: c.op(), Number: len(c.attempts) + 1})
		a.ctx = a.observed[len(a.observed)-1]
	}
	a.trace.GotConn, a.trace.WroteHeaders = a.gotConn, a.wroteHeaders
	a.start = time.Now()
	c.current = a
}

// expire ends the attempt when its clock has run out, by closing its connection:
// with HTTP/1.1 that is how an attempt is ended in any case.
func (a *attempt) expire() {
	a.expired.Store(true)
	a.hangUp()
}

// hangUp closes the connection, if it is still this attempt's.
func (a *attempt) hangUp() {
	if conn := a.conn.Load(); conn != nil && conn.uses.Load() == a.use.Load() {
		conn.Close()
	}
}

// finish gives the place back. It may be called again.
func (a *attempt) finish() {
	if a.released.CompareAndSwap(false, true) {
		a.c.ep.admission.gate.Release()
	}
}

func (a *attempt) send(req *http.Request) (*http.Response, error) {
	// In place: it is the call's own, and go-retryablehttp copies it for the
	// next attempt.
	*req = *req.WithContext(httptrace.WithClientTrace(a.ctx, &a.trace))
	body, err := a.c.open()
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Body, req.GetBody = body, a.c.body
	}
	if !a.c.idempotent {
		sendOnce(req)
	}
	if a.c.unpinned {
		req.Header = req.Header.Clone()
		req.Header.Del(workerIDHeader)
	}
	a.c.ep.answers.add(&a.clock, a.start, a)
	resp, err := a.c.ep.transport.RoundTrip(req)
	a.c.ep.answers.remove(&a.clock)
	if err != nil {
		return nil, err
	}
	a.Elapsed = time.Since(a.start)
	a.Status = resp.StatusCode
	a.WorkerID = resp.Header.Get(workerIDHeader)
	a.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), a.start.Add(a.Elapsed))
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
		a.reply = attemptBody{body: resp.Body, a: a}
		resp.Body = &a.reply
		return nil
	}
}

// peek reads the beginning of an error's body and puts it back. An error in
// that leaves the status, which decides, and fails the caller's reading in its
// turn.
func (a *attempt) peek(resp *http.Response) {
	a.c.ep.bodies.add(&a.clock, time.Now(), a)
	head, _ := io.ReadAll(io.LimitReader(resp.Body, peekLimit))
	a.c.ep.bodies.remove(&a.clock)
	a.Body = head
	rest := resp.Body
	resp.Body = &attemptBody{body: struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}, a: a}
}

// readWhole reads an answer's body to its end, under a clock of its own.
func (a *attempt) readWhole(resp *http.Response) error {
	a.c.ep.bodies.add(&a.clock, a.start.Add(a.Elapsed), a)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	a.c.ep.bodies.remove(&a.clock)
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
func (a *attempt) failed(err error) {
	a.finish()
	if a.expired.Load() {
		err = errAttemptLimit
	}
	a.Elapsed = time.Since(a.start)
	a.Status, a.WorkerID, a.RetryAfter = 0, "", -1
	a.Err = err
	a.Sent = a.wrote()
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	conn := counterUnder(info.Conn)
	if conn != nil {
		a.mark.Store(conn.written.Load())
		a.use.Store(conn.uses.Add(1))
	}
	a.conn.Store(conn)
	if a.expired.Load() { // while it was dialled
		a.hangUp()
	}
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
	body io.ReadCloser
	a    *attempt
	last bool // the call has handed it to its caller
}

func (b *attemptBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err != nil {
		switch {
		case err == io.EOF:
		case b.a.c.over():
			err = b.a.c.ended()
		case b.last:
			err = b.a.c.broken(err)
		}
		b.a.finish()
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.a.finish()
	return b.body.Close()
}
