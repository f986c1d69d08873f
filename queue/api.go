package queue

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/backoff"
)

// api makes the calls of one endpoint's job API, within its rate limits. A nil
// api refuses them.
type api struct {
	calls  *runpod.Client
	policy runpod.RetryPolicy
	life   *life
	limits limits
	held   atomic.Int64 // requests that the service holds until a job ends
	recent recent
	hidden *secrets
	posts  [2]atomic.Bool // which of readOnly the service takes by POST only
}

func newAPI(base string, opts []runpod.Option) (*api, error) {
	calls, err := runpod.New(options(base, opts)...)
	if err != nil {
		return nil, err
	}
	return &api{calls: calls, policy: calls.RetryPolicy(), life: newLife(), limits: newLimits(), hidden: newSecrets(calls)}, nil
}

// options returns what the Client beneath is made of: the caller's options
// between the defaults that they may change and what they may not.
func options(base string, callers []runpod.Option) []runpod.Option {
	before := []runpod.Option{runpod.WithMaxInFlight(maxInFlight), runpod.WithAdmission(runpod.AdmissionFixed)}
	after := []runpod.Option{runpod.WithEndpoint(base), runpod.WithClassifier(classify), runpod.WithKeepWarm(0)}
	return slices.Concat(before, callers, after)
}

func (a *api) close() error {
	a.life.close()
	err := a.calls.Close()
	a.life.waits.Wait()
	return err
}

// hide keeps the secrets of requests that are about to be sent out of errors.
func (a *api) hide(requests ...Request) {
	if a != nil {
		a.hidden.add(requests...)
	}
}

// get and post make calls without a body.
func (a *api) get(path, id string) call  { return a.call(http.MethodGet, path, id) }
func (a *api) post(path, id string) call { return a.call(http.MethodPost, path, id) }

// call makes a call that is sent again if its method allows that, unless options
// are added that say otherwise.
func (a *api) call(method, path, id string) call {
	c := call{method: method, path: path, id: id}
	if method == http.MethodPost {
		c.opts = []runpod.CallOption{runpod.NotIdempotent()}
	}
	if a != nil {
		c.hidden = a.hidden
	}
	return c
}

// usable returns an error if there is no Client to make a call with, or no
// context.
func (a *api) usable(ctx context.Context, c *call) error {
	switch {
	case a == nil:
		return refuse(c.op(), "queue.Client", "it was not made by queue.New")
	case ctx == nil:
		return refuse(c.op(), "ctx", "it is nil")
	}
	return nil
}

// send makes a call and returns the service's answer, which is a 2xx.
func (a *api) send(ctx context.Context, c call) (*runpod.Response, error) {
	if err := a.usable(ctx, &c); err != nil {
		return nil, err
	}
	limit := a.limits[c.name()]
	if err := a.life.during(ctx, c.op(), limit.enter); err != nil {
		return nil, about(err, c.id)
	}
	defer limit.leave()
	resp, err := a.exchange(ctx, c)
	if err != nil {
		return nil, c.mended(err)
	}
	return resp, nil
}

// readOnly are the calls that change nothing and that Runpod's local development
// server takes by POST only (reported by users). The docs say GET.
var readOnly = [...]string{"status", "stream"}

// exchange sends a call by its documented method, or by the one that the service
// was found to take.
func (a *api) exchange(ctx context.Context, c call) (*runpod.Response, error) {
	for i, name := range readOnly {
		if c.name() == name && c.method == http.MethodGet {
			return a.byEither(ctx, c, &a.posts[i])
		}
	}
	return a.by(ctx, c)
}

// byEither sends a call that is documented as a GET; after a 405 it tries the
// other method, and stays with it if that one is taken.
func (a *api) byEither(ctx context.Context, c call, posts *atomic.Bool) (*runpod.Response, error) {
	posted := posts.Load()
	resp, err := a.by(ctx, c.with(posted))
	if statusOf(err) != http.StatusMethodNotAllowed {
		return resp, err
	}
	again, err2 := a.by(ctx, c.with(!posted))
	if statusOf(err2) == http.StatusMethodNotAllowed {
		return nil, err
	}
	posts.Store(!posted)
	return again, err2
}

// by sends a call by the method that it has.
func (a *api) by(ctx context.Context, c call) (*runpod.Response, error) {
	var body any
	if c.body != nil {
		body = c.body
	}
	opts := append(c.opts, runpod.Route(c.route()), runpod.Secret(a.hidden.list()...))
	return a.calls.Call(ctx, c.method, c.path, body, nil, opts...)
}

// queued notes that a job was queued now.
func (a *api) queued(id string) { a.recent.note(id, time.Now(), a.settling()) }

// settling is how long a job that was queued may be unknown to the service: 30 s
// with the default policy.
func (a *api) settling() time.Duration { return a.policy.MaxBackoff * 3 / 2 }

// pause waits until a job or a batch is to be looked at again, after so many
// looks that found nothing new.
func (a *api) pause(ctx context.Context, c *call, looks int) error {
	return about(a.life.during(ctx, "wait for "+c.path, func(ctx context.Context) error {
		return backoff.Sleep(ctx, pollPause(a.policy, looks))
	}), c.id)
}

// pollPause is the time between looks at a job that is not done. By default it
// grows from 0.5 s to 5 s.
func pollPause(p runpod.RetryPolicy, looks int) time.Duration {
	pause := p.BaseBackoff / 2
	for range min(looks, 20) {
		pause += pause / 2
	}
	return min(pause, p.MaxBackoff/4)
}
