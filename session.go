package runpod

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// Session sends its requests to one worker, the one that answered the first: for
// a chat whose cache is there, or a socket's state. It is safe for concurrent
// use. It works by the header X-Runpod-Worker-Id (Runpod docs, worker affinity).
// [Client.Session] takes options for a worker that is busy or gone:
//
//	session            worker busy                    worker gone
//	-----------------  -----------------------------  -----------------------------
//	soft, the default  another answers; the session   another answers; the session
//	                   goes on with that one          goes on with that one
//	Strict             waits for it, 5 min a time     ErrWorkerGone
//	StrictResume       waits for it, 5 min a time     it is started again;
//	                                                  else ErrWorkerGone
//	either, with       after 5 min any other; the     any other; the session
//	OrAnyWorker        session goes on with that one  goes on with that one
type Session struct {
	calls *caller
	mode  string // what stands before the worker's id in the header
	other bool   // a strict one may go to another worker
	over  context.Context
	stop  context.CancelFunc

	mu     sync.Mutex
	worker string
}

// SessionOption says what a Session does if its worker is busy or gone.
type SessionOption func(*Session)

// Strict makes a session wait for its worker, and fail with [ErrWorkerGone] if
// that is gone.
func Strict() SessionOption { return func(s *Session) { s.mode = "strict " } }

// StrictResume is [Strict], but a worker that was scaled down is started again,
// for as long as the service can.
func StrictResume() SessionOption { return func(s *Session) { s.mode = "strict-resume " } }

// OrAnyWorker makes a strict session go on with another worker if it would fail
// otherwise. The new worker has no state of the old one. For single requests use
// [AnyWorker].
func OrAnyWorker() SessionOption { return func(s *Session) { s.other = true } }

// OnWorker makes a session begin on a known worker: one from the
// Response.WorkerID of an earlier call, or from the header X-Runpod-Worker-Id of
// an answer. Use it to continue a session in another process. Default "": the
// worker of the first answer.
func OnWorker(id string) SessionOption { return func(s *Session) { s.worker = id } }

// newSession begins a session; see [Client.Session].
func newSession(calls *caller, opts []SessionOption) *Session {
	s := &Session{calls: calls}
	s.over, s.stop = context.WithCancel(context.Background())
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

// in returns the session; for one that was not made by Client.Session, one that
// refuses everything.
func (s *Session) in() *Session {
	if s != nil && s.calls != nil {
		return s
	}
	missing := func(method, path string) error {
		return refuse(operationName(method, path), "session", "it is nil or a zero value: make one with Client.Session")
	}
	return newSession(&caller{ep: &endpoint{}, life: &lifetime{}, missing: missing}, nil)
}

// WorkerID returns the session's worker, "" before the first answer.
func (s *Session) WorkerID() string {
	s = s.in()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worker
}

// End releases the worker, and ends [Session.KeepAlive]. Requests in flight go
// on, new ones are refused. Ending again does nothing.
func (s *Session) End() {
	s = s.in()
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker = ""
}

// Call is [Client.Call] in the session.
func (s *Session) Call(ctx context.Context, method, path string, in, out any, opts ...CallOption) (*Response, error) {
	s = s.in()
	if s.over.Err() != nil {
		return nil, s.refuse(operationName(method, path))
	}
	return s.calls.call(ctx, method, path, in, out, s.with(opts))
}

// Do is [Client.Do] in the session. If the worker is gone, that is an answer of
// 404 here.
func (s *Session) Do(req *http.Request) (*http.Response, error) {
	s = s.in()
	return s.through(req, s.calls.do)
}

// Transport is [Client.Transport] in the session: for other people's clients
// and for WebSockets. If the worker is gone, that is an answer of 404 here.
func (s *Session) Transport() http.RoundTripper {
	s = s.in()
	t := &transport{s.calls}
	return roundTripper(func(req *http.Request) (*http.Response, error) { return s.through(req, t.RoundTrip) })
}

// HTTPClient is [Client.HTTPClient] in the session.
func (s *Session) HTTPClient() *http.Client { return &http.Client{Transport: s.Transport()} }

// through sends a request by do, with the session's option.
func (s *Session) through(req *http.Request, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	if req == nil {
		return do(nil) // which says so
	}
	ctx := req.Context()
	if s.over.Err() != nil {
		closeBody(req)
		return nil, s.refuse("request in a session")
	}
	resp, err := do(req.WithContext(WithCallOptions(ctx, s.with(callOptionsIn(ctx))...)))
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

func (s *Session) refuse(op string) error { return refuse(op, "session", "it has ended") }

// KeepAlive keeps the session's worker from being scaled down while a WebSocket
// is open, because an open socket may not count as activity (reported by users).
// It sends GET requests for path to this worker, and blocks until ctx ends, whose
// error it returns, until the session ends (nil), or until the worker is gone
// ([ErrWorkerGone]). Most callers should use the module runpod-go/websocket,
// which runs it beside the socket.
//
// The path should cost the worker nothing, such as /ping. Every is the time
// between two requests; it must be below the endpoint's idle timeout. 0 means 3/5
// of [RetryPolicy.IdleTimeout], 3 s by default. Other failures are logged, and
// the next request is sent as usual. While the session has no worker, nothing is
// sent: if the socket's 101 does not name one, make a call first.
func (s *Session) KeepAlive(ctx context.Context, path string, every time.Duration) error {
	s = s.in()
	if err := s.calls.missing(http.MethodGet, path); err != nil {
		return err
	}
	if ctx == nil {
		return refuse(operationName(http.MethodGet, path), "ctx", "it is nil")
	}
	if every <= 0 {
		every = s.calls.ep.policy.IdleTimeout * 3 / 5
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.over, func() { cancel(nil) })()
	for {
		if err := backoff.Sleep(ctx, every); err != nil {
			if s.over.Err() != nil {
				return nil
			}
			return err
		}
		if err := s.ping(ctx, path, every); err != nil {
			return err
		}
	}
}

// ping asks the worker once. It waits no longer than until the next one is due.
func (s *Session) ping(ctx context.Context, path string, every time.Duration) error {
	worker := s.WorkerID()
	if worker == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	onWorker := func(o *callOptions) { o.pin = "strict " + worker }
	_, err := s.calls.call(ctx, http.MethodGet, path, nil, nil, []CallOption{light(), onWorker})
	e, _ := errors.AsType[*Error](err)
	switch {
	case e == nil:
		return nil
	case e.Field != "", errors.Is(err, ErrClosed), errors.Is(err, ErrWorkerGone) && s.WorkerID() == worker:
		return err
	}
	return nil
}

// with adds the option by which a call is one of the session's: it is pinned to
// the session's worker, and its answer may move the session on.
func (s *Session) with(opts []CallOption) []CallOption {
	return append(slices.Clip(opts), func(o *callOptions) {
		pinned := s.WorkerID()
		if pinned != "" {
			o.pin = s.mode + pinned
		}
		o.anyWorker = o.anyWorker || s.other
		o.afterAnswer = func(worker string) { s.moveOn(pinned, worker) }
	})
}

// moveOn binds the session to the worker that answered, unless another call has
// moved it on from the one that this call was pinned to.
func (s *Session) moveOn(pinned, worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker == pinned && worker != "" && s.over.Err() == nil {
		s.worker = worker
	}
}
