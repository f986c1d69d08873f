package runpod

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Client uploads inputs to a network volume, calls a load-balancing endpoint,
// and brings results back. It is safe for concurrent use by any number of
// goroutines, which share its one S3 connection pool and its one limit of
// requests in flight; make one and keep it. Close it when done.
type Client struct {
	config *config
	life   *lifetime
	volume *volume
	ep     *endpoint
	jobs   *jobs

	readiness *readiness
	holds     *holds
}

// New makes a Client from options, and from the environment for what they
// leave unset. It sends nothing. A Client without S3 settings can still call,
// one without an endpoint can still upload; the method that lacks something
// says what to set. The error is an *Error whose Field names the option.
func New(opts ...Option) (*Client, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	c := &Client{config: cfg, life: newLifetime(), volume: newVolume(cfg), ep: newEndpoint(cfg), jobs: newJobs(cfg)}
	c.readiness, c.holds = newReadiness(), newHolds(cfg, c.volume)
	return c, nil
}

// Upload stores an input as the object key on the volume and returns what was
// stored. Every body carries a checksum that was taken before it was sent, by
// which the gateway refuses what arrives damaged; what comes back is held
// against it. An input above [WithPartSize] goes in parts.
func (c *Client) Upload(ctx context.Context, key string, in Input) (Object, error) {
	op := "upload " + key
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	if err := in.check(); err != nil {
		return Object{}, refuse(op, "Input", "%w", err)
	}
	o, err := c.beginS3(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return c.volume.upload(o, op, key, in)
}

// Download writes an object's content to w. Where the connection breaks it
// goes on where it stopped, so that w gets every byte once and in order. After
// an error w may have got the beginning.
func (c *Client) Download(ctx context.Context, key string, w io.Writer) (Object, error) {
	op := "download " + key
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	if w == nil {
		return Object{}, refuse(op, "w", "it is nil")
	}
	o, err := c.beginS3(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return c.volume.download(o, op, key, w)
}

// DownloadFile writes an object's content to the file at path, whole or not at
// all: it is renamed into place from a temporary name beside it. The folder
// must exist; a file that is there is replaced.
func (c *Client) DownloadFile(ctx context.Context, key, path string) (Object, error) {
	if err := checkTarget(path); err != nil {
		return Object{}, refuse("download "+key, "path", "%w", err)
	}
	var obj Object
	err := writeWhole(path, func(w io.Writer) (err error) {
		obj, err = c.Download(ctx, key, w)
		return err
	})
	if err != nil {
		return Object{}, asError("download "+key, err)
	}
	return obj, nil
}

// Delete removes an object from the volume. One that is not there is no error.
func (c *Client) Delete(ctx context.Context, key string) error {
	op := "delete " + key
	if err := checkKey(key); err != nil {
		return refuse(op, "key", "%w", err)
	}
	o, err := c.beginS3(ctx, op)
	if err != nil {
		return err
	}
	defer o.end()
	return c.volume.delete(o, op, key)
}

// Call sends in as JSON to a path of the endpoint, as often as it takes, and
// decodes the answer's JSON into out. In may be nil for no body, a []byte or
// json.RawMessage for JSON that is encoded already. Out may be nil, a *[]byte
// for the body as it is, or an io.Writer that the body is streamed to.
//
// An answer outside 200 to 299 is an error and a Response both.
func (c *Client) Call(ctx context.Context, method, path string, in, out any, opts ...CallOption) (*Response, error) {
	if err := c.config.missingForCalls(method, path); err != nil {
		return nil, err
	}
	data, err := encode(method, path, in)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, c.ep, method, path, data, out, opts)
}

// ask sends a request with a JSON body, or none, to an endpoint or to its job
// API, and takes the answer.
func (c *Client) ask(ctx context.Context, ep *endpoint, method, path string, data []byte, out any, opts []CallOption) (*Response, error) {
	req, err := ep.newRequest(method, path, data)
	if err != nil {
		return nil, err
	}
	call, err := ep.begin(ctx, c.life, method, path)
	if err != nil {
		return nil, err
	}
	defer call.end()
	_, streams := out.(io.Writer)
	call.body, call.whole = bytesBody(data), !streams
	call.apply(req, opts)
	resp, err := call.do(req)
	if err != nil {
		return nil, err
	}
	return call.take(resp, out)
}

// Do sends a request to the endpoint with the resilience of [Client.Call]: its
// URL is the endpoint's, or a path alone. Any final HTTP status comes back as
// a response, with its body to read and close; an error means that there is
// none. The request is not changed. A body without GetBody is read into memory
// so that it can be sent again. The API key is added unless the request has an
// Authorization of its own; redirects are returned, not followed. Options
// come with the request's context, see [WithCallOptions].
func (c *Client) Do(req *http.Request) (*http.Response, error) { return c.send(req, false) }

// send sends a caller's request, or that of somebody else's HTTP client.
func (c *Client) send(req *http.Request, foreign bool) (*http.Response, error) {
	path := ""
	if req.URL != nil {
		path = req.URL.Path
	}
	if err := c.config.missingForCalls(req.Method, path); err != nil {
		closeBody(req)
		return nil, err
	}
	call, err := c.ep.begin(req.Context(), c.life, req.Method, path)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	call.foreign = foreign
	own := *req
	if err := call.own(&own); err != nil {
		call.end()
		return nil, err
	}
	opts, _ := req.Context().Value(callOptionsKey{}).([]CallOption)
	call.apply(&own, opts)
	resp, err := call.do(&own)
	call.end() // what is left is the body, which the caller reads
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

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

func (c *call) apply(req *http.Request, opts []CallOption) {
	o := callOptions{idempotent: isIdempotent(req.Method)}
	for _, opt := range opts {
		opt(&o)
	}
	c.idempotent = o.idempotent
	c.pin(req, &o)
}

// Close refuses new operations, ends those in flight with [ErrClosed], and
// returns when all have returned. Bodies that [Client.Do] has handed out fail
// with ErrClosed too. Workers that are held are released, within 5 s; the error
// says which could not be (see [Client.HoldWorkers]) and is nil otherwise.
// Closing again tries that again and does nothing else.
func (c *Client) Close() error {
	c.life.close()
	c.ep.abort()
	c.jobs.ep.abort()
	c.life.waiting.Wait()
	err := c.holds.close()
	c.volume.transport.CloseIdleConnections()
	c.ep.close()
	c.jobs.ep.close()
	return err
}

func (c *Client) beginS3(ctx context.Context, op string) (*operation, error) {
	if err := c.config.missingForS3(op); err != nil {
		return nil, err
	}
	return c.life.begin(ctx, op)
}

// asError makes an *Error of any error.
func asError(op string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Err: err}
}
