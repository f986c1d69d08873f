package runpod

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// transport is [Client.Transport].
type transport struct{ calls *caller }

// RoundTrip sends one request; see [Client.Transport].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.calls.ep.base
	if req != nil && req.URL != nil && req.URL.Host != "" && base != nil && !sameOrigin(req.URL, base) {
		return t.calls.passOn(req)
	}
	return t.calls.send(req, true)
}

// passOn sends a request to a host that is none of ours.
func (c *caller) passOn(req *http.Request) (*http.Response, error) {
	if err := c.life.enter(req.Context(), req.Method+" "+req.URL.Host); err != nil {
		closeBody(req)
		return nil, err
	}
	defer c.life.leave()
	out := req
	if name := c.keyed(req.Header); name != "" {
		out = req.WithContext(req.Context())
		out.Header = req.Header.Clone()
		for ; name != ""; name = c.keyed(out.Header) {
			delete(out.Header, name)
		}
	}
	resp, err := c.ep.transport.RoundTrip(out)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

// keyed is the name of a header with a secret of the Client's in it; "" for
// none.
func (c *caller) keyed(h http.Header) string {
	for name, values := range h {
		for _, v := range values {
			if slices.ContainsFunc(c.ep.secrets, func(secret string) bool { return strings.Contains(v, secret) }) {
				return name
			}
		}
	}
	return ""
}

// sameOrigin reports whether two URLs are of one scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && (a.Host == b.Host || strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b))
}

func portOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
		return port
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// onceBody is a body that there is no second one of. Attempts that end before
// they have read any of it leave it to the next.
type onceBody struct {
	source io.ReadCloser
	mu     sync.Mutex
	holder *heldBody // the attempt that may read; nil: none
	spent  bool      // something was read, or tried to be
	shut   bool      // the holder needs it no more
	last   bool      // no attempt will follow the holder's
}

// heldBody is an attempt's hold on a onceBody.
type heldBody struct{ b *onceBody }

var errBodyMoved = errors.New("the attempt that this body was for is over")

// take gives the body to the next attempt.
func (b *onceBody) take() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holder, b.shut = &heldBody{b}, false
	return b.holder
}

// again reports whether the body can be had once more, and takes it from the
// attempt that had it, whose connection may not have noticed its end yet.
func (b *onceBody) again() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.spent {
		b.holder = nil
	}
	return !b.spent
}

// finish says that no attempt follows. The holder closes the body when it is
// done with it: an answer may come while the body is still being sent.
func (b *onceBody) finish() {
	b.mu.Lock()
	b.last = true
	unheld := b.holder == nil || b.shut && !b.spent
	b.mu.Unlock()
	if unheld {
		b.source.Close()
	}
}

func (h *heldBody) Read(p []byte) (int, error) {
	b := h.b
	b.mu.Lock()
	if b.holder != h {
		b.mu.Unlock()
		return 0, errBodyMoved
	}
	b.spent = true
	b.mu.Unlock()
	return b.source.Read(p)
}

// Close closes a body that was read from; one that was not may be wanted again.
func (h *heldBody) Close() error {
	b := h.b
	b.mu.Lock()
	over := b.holder == h && (b.spent || b.last)
	b.shut = b.shut || b.holder == h
	b.mu.Unlock()
	if over {
		return b.source.Close()
	}
	return nil
}

// replays reports whether the call's body can be sent once more.
func (c *call) replays() bool { return c.single == nil || c.single.again() }

// forWantOfBody turns the decision to retry into one to give up.
func (d *decision) forWantOfBody() {
	d.verdict, d.bodyGone = VerdictGiveUp, true
	d.reason += "; it would be sent again, but its body can be read only once: set Request.GetBody, or ContentLength"
}

// delivered logs an answer that would not have been the last, had there been
// another body.
func (c *call) delivered() {
	if c.last.bodyGone {
		c.log(slog.LevelWarn, "gave up", nil)
	}
}

// sendOnce keeps net/http from sending a request again by itself, which it does
// where a kept connection breaks and the method or a header says that it may,
// and tells nobody.
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

// emptyBody is a body that has nothing, and is not one that can be had again.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// cancelled reports whether a request was ended by the channel that contexts
// have replaced; http.Client still uses it for its Timeout.
func cancelled(req *http.Request) bool {
	select {
	case <-req.Cancel: //lint:ignore SA1019 other people's requests may have one
		return true
	default:
		return false
	}
}
