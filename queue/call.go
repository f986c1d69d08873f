package queue

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gpuburst/runpod-go"
)

// call is one call to the job API.
type call struct {
	method string
	path   string // below the base, with a query if there is one
	id     string // of the job or batch that it is about; "" for none
	body   []byte // nil for none
	opts   []runpod.CallOption
	hidden *secrets // what its errors must not show
}

// op names the call in errors, without its query.
func (c *call) op() string {
	path, _, _ := strings.Cut(c.path, "?")
	return c.method + " " + path
}

// route is the path without ids, so that observers can count calls of one kind
// together.
func (c *call) route() string {
	path, _, _ := strings.Cut(c.path, "?")
	if c.id == "" {
		return path
	}
	name := "/" + c.name()
	rest := strings.Replace(path[len(name):], "/"+url.PathEscape(c.id), "/{id}", 1)
	if strings.HasPrefix(rest, "/{id}/requests/") {
		rest = "/{id}/requests/{request}"
	}
	return name + rest
}

// name is what the service calls it: the first word of the path.
func (c *call) name() string {
	name := strings.TrimPrefix(c.path, "/")
	if i := strings.IndexAny(name, "/?"); i >= 0 {
		name = name[:i]
	}
	return name
}

// submits reports whether the call queues a job.
func (c *call) submits() bool { return c.name() == "run" || c.name() == "runsync" }

// acts reports whether the call changes anything.
func (c *call) acts() bool { return c.method != http.MethodGet || c.name() == "stream" }

// with is a reading call by GET or, repeatable all the same, by POST.
func (c call) with(post bool) call {
	if post {
		c.method = http.MethodPost
		c.opts = append([]runpod.CallOption{runpod.Idempotent()}, c.opts...)
	}
	return c
}

// mended is the error of a call in words for jobs: package runpod speaks of
// requests that a load balancer passes to workers.
func (c *call) mended(err error) error {
	e, ok := errors.AsType[*runpod.Error](err)
	if !ok || e.Field != "" {
		return about(err, c.id)
	}
	e.JobID = c.id
	e.MayHaveRun = e.MayHaveRun && c.acts()
	switch {
	case e.Kind == runpod.ErrNoWorkers && e.Status == http.StatusBadRequest:
		e.Kind = runpod.ErrBadRequest
	case e.Kind == runpod.ErrNoWorkers, e.Kind == runpod.ErrProcessingTimeout:
		e.Kind = nil // who did not answer is the API, not a worker
	}
	if e.Kind != runpod.ErrUnauthorized {
		e.Advice = advice(e, c)
	}
	return e
}

// advice says what to do about a call that failed for good.
func advice(e *runpod.Error, c *call) string {
	switch {
	case e.Kind == runpod.ErrRateLimited:
		return "call less often: the limits are the endpoint's, and other programs use them too"
	case e.Status == http.StatusNotFound && c.submits():
		return "check the endpoint's id: only queue-based endpoints have a job API, load-balancing ones are called with package runpod"
	case e.MayHaveRun && c.name() == "runsync":
		return "the job may have run: prefer Run and Wait, which find it again, if something on the way cuts long requests"
	case e.MayHaveRun && c.submits():
		return "the job may be queued: see Client.Health or its webhook before you queue it again"
	case e.MayHaveRun && c.name() == "stream":
		return "parts of the output may be lost with the answer"
	}
	return ""
}

// failed is the error of a call whose answer is of no use.
func (c *call) failed(resp *runpod.Response, err error) *runpod.Error {
	const most = 4 << 10
	e := &runpod.Error{Op: c.op(), JobID: c.id, Err: err}
	if resp != nil {
		e.Status, e.WorkerID, e.Attempts = resp.Status, resp.WorkerID, resp.Attempts
		e.Body = c.hidden.from(resp.Body)
		e.Body = e.Body[:min(len(e.Body), most)]
	}
	return e
}
