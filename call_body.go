package runpod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// maxBody is the most that a request or an answer may have (Runpod docs:
// 30 MB; whether that is 30,000,000 or 30 MiB is not said, so the larger).
const maxBody = 30 << 20

// callBody is the body of a call's request. The zero value is no body.
type callBody struct {
	again  func() (io.ReadCloser, error) // opens it anew for each attempt; nil: it cannot be
	first  io.ReadCloser                 // the caller's own, for the first attempt
	single *onceBody                     // a body that there is no second one of
}

// open opens the body for the next attempt; nil if there is none.
func (b *callBody) open() (io.ReadCloser, error) {
	if b.single != nil {
		return b.single.lend(), nil
	}
	if first := b.first; first != nil {
		b.first = nil
		return first, nil
	}
	if b.again == nil {
		return nil, nil
	}
	return b.again()
}

// replays reports whether the body can be sent once more.
func (b *callBody) replays() bool { return b.single == nil || b.single.reclaim() }

// discard closes the caller's own body if no attempt has taken it. No attempt
// follows.
func (b *callBody) discard() {
	if b.single != nil {
		b.single.finish()
	}
	if b.first != nil {
		b.first.Close()
		b.first = nil
	}
}

// bytesBody is a body that is in memory.
func bytesBody(data []byte) callBody {
	if len(data) == 0 {
		return callBody{}
	}
	return callBody{again: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// bodyOf makes the body of a caller's request one that can be opened again and
// again: by the request's GetBody if it has one, else from memory, which the
// service's limit bounds. Another client's stream of unknown length stays one.
// It returns the body's length too, 0 or less if that is not known before it is
// sent, and sees to it that the request's body is closed.
func bodyOf(op string, req *http.Request, foreign bool) (callBody, int64, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return callBody{}, 0, nil
	case req.ContentLength > maxBody:
		req.Body.Close()
		return callBody{}, 0, tooLarge(op, "req.Body", req.ContentLength)
	case req.GetBody != nil:
		again := func() (io.ReadCloser, error) { return guarded(req.GetBody()) }
		return callBody{again: again, first: line.GuardReader(req.Body)}, req.ContentLength, nil
	case foreign && req.ContentLength <= 0:
		return callBody{single: &onceBody{source: line.GuardReader(req.Body)}}, -1, nil
	}
	defer req.Body.Close()
	data, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	switch {
	case err != nil:
		return callBody{}, 0, &Error{Op: op, Field: "req.Body", Err: fmt.Errorf("reading it: %w", err)}
	case len(data) > maxBody:
		return callBody{}, 0, tooLarge(op, "req.Body", int64(len(data)))
	case req.ContentLength > 0 && int64(len(data)) != req.ContentLength:
		return callBody{}, 0, refuse(op, "req.ContentLength", "it says %d bytes, the body has %d", req.ContentLength, len(data))
	}
	return bytesBody(data), int64(len(data)), nil
}

// guarded keeps what GetBody returns from ending the process: net/http reads it
// on a goroutine where nobody could recover a panic.
func guarded(body io.ReadCloser, err error) (io.ReadCloser, error) {
	if err == nil && body == nil {
		err = errors.New("GetBody returned nil and no error")
	}
	if err != nil {
		return nil, err
	}
	return line.GuardReader(body), nil
}

func tooLarge(op, field string, size int64) error {
	e := refuse(op, field, "%d bytes: the service takes at most 30 MB a request", size)
	e.Kind, e.Advice = ErrTooLarge, "upload it and send its path"
	return e
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// onceBody is a body that there is no second one of. An attempt that ends
// before it has read any of it leaves it to the next. It is safe for concurrent
// use: net/http may read for an attempt that is over.
type onceBody struct {
	source io.ReadCloser

	mu    sync.Mutex
	lent  *lentBody // to the attempt that may read; nil: to none
	spent bool      // something was read, or tried to be
	shut  bool      // the attempt needs it no more
	last  bool      // no further attempt follows
}

// lentBody is a onceBody in the hands of one attempt.
type lentBody struct{ b *onceBody }

var errBodyMoved = errors.New("the attempt that this body was for is over")

// lend hands the body to the next attempt.
func (b *onceBody) lend() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lent, b.shut = &lentBody{b}, false
	return b.lent
}

// reclaim reports whether the body can be sent once more, and takes it from the
// attempt that had it, whose connection may not have noticed its end yet.
func (b *onceBody) reclaim() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.spent {
		b.lent = nil
	}
	return !b.spent
}

// finish says that no attempt follows. The one that has the body closes it when
// it is done with it: an answer may come while the body is still being sent.
func (b *onceBody) finish() {
	b.mu.Lock()
	b.last = true
	free := b.lent == nil || b.shut && !b.spent
	b.mu.Unlock()
	if free {
		b.source.Close()
	}
}

func (l *lentBody) Read(p []byte) (int, error) {
	b := l.b
	b.mu.Lock()
	if b.lent != l {
		b.mu.Unlock()
		return 0, errBodyMoved
	}
	b.spent = true
	b.mu.Unlock()
	return b.source.Read(p)
}

// Close closes a body that was read from; one that was not may be wanted again.
func (l *lentBody) Close() error {
	b := l.b
	b.mu.Lock()
	over := b.lent == l && (b.spent || b.last)
	b.shut = b.shut || b.lent == l
	b.mu.Unlock()
	if over {
		return b.source.Close()
	}
	return nil
}

// sendOnce keeps net/http from sending a request again by itself, which it does
// without a word if a kept connection breaks and the method or a header says
// that it may.
func sendOnce(out *http.Request) {
	switch {
	case out.Header["Idempotency-Key"] != nil, out.Header["X-Idempotency-Key"] != nil:
		out.GetBody = nil
	case !isIdempotent(out.Method):
	case out.Body == nil:
		out.Body = emptyBody{}
	default:
		out.GetBody = nil
	}
}

// emptyBody is a body that has nothing, and is not one that net/http can have
// again.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
