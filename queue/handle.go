package queue

import (
	"context"

	"github.com/gpuburst/runpod-go"
)

// Handle is a queued job whose output is of type Out. It is safe for concurrent
// use.
type Handle[Out any] struct {
	// ID names the job. Another process that knows it can [Open] the job.
	ID  string
	api *api
}

// Open returns a handle on a job that was queued earlier, or by somebody else.
// It sends nothing: whether there is such a job is seen at the first call.
func Open[Out any](q *Client, id string) *Handle[Out] {
	return &Handle[Out]{ID: id, api: q.inside()}
}

// job is the job without its type.
func (h *Handle[Out]) job() job {
	if h == nil {
		return job{}
	}
	return job{h.api, h.ID}
}

// Status asks once how the job is. That it failed is no error here: see the
// Result's State.
func (h *Handle[Out]) Status(ctx context.Context) (Result[Out], error) {
	j := h.job()
	c := j.get("status")
	report, err := j.report(ctx, c)
	if err != nil {
		return Result[Out]{ID: j.id}, err
	}
	return resultOf[Out](&c, &report)
}

// Cancel stops the job, whether it waits or runs. One that has ended stays as it
// is.
func (h *Handle[Out]) Cancel(ctx context.Context) error {
	j := h.job()
	c := j.post("cancel")
	c.opts = append(c.opts, runpod.Idempotent())
	return j.ask(ctx, c)
}

// Retry queues the job once more, under its id and with its input. The service
// allows it for FAILED and TIMED_OUT jobs whose result it still has.
func (h *Handle[Out]) Retry(ctx context.Context) error {
	j := h.job()
	err := j.ask(ctx, j.post("retry"))
	if err == nil {
		j.api.queued(j.id)
	}
	return err
}
