package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody is the most that a request or an answer may have (Runpod docs:
// 30 MB; whether that is 30,000,000 or 30 MiB is not said, so the larger).
const maxBody = 30 << 20

// CallOption says something about one call.
type CallOption func(*callOptions)

type callOptions struct {
	idempotent, anyWorker bool
	session               *Session
	pin                   string // the worker it is for, as the header says it; "": any
	lease                 *lease // the job's share in a wake; nil: none
}

// onLease has the call end a job's share in a wake as it is sent.
func onLease(l *lease) CallOption { return func(o *callOptions) { o.lease = l } }

// Idempotent marks a call that may run twice without harm, so that it is sent
// again also where it may have run already: after a 524, a 502 that names a
// worker, a lost connection. GET, HEAD, OPTIONS, PUT and DELETE are idempotent
// by themselves (RFC 9110, section 9.2.2).
func Idempotent() CallOption { return func(o *callOptions) { o.idempotent = true } }

// NotIdempotent marks a call that must not run twice although its method says
// that it may: a GET with an effect, a PUT that counts. It is sent again only
// if the attempt before it cannot have run. Of Idempotent and NotIdempotent the
// last one given counts.
func NotIdempotent() CallOption { return func(o *callOptions) { o.idempotent = false } }

// AnyWorker lets a request that is pinned to a worker (by the header
// X-Runpod-Worker-Id, Runpod docs) go to any other once that one is gone, or
// busy for longer than the balancer waits.
func AnyWorker() CallOption { return func(o *callOptions) { o.anyWorker = true } }

type callOptionsKey struct{}

// WithCallOptions gives a context that carries options for [Client.Do], in
// place of those it may carry already.
func WithCallOptions(ctx context.Context, opts ...CallOption) context.Context {
	return context.WithValue(ctx, callOptionsKey{}, opts)
}

// requestBody opens a request's body anew for each attempt; nil: no body.
type requestBody func() (io.ReadCloser, error)

// newRequest builds a request to the endpoint from its parts.
func (ep *endpoint) newRequest(method, path string, body []byte) (*http.Request, error) {
	ref, err := parsePath(path)
	if err != nil {
		return nil, refuse(operationName(method, path), "path", "%w", err)
	}
	if !isToken(method) {
		return nil, refuse(operationName(method, path), "method", "%q is not an HTTP method", method)
	}
	header := make(http.Header, 4)
	if body != nil {
		header["Content-Type"] = []string{"application/json"}
	}
	ep.authorize(header)
	return &http.Request{
		Method: method, URL: ep.resolve(ref), Host: ep.base.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
	}, nil
}

// resolve puts a path below the endpoint's base URL.
func (ep *endpoint) resolve(ref *url.URL) *url.URL {
	u := *ep.base
	u.Path = strings.TrimSuffix(ep.base.Path, "/") + "/" + strings.TrimPrefix(ref.Path, "/")
	u.RawPath = ""
	if ref.RawPath != "" {
		u.RawPath = strings.TrimSuffix(ep.base.EscapedPath(), "/") + "/" + strings.TrimPrefix(ref.RawPath, "/")
	}
	u.RawQuery = ref.RawQuery
	return &u
}

// authorize puts the key on a request to the endpoint's own host, unless the
// caller has an Authorization of his own.
func (ep *endpoint) authorize(h http.Header) {
	if len(h["Authorization"]) == 0 {
		h["Authorization"] = ep.bearer
	}
}

// own turns a copy of a caller's request into the call's, which may be sent
// several times. It sees to it that the body is closed.
func (c *call) own(req *http.Request) error {
	base := c.ep.base
	var err error
	switch u := req.URL; {
	case u == nil:
		err = refuse(c.op(), "req.URL", "it is nil")
	case u.Host == "" && u.Scheme == "":
		req.URL = c.ep.resolve(u)
	case !sameOrigin(u, base):
		err = refuse(c.op(), "req.URL", "its host is not the endpoint's, %s://%s: the API key goes nowhere else", base.Scheme, base.Host)
	case req.Host != "" && !strings.EqualFold(req.Host, base.Host) && !strings.EqualFold(req.Host, req.URL.Host):
		err = refuse(c.op(), "req.Host", "it is not the endpoint's host, %s", base.Host)
	}
	if err == nil {
		err = c.checkHead(req)
	}
	if err != nil {
		closeBody(req)
		return err
	}
	if req.ContentLength, err = c.replayable(req); err != nil {
		return err
	}
	req.Host, req.Body, req.GetBody = base.Host, nil, nil
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if auth := req.Header["Authorization"]; len(auth) == 0 || c.foreign && !slices.Equal(auth, c.ep.bearer) {
		req.Header = withHeader(req.Header, "Authorization", c.ep.bearer)
	}
	return nil
}

// withHeader is a copy of a header with one field set. The copy shares the
// values, which nobody changes.
func withHeader(h http.Header, name string, values []string) http.Header {
	own := make(http.Header, len(h)+1)
	maps.Copy(own, h)
	own[name] = values
	return own
}

// checkHead refuses what net/http would refuse to send, over and over.
func (c *call) checkHead(req *http.Request) error {
	if req.Method != "" && !isToken(req.Method) {
		return refuse(c.op(), "req.Method", "%q is not an HTTP method", req.Method)
	}
	for name, values := range req.Header {
		if !isToken(name) {
			return refuse(c.op(), "req.Header", "%q is not a header's name", name)
		}
		if slices.ContainsFunc(values, hasControl) {
			return refuse(c.op(), "req.Header", "%s has a control character in its value", name)
		}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// replayable gives the call a body that can be opened again and again: by the
// request's GetBody where there is one, else from memory, which the service's
// limit bounds. Another client's stream of unknown length stays one. It returns
// the body's length, 0 or less where that is not known before
// it is sent.
func (c *call) replayable(req *http.Request) (int64, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return 0, nil
	case req.ContentLength > maxBody:
		req.Body.Close()
		return 0, tooLarge(c.op(), "req.Body", req.ContentLength)
	case req.GetBody != nil:
		c.body, c.once = req.GetBody, req.Body
		return req.ContentLength, nil
	case c.foreign && req.ContentLength <= 0:
		c.single = &onceBody{source: req.Body}
		return -1, nil
	}
	defer req.Body.Close()
	data, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	switch {
	case err != nil:
		return 0, &Error{Op: c.op(), Field: "req.Body", Err: fmt.Errorf("reading it: %w", err)}
	case len(data) > maxBody:
		return 0, tooLarge(c.op(), "req.Body", int64(len(data)))
	case req.ContentLength > 0 && int64(len(data)) != req.ContentLength:
		return 0, refuse(c.op(), "req.ContentLength", "it says %d bytes, the body has %d", req.ContentLength, len(data))
	}
	c.body = bytesBody(data)
	return int64(len(data)), nil
}

func bytesBody(data []byte) requestBody {
	if len(data) == 0 {
		return nil
	}
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// encode makes a call's JSON body; nil for none.
func encode(method, path string, in any) ([]byte, error) {
	var data []byte
	switch v := in.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		data = v
	case []byte:
		data = v
	default:
		var err error
		if data, err = json.Marshal(in); err != nil {
			return nil, refuse(operationName(method, path), "in", "it does not encode as JSON: %w", err)
		}
	}
	if len(data) > maxBody {
		return nil, tooLarge(operationName(method, path), "in", int64(len(data)))
	}
	return data, nil
}

func tooLarge(op, field string, size int64) error {
	e := refuse(op, field, "%d bytes: the service takes at most 30 MB a request", size)
	e.Kind, e.Advice = ErrTooLarge, "upload it and send its path"
	return e
}

func isIdempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2), as methods are.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(marks, r) {
			return false
		}
	}
	return s != ""
}

// parsePath reads a path on the endpoint, with or without a query.
func parsePath(path string) (*url.URL, error) {
	ref, err := url.Parse(path)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL path")
	case ref.Scheme != "" || ref.Host != "" || ref.User != nil || ref.Opaque != "":
		return nil, errors.New("want a path on the endpoint, such as /api/v1/tryon, not a whole URL")
	case ref.Fragment != "":
		return nil, errors.New("a fragment (#...) is never sent: escape it as %23")
	}
	return ref, nil
}

// operationName names a request in errors and logs: without its query, which
// may hold what nobody should read there.
func operationName(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	return method + " " + path
}
