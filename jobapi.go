package runpod

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
	"golang.org/x/time/rate"
)

// jobs is the way to a queue-based endpoint's job API. It shares the Client's
// key, policy, logger and observer; its limits are the service's own.
type jobs struct {
	ep     *endpoint
	calls  *caller
	limits map[string]*jobLimit // by operation, the first word of the path
	held   atomic.Int64         // requests that the service holds until a job ends
}

// jobLimit keeps an operation within the service's rate limits, which are per
// endpoint: with several Clients on one endpoint the service's 429 has the last
// word, and is obeyed.
type jobLimit struct {
	pace *rate.Limiter
	gate *line.Gate // nil: no limit on how many at once
}

// newJobLimit takes the documented limits: so many in any 10 s, so many at once.
// A tenth may go in a burst, the rest is the pace, so that no 10 s have more.
func newJobLimit(perWindow, atOnce int) *jobLimit {
	const window = 10 // s
	burst := max(1, perWindow/10)
	l := &jobLimit{pace: rate.NewLimiter(rate.Limit(float64(perWindow-burst)/window), burst)}
	if atOnce > 0 {
		l.gate = line.NewGate(atOnce)
	}
	return l
}

func newJobs(c *config, life *lifetime) *jobs {
	own := *c
	own.endpoint = cmp.Or(c.jobsURL, jobsURLOf(c.endpoint))
	own.maxInFlight, own.admission, own.limiter = maxJobCalls, AdmissionOff, nil
	own.control, own.warm = nil, warmConfig{}
	own.classifiers = append(slices.Clip(c.classifiers), jobClassifier)
	ep := newEndpoint(&own)
	return &jobs{ep: ep, calls: &caller{ep: ep, life: life, missing: own.missingForCalls}, limits: map[string]*jobLimit{
		"run":         newJobLimit(1000, 200),
		"runsync":     newJobLimit(2000, maxJobCalls),
		"status":      newJobLimit(2000, maxJobCalls),
		"status-sync": newJobLimit(2000, maxLongPolls), // like status, where nothing is said
		"stream":      newJobLimit(2000, maxJobCalls),
		"cancel":      newJobLimit(100, 20),
		"purge-queue": newJobLimit(2, 0),
	}}
}

// maxJobCalls is the most of any operation that the service takes at once
// (Runpod docs).
const maxJobCalls = 400

// jobClassifier: no 400 of the job API means a cold start.
func jobClassifier(o Observation) (Verdict, bool) {
	return VerdictGiveUp, o.Status == http.StatusBadRequest
}

const endpointDomain = ".api.runpod.ai"

// jobsURLOf is the job API of the endpoint at this address (Runpod docs); nil
// where the address does not tell the endpoint's id.
func jobsURLOf(endpoint *url.URL) *url.URL {
	if endpoint == nil {
		return nil
	}
	id, ok := strings.CutSuffix(strings.ToLower(endpoint.Host), endpointDomain)
	if !ok || !endpointID.MatchString(id) {
		return nil
	}
	return &url.URL{Scheme: "https", Host: endpointDomain[1:], Path: "/v2/" + id}
}

// WithJobsURL names the job API, the endpoint's id included, where it cannot be
// told from [WithEndpoint]. Default: https://api.runpod.ai/v2/ENDPOINT_ID (Runpod
// docs) for an endpoint given by its id, or at https://ENDPOINT_ID.api.runpod.ai.
func WithJobsURL(url string) Option {
	return func(c *config) (err error) {
		c.jobsURL, err = parseURL("WithJobsURL", url)
		return err
	}
}

// call makes one call of the job API, within its rate limits.
func (c *Client) callJobs(ctx context.Context, method, path string, body []byte, out any, opts ...CallOption) error {
	op := operationName(method, path)
	switch {
	case c.jobs.ep.base == nil:
		return refuse(op, "job API", "its address cannot be told: use WithEndpoint with the endpoint's id, or WithJobsURL")
	case c.config.apiKey == "":
		return refuse(op, "API key", "it is not set: use WithAPIKey, or RUNPOD_API_KEY")
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, _, _ = strings.Cut(name, "?")
	leave, err := c.enterJobs(ctx, op, c.jobs.limits[name])
	if err != nil {
		return err
	}
	defer leave()
	var in any
	if body != nil {
		in = body
	}
	_, err = c.jobs.calls.call(ctx, method, path, in, out, opts)
	return err
}

// enterJobs waits until a call is within its limit; leave is the call's end.
func (c *Client) enterJobs(ctx context.Context, op string, l *jobLimit) (leave func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	o, err := c.life.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	if err := l.pace.Wait(o); err != nil {
		return nil, waitEnded(o, op, err)
	}
	if l.gate == nil {
		return func() {}, nil
	}
	if err := l.gate.Acquire(o); err != nil {
		return nil, waitEnded(o, op, err)
	}
	return l.gate.Release, nil
}

// waitEnded is the error of a wait for the rate limit, which foresees what the
// deadline makes pointless.
func waitEnded(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, op)
	}
	return &Error{Op: op, Err: errors.Join(context.DeadlineExceeded, err)}
}

// pollPause is the time between looks at a job that is not done: the 1st, 2nd,
// ... that found nothing new. By default it grows from 0.5 s to 5 s.
func (p RetryPolicy) pollPause(nothing int) time.Duration {
	pause := p.BaseBackoff / 2
	for range min(nothing, 20) {
		pause += pause / 2
	}
	return min(pause, p.MaxBackoff/4)
}

// Health is what the service says of an endpoint (Runpod docs; for
// load-balancing endpoints, where only the workers mean something, reported by
// users).
type Health struct {
	Jobs struct {
		Completed  int `json:"completed"`
		Failed     int `json:"failed"`
		InProgress int `json:"inProgress"`
		InQueue    int `json:"inQueue"`
		Retried    int `json:"retried"`
	} `json:"jobs"`
	Workers struct {
		Idle         int `json:"idle"`
		Initializing int `json:"initializing"`
		Ready        int `json:"ready"`
		Running      int `json:"running"`
		Throttled    int `json:"throttled"`
		Unhealthy    int `json:"unhealthy"`
	} `json:"workers"`
}

// Health asks how the endpoint's queue and workers are. It wakes no worker.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	err = c.callJobs(ctx, http.MethodGet, "/health", nil, &h)
	return h, err
}

// PurgeQueue removes every job that waits in the endpoint's queue, whoever sent
// it, and says how many there were. Jobs in progress go on. The service takes it
// twice in 10 s.
func (c *Client) PurgeQueue(ctx context.Context) (removed int, err error) {
	var out struct {
		Removed int `json:"removed"`
	}
	err = c.callJobs(ctx, http.MethodPost, "/purge-queue", nil, &out)
	return out.Removed, err
}
