package runpod

import (
	"context"
	"io"
	"net/http"

	"github.com/hashicorp/go-retryablehttp"
)

// caller makes the calls to one endpoint. It is what Call, Do, Transport and
// Session stand on, and is safe for concurrent use.
type caller struct {
	ep      *endpoint
	wake    *wake // nil: none
	loop    *retryablehttp.Client
	life    *lifetime
	missing func(method, path string) error // names a setting that calls lack; nil: none
}

func newCaller(ep *endpoint, w *wake, life *lifetime, missing func(method, path string) error) *caller {
	return &caller{ep: ep, wake: w, loop: newLoop(), life: life, missing: missing}
}

// call sends in as JSON and decodes the answer into out; see [Client.Call].
func (cr *caller) call(ctx context.Context, method, path string, in, out any, opts []CallOption) (*Response, error) {
	if err := cr.missing(method, path); err != nil {
		return nil, err
	}
	if err := cr.life.enter(ctx, operationName(method, path)); err != nil {
		return nil, err
	}
	defer cr.life.leave()
	return cr.within(ctx, method, path, in, out, opts)
}

// within is call for one whose settings are there and whose lifetime has begun.
func (cr *caller) within(ctx context.Context, method, path string, in, out any, opts []CallOption) (r *Response, err error) {
	op := operationName(method, path)
	data, err := encode(op, in)
	if err != nil {
		return nil, err
	}
	if err := checkOut(op, out); err != nil {
		return nil, err
	}
	req, err := cr.ep.newRequest(method, path, data)
	if err != nil {
		return nil, err
	}
	_, streams := out.(io.Writer)
	c := cr.newCall(ctx, op)
	c.body, c.whole = bytesBody(data), !streams
	if err := c.configure(req, opts); err != nil {
		return nil, err
	}
	var resp *http.Response
	defer func() { c.shown(r.status(), bytesRead(resp, r), err) }()
	if resp, err = c.run(cr.loop, req); err != nil {
		return nil, err
	}
	return c.conclude(resp, out)
}

// do sends a caller's request; see [Client.Do].
func (cr *caller) do(req *http.Request) (*http.Response, error) { return cr.send(req, false) }

// send sends a caller's request, or a foreign one: that of somebody else's HTTP
// client.
func (cr *caller) send(req *http.Request, foreign bool) (*http.Response, error) {
	op, err := cr.enter(req)
	if err != nil {
		return nil, err
	}
	defer cr.life.leave() // what is left then is the body, which the caller reads
	c := cr.newCall(req.Context(), op)
	own := *req
	err = cr.ep.adopt(c.op, &own, foreign)
	if err == nil {
		err = c.configure(&own, callOptionsIn(req.Context()))
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if c.body, own.ContentLength, err = bodyOf(c.op, req, foreign); err != nil {
		return nil, err
	}
	own.Body, own.GetBody = nil, nil
	resp, err := c.run(cr.loop, &own)
	if err != nil {
		c.shown(0, 0, err)
		return nil, err
	}
	if c.last.moved {
		resp.Body.Close()
		err := c.fail(errMoved)
		c.shown(0, 0, err)
		return nil, err
	}
	c.handOver(resp)
	resp.Request = req
	return resp, nil
}

// enter lets a caller's request in and names it. If it fails it closes the
// request's body; otherwise the end is cr.life.leave.
func (cr *caller) enter(req *http.Request) (op string, err error) {
	if req == nil {
		return "", refuse("send a request", "req", "it is nil")
	}
	path := ""
	if req.URL != nil {
		path = req.URL.Path
	}
	op = operationName(req.Method, path)
	if err = cr.missing(req.Method, path); err == nil {
		err = cr.life.enter(req.Context(), op)
	}
	if err != nil {
		closeBody(req)
	}
	return op, err
}

func (cr *caller) newCall(ctx context.Context, op string) *call {
	return &call{Context: ctx, op: op, ep: cr.ep, wake: cr.wake, life: cr.life}
}

// passOn sends a request, once, to a host that is none of ours: without headers
// that have a secret of the Client's in them.
func (cr *caller) passOn(req *http.Request) (*http.Response, error) {
	if err := cr.life.enter(req.Context(), req.Method+" "+req.URL.Host); err != nil {
		closeBody(req)
		return nil, err
	}
	defer cr.life.leave()
	out := req
	if clean := withoutSecrets(req.Header, cr.ep.secrets); len(clean) < len(req.Header) {
		out = req.WithContext(req.Context())
		out.Header = clean
	}
	resp, err := cr.ep.transport.RoundTrip(out)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

// abort ends the attempts in progress, whose calls know that the Client is
// closed, and the bodies that callers still read.
func (cr *caller) abort() { cr.ep.conns.shut() }

// close stops what works beside the calls, which have ended.
func (cr *caller) close() {
	cr.wake.shutdown()
	cr.ep.close()
}
