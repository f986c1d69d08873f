package runpod

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"sync"
)

// Route names the call's route in [CallInfo], such as "/v1/items/{id}", so that
// calls whose paths have ids in them can be counted together. Without it the path
// is the route.
func Route(pattern string) CallOption { return func(o *callOptions) { o.route = pattern } }

// partOf names the job that a call is part of.
func partOf(job string) CallOption { return func(o *callOptions) { o.job = job } }

// callView is a call as its observers see it.
type callView struct {
	all  observers
	info CallInfo
	seen span
	end  sync.Once
}

// show begins the call for the observers, if there are any. The call goes on in
// the context that they return.
func (c *call) show(req *http.Request) {
	if len(c.ep.observers) == 0 {
		return
	}
	v := &callView{all: c.ep.observers, info: CallInfo{
		Method: req.Method, Path: req.URL.Path, Host: req.URL.Host,
		Route: cmp.Or(c.options.route, req.URL.Path), JobID: c.options.job, BodyBytes: req.ContentLength,
	}}
	c.Context, v.seen = openSpan(c.Context, v.all, v.info,
		func(o *Observer) func(context.Context, CallInfo) context.Context { return o.CallStart })
	c.view = v
}

// shown ends the call for the observers: status is that of the answer, 0 if
// there is none, err is why the caller does not have all of it, and read is how
// much of its body was read. It does nothing the second time.
func (c *call) shown(status int, read int64, err error) {
	v := c.view
	if v == nil {
		return
	}
	v.end.Do(func() {
		info := &v.info
		info.Status, info.WorkerID, info.Attempts = c.answer.Status, c.answer.WorkerID, len(c.attempts)
		info.AnswerBytes, info.WaitedPlace, info.WaitedCold = read, c.waitedPlace, c.waitedCold
		info.Outcome, info.Err = c.outcome(status, err), err
		if n := len(c.attempts); n > 0 {
			info.Cause = c.attempts[n-1].Cause
		}
		closeSpan(v.seen, v.all, *info, func(o *Observer) func(context.Context, CallInfo) { return o.CallEnd })
	})
}

// callShown is shown for an answer that the library reads itself.
func (c *call) callShown(resp *http.Response, r *Response, err error) {
	if c.view == nil {
		return
	}
	status, read := 0, int64(0)
	if r != nil {
		status, read = r.Status, int64(len(r.Body))
	}
	if body, ok := responseBody(resp); ok {
		read = body.read
	}
	c.shown(status, read, err)
}

// responseBody returns an answer's body if its bytes are counted.
func responseBody(resp *http.Response) (*attemptBody, bool) {
	if resp == nil {
		return nil, false
	}
	body, ok := resp.Body.(*attemptBody)
	return body, ok
}

func (c *call) outcome(status int, err error) Outcome {
	switch {
	case err != nil && c.over():
		return OutcomeCancelled
	case status == 0:
		return OutcomeFailed
	case status >= 400:
		return OutcomeRefused
	case err != nil:
		return OutcomeBroken
	}
	return OutcomeAnswered
}

// showAttempt begins an attempt for the observers, if there are any, and returns
// the context and the header that it is sent with. The header stays without a
// copy if nobody observes.
func (c *call) showAttempt(a *attempt, req *http.Request) (context.Context, http.Header) {
	if c.view == nil {
		return c, req.Header
	}
	header := req.Header.Clone()
	bearer := header["Authorization"]
	delete(header, "Authorization")
	a.info = AttemptInfo{Op: c.op, Method: req.Method, URL: withoutQuery(req.URL), Number: a.Number, Header: header}
	if n := len(c.attempts); n > 0 {
		a.info.Again = c.attempts[n-1].Cause
	}
	var ctx context.Context
	ctx, a.seen = openSpan(context.Context(c), c.view.all, a.info,
		func(o *Observer) func(context.Context, AttemptInfo) context.Context { return o.AttemptStart })
	if bearer != nil {
		header["Authorization"] = bearer
	}
	return ctx, header
}

// attemptShown ends an attempt for the observers.
func (c *call) attemptShown(a *attempt, record Attempt) {
	if c.view == nil {
		return
	}
	a.info.Header = nil // net/http may still be reading it
	closeSpan(a.seen, c.view.all, a.info, func(o *Observer) func(context.Context, AttemptInfo) {
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
