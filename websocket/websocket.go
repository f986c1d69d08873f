package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	ws "github.com/coder/websocket"
	runpod "github.com/gpuburst/runpod-go"
)

// workerIDHeader names the worker that answered (Runpod docs).
const workerIDHeader = "X-Runpod-Worker-Id"

// DefaultKeepAlivePath is the path that the balancer polls for a worker's health
// (Runpod docs), so every worker has it.
const DefaultKeepAlivePath = "/ping"

// Options change how [Dial] opens and keeps a socket. The zero value means the
// defaults, which most callers should keep.
type Options struct {
	// DialOptions is passed to coder/websocket: headers, subprotocols, compression.
	// Its HTTPClient and Host must not be set, because they are the Client's.
	// Default nil: none.
	DialOptions *ws.DialOptions

	// Session is one of the Client's sessions. The socket goes to its worker.
	// Default nil: to any worker.
	Session *runpod.Session

	// KeepAlivePath is the path of the GET requests that are sent to the socket's
	// worker while the socket is open. It should cost the worker nothing. Default
	// [DefaultKeepAlivePath].
	KeepAlivePath string

	// KeepAliveEvery is the time between two of these requests. It must be below
	// the endpoint's idle timeout. Default 0: 3/5 of
	// [runpod.RetryPolicy.IdleTimeout], 3 s unless that was changed. If it is
	// negative, none are sent: for workers that the socket's messages keep.
	KeepAliveEvery time.Duration
}

// check names the field that is wrong.
func (o *Options) check(op, path string) error {
	ref, err := url.Parse(path)
	switch {
	case err != nil || !strings.HasPrefix(path, "/") || ref.Fragment != "":
		return refuse(op, "path", "%q: want a path on the endpoint, such as /ws", path)
	case o.KeepAlivePath != "" && !strings.HasPrefix(o.KeepAlivePath, "/"):
		return refuse(op, "Options.KeepAlivePath", "%q: want a path on the endpoint, such as /ping", o.KeepAlivePath)
	case o.DialOptions == nil:
		return nil
	case o.DialOptions.HTTPClient != nil:
		return refuse(op, "Options.DialOptions.HTTPClient", "it is set: the Client sends the handshake")
	case o.DialOptions.Host != "":
		return refuse(op, "Options.DialOptions.Host", "it is set: the host is the endpoint's")
	}
	return nil
}

func refuse(op, field, format string, args ...any) error {
	return &runpod.Error{Op: op, Field: field, Kind: runpod.ErrBadRequest, Err: fmt.Errorf(format, args...)}
}

// Conn is an open socket. It is a coder Conn with all its methods, and it keeps
// the socket's worker. Pass the embedded Conn to packages that take a coder Conn,
// such as wsjson.
//
// Call Close or CloseNow when done: until then the worker is kept, and billed. As
// with every coder Conn, somebody must read or call CloseRead, or else nobody
// notices that the other side has closed; and all methods but Reader and Read may
// be called at the same time.
type Conn struct {
	*ws.Conn
	// WorkerID is the worker at the other end; "" if its answer names none.
	WorkerID string
	keep     *keepAlive // nil: none
}

// KeepAliveErr returns nil while the worker is kept, and after the socket has been
// closed. Otherwise it returns why the worker is no longer kept:
// [runpod.ErrWorkerGone], after which the next use of the socket fails;
// [runpod.ErrClosed]; or, if the handshake's answer named no worker, why none was
// found. A keep-alive request that fails does not end the keeping: it is logged
// ([runpod.WithLogger]), and the next one is sent.
func (c *Conn) KeepAliveErr() error {
	if c.keep == nil {
		return nil
	}
	return c.keep.ended()
}

// Dial opens a WebSocket on a path of the Client's endpoint, in as many attempts
// as a cold endpoint takes. That may take minutes, up to
// [runpod.RetryPolicy.GiveUp], 15 minutes by default. Ctx limits the dialling and
// nothing after it: no limit of the Client applies to an open socket. Opts may be
// nil. Dial is safe for concurrent use.
//
// The error is a *[runpod.Error]. If the endpoint's last answer was not a socket,
// the error has its Status, and the response is that answer with the first 1,024
// bytes of its body.
//
// One goroutine keeps the worker until the Conn is closed, fails, or loses its
// worker; closing the Conn waits for the goroutine. If the handshake's answer
// names no worker, the first worker that answers a keep-alive request is taken to
// be the socket's, which is right if there is only one. Closing the Client also
// ends its sockets.
func Dial(ctx context.Context, client *runpod.Client, path string, opts *Options) (*Conn, *http.Response, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	bare, _, _ := strings.Cut(path, "?") // a query may hold what nobody should read in a log
	op := "open WebSocket " + bare
	if err := o.check(op, path); err != nil {
		return nil, nil, err
	}
	h := &handshake{transport: client.Transport()}
	if o.Session != nil {
		h.transport = o.Session.Transport()
	}
	var dial ws.DialOptions
	if o.DialOptions != nil {
		dial = *o.DialOptions
	}
	dial.HTTPClient = &http.Client{Transport: h, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	conn, resp, err := ws.Dial(ctx, "http://endpoint"+path, &dial)
	if err != nil {
		return nil, resp, dialError(op, resp, err)
	}
	c := &Conn{Conn: conn, WorkerID: resp.Header.Get(workerIDHeader)}
	if o.KeepAliveEvery >= 0 {
		c.keep = startKeepAlive(context.WithoutCancel(ctx), client.Session(runpod.OnWorker(c.WorkerID)), o)
		h.socket.keep = c.keep
	}
	return c, resp, nil
}

// dialError makes a *runpod.Error of the library's error, whose text may have
// the whole URL in it.
func dialError(op string, resp *http.Response, err error) error {
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		return e
	}
	e := &runpod.Error{Op: op, Err: err}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		e.Err = inner.Err
	}
	if resp == nil {
		return e
	}
	e.Status, e.WorkerID = resp.StatusCode, resp.Header.Get(workerIDHeader)
	switch {
	case e.Status == http.StatusUnauthorized:
		e.Kind = runpod.ErrUnauthorized
	case e.Status == http.StatusNotFound:
		e.Kind = runpod.ErrNotFound
	case e.Status == http.StatusTooManyRequests:
		e.Kind = runpod.ErrRateLimited
	case e.Status/100 == 4 && e.WorkerID != "":
		e.Kind = runpod.ErrBadRequest
	}
	return e
}

// handshake sends one handshake through the Client, to the Client's own
// endpoint, and keeps hold of the socket that comes of it.
type handshake struct {
	transport http.RoundTripper
	socket    *socket
}

// RoundTrip leaves the host away, for the Client to put in its endpoint's.
func (h *handshake) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.WithContext(req.Context())
	out.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	out.Host = ""
	resp, err := h.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		h.socket = &socket{conn: conn}
		resp.Body = h.socket
	}
	return resp, nil
}

// socket is a WebSocket's connection. Its end, which is every way for a Conn to
// end, is the end of what keeps the worker.
type socket struct {
	conn io.ReadWriteCloser
	keep *keepAlive // nil: none
}

func (s *socket) Read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	if err != nil {
		s.keep.cancel()
	}
	return n, err
}

func (s *socket) Write(p []byte) (int, error) {
	n, err := s.conn.Write(p)
	if err != nil {
		s.keep.cancel()
	}
	return n, err
}

func (s *socket) Close() error {
	err := s.conn.Close()
	s.keep.stop()
	return err
}
