package runpod

import (
	"context"
	"net/http"
	"net/url"
	"sync"
)

// callView is a call as its observers see it. Nil, which it is if there are no
// observers, does nothing.
type callView struct {
	all  observers
	info CallInfo
	seen span
	once sync.Once
}

// viewCall begins a call for the observers. It goes on in the context that they
// return.
func viewCall(ctx context.Context, all observers, info func() CallInfo) (context.Context, *callView) {
	if len(all) == 0 {
		return ctx, nil
	}
	v := &callView{all: all, info: info()}
	ctx, v.seen = openSpan(ctx, all, v.info, func(o *Observer) func(context.Context, CallInfo) context.Context { return o.CallStart })
	return ctx, v
}

// endCall ends the call for the observers, after fill has said what it came to.
// It does nothing the second time.
func (v *callView) endCall(fill func(*CallInfo)) {
	if v == nil {
		return
	}
	v.once.Do(func() {
		fill(&v.info)
		closeSpan(v.seen, v.all, v.info, func(o *Observer) func(context.Context, CallInfo) { return o.CallEnd })
	})
}

// outcomeOf says how a call ended: status is its answer's, 0 if there is none;
// err is why the caller does not have all of it; cancelled says that its context
// has ended, or the Client was closed.
func outcomeOf(status int, err error, cancelled bool) string {
	switch {
	case err != nil && cancelled:
		return outcomeCancelled
	case status == 0:
		return outcomeFailed
	case status >= 400:
		return outcomeRefused
	case err != nil:
		return outcomeBroken
	}
	return outcomeAnswered
}

// attemptView is an attempt as its observers see it.
type attemptView struct {
	info AttemptInfo
	seen span
}

// attempt begins an attempt for the observers, and returns the context and the
// header that it is sent with: a copy, without which nobody could write to it.
func (v *callView) attempt(ctx context.Context, info AttemptInfo, req *http.Request) (context.Context, http.Header, attemptView) {
	if v == nil {
		return ctx, req.Header, attemptView{}
	}
	header := req.Header.Clone()
	bearer := header["Authorization"]
	delete(header, "Authorization")
	info.Method, info.URL, info.Header = req.Method, withoutQuery(req.URL), header
	a := attemptView{info: info}
	ctx, a.seen = openSpan(ctx, v.all, info, func(o *Observer) func(context.Context, AttemptInfo) context.Context { return o.AttemptStart })
	if bearer != nil {
		header["Authorization"] = bearer
	}
	return ctx, header, a
}

// endAttempt ends an attempt for the observers.
func (v *callView) endAttempt(a attemptView, record Attempt) {
	if v == nil {
		return
	}
	a.info.Header = nil // net/http may still be reading it
	closeSpan(a.seen, v.all, a.info, func(o *Observer) func(context.Context, AttemptInfo) {
		if o.AttemptEnd == nil {
			return nil
		}
		return func(ctx context.Context, info AttemptInfo) { o.AttemptEnd(ctx, info, record) }
	})
}

// withoutQuery is a URL as it may be shown: its query may hold what nobody should
// read, and so may its user.
func withoutQuery(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return bare.String()
}
