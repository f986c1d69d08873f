package runpod

import (
	"context"
	"io"
	"net/http"
)

// caller sends requests to an endpoint: for the doors, for sessions and for
// other people's clients. It is safe for concurrent use.
type caller struct {
	ep      *endpoint
	life    *lifetime
	missing func(method, path string) error // what is not set, if anything
}

// call is [Client.Call].
func (c *caller) call(ctx context.Context, method, path string, in, out any, opts []CallOption) (*Response, error) {
	if err := c.missing(method, path); err != nil {
		return nil, err
	}
	if err := c.life.enter(ctx, operationName(method, path)); err != nil {
		return nil, err
	}
	defer c.life.leave()
	return c.within(ctx, method, path, in, out, opts)
}

// within makes a call whose settings are there and whose lifetime has begun.
func (c *caller) within(ctx context.Context, method, path string, in, out any, opts []CallOption) (*Response, error) {
	data, err := encode(method, path, in)
	if err != nil {
		return nil, err
	}
	req, err := c.ep.newRequest(method, path, data)
	if err != nil {
		return nil, err
	}
	_, streams := out.(io.Writer)
	call := c.newCall(ctx, method, path)
	call.body, call.whole = bytesBody(data), !streams
	call.apply(req, opts)
	resp, err := call.do(req)
	if err != nil {
		return nil, err
	}
	return call.take(resp, out)
}

func (c *caller) newCall(ctx context.Context, method, path string) *call {
	return &call{Context: ctx, life: c.life, ep: c.ep, method: method, path: path}
}

// do is [Client.Do].
func (c *caller) do(req *http.Request) (*http.Response, error) { return c.send(req, false) }

// send sends a caller's request, or that of somebody else's HTTP client.
func (c *caller) send(req *http.Request, foreign bool) (*http.Response, error) {
	call, err := c.beginSend(req)
	if err != nil {
		return nil, err
	}
	defer c.life.leave() // what is left is the body, which the caller reads
	call.foreign = foreign
	own := *req
	if err := call.own(&own); err != nil {
		return nil, err
	}
	opts, _ := req.Context().Value(callOptionsKey{}).([]CallOption)
	call.apply(&own, opts)
	resp, err := call.do(&own)
	if err != nil {
		return nil, err
	}
	call.delivered()
	if body, ok := resp.Body.(*attemptBody); ok {
		body.last = true
	}
	resp.Request = req
	return resp, nil
}

// beginSend begins the call of a caller's request, whose body it closes if it
// fails.
func (c *caller) beginSend(req *http.Request) (*call, error) {
	if req == nil {
		return nil, refuse("send a request", "req", "it is nil")
	}
	path := ""
	if req.URL != nil {
		path = req.URL.Path
	}
	err := c.missing(req.Method, path)
	if err == nil {
		err = c.life.enter(req.Context(), operationName(req.Method, path))
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	return c.newCall(req.Context(), req.Method, path), nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
