package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/gpuburst/runpod-go"
)

// Batch is a collection of jobs that run when there is room, on workers of their
// own, and may take hours (Runpod docs, batch jobs, beta). It is safe for
// concurrent use.
type Batch[Out any] struct {
	// ID names the batch. Another process that knows it can open the batch with
	// [OpenBatch].
	ID  string
	api *api
}

// NewBatch makes a batch with these requests, at most 5,000, in as many calls as
// their size needs (10 MiB each). Nothing runs before [Batch.Finalize]. If it
// fails half way, the batch is returned with the error.
//
// Results come in an order of the service's: put an id of your own into each
// input, and have the worker return it.
func NewBatch[Out any](ctx context.Context, q *Client, requests ...Request) (*Batch[Out], error) {
	api := q.inside()
	c := api.post("/batch", "")
	if len(requests) > maxBatch {
		return nil, refuse(c.op(), "requests", "%d: a batch takes at most %d", len(requests), maxBatch)
	}
	pages, err := paginate(c.op(), requests, pageRoom)
	if err != nil {
		return nil, err
	}
	if c.body, err = json.Marshal(pages[0]); err != nil {
		return nil, refuse(c.op(), "requests", "%w", err)
	}
	api.hide(requests...)
	status, err := api.batchStatus(ctx, c)
	if err != nil {
		return nil, err
	}
	b := OpenBatch[Out](q, status.ID)
	return b, b.add(ctx, pages[1:])
}

// OpenBatch returns a handle on a batch that exists. It sends nothing.
func OpenBatch[Out any](q *Client, id string) *Batch[Out] {
	return &Batch[Out]{ID: id, api: q.inside()}
}

// Add puts more requests into a batch that is still a draft.
func (b *Batch[Out]) Add(ctx context.Context, requests ...Request) error {
	c := b.call(http.MethodPost, "/requests")
	if err := b.check(ctx, &c); err != nil {
		return err
	}
	pages, err := paginate(c.op(), requests, pageRoom)
	if err != nil {
		return err
	}
	b.api.hide(requests...)
	return b.add(ctx, pages)
}

func (b *Batch[Out]) add(ctx context.Context, pages [][]json.RawMessage) error {
	for _, page := range pages {
		if len(page) == 0 {
			continue
		}
		c := b.call(http.MethodPost, "/requests")
		var err error
		if c.body, err = json.Marshal(map[string]any{"requests": page}); err != nil {
			return refuse(c.op(), "requests", "%w", err)
		}
		if err := b.ask(ctx, c, nil); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes a request out of a batch that is still a draft, by its id, which
// [Batch.Results] has for drafts too.
func (b *Batch[Out]) Remove(ctx context.Context, requestID string) error {
	c := b.call(http.MethodDelete, "/requests/"+url.PathEscape(requestID))
	if err := b.check(ctx, &c); err != nil {
		return err
	}
	if requestID == "" {
		return refuse(c.op(), "request id", "it is empty")
	}
	err := b.ask(ctx, c, nil)
	if e, ok := errors.AsType[*runpod.Error](err); ok && e.Status == http.StatusNotFound && e.MayHaveRun {
		return nil // removed by an attempt whose answer was lost
	}
	return err
}

// Finalize lets the batch run. Nothing can be added any more.
func (b *Batch[Out]) Finalize(ctx context.Context) error {
	return b.ask(ctx, b.call(http.MethodPost, "/finalize"), nil)
}

// Cancel stops the jobs that wait; those in progress end by themselves, and are
// billed.
func (b *Batch[Out]) Cancel(ctx context.Context) error {
	c := b.call(http.MethodPost, "/cancel")
	c.opts = append(c.opts, runpod.Idempotent())
	return b.ask(ctx, c, nil)
}

// Status asks how the batch is.
func (b *Batch[Out]) Status(ctx context.Context) (BatchStatus, error) {
	c := b.call(http.MethodGet, "")
	if err := b.check(ctx, &c); err != nil {
		return BatchStatus{}, err
	}
	return b.api.batchStatus(ctx, c)
}

// Wait looks at the batch until it is done: at first after 3 s, at last every
// 30 s. That jobs in it failed is no error; that the batch did, or was
// cancelled, is [ErrFailed] or [ErrCancelled]. Answers that say nothing of the
// batch are lived through as [Handle.Wait] does it.
func (b *Batch[Out]) Wait(ctx context.Context) (last BatchStatus, err error) {
	c := b.call(http.MethodGet, "")
	if err := b.check(ctx, &c); err != nil {
		return last, err
	}
	var streak streak
	for looks := 0; ; looks++ {
		asked := time.Now()
		status, err := b.api.batchStatus(ctx, c)
		if err := streak.ends(err, asked, time.Now(), b.api.policy.GiveUp); err != nil {
			return last, err
		}
		if err == nil {
			last = status
		}
		if err := last.failed(&c); err != nil || last.Done() {
			return last, err
		}
		for range batchPauses {
			if err := b.api.pause(ctx, &c, looks); err != nil {
				return last, err
			}
		}
	}
}

// batchPauses is how many times rarer batches are looked at than jobs: they may
// take hours.
const batchPauses = 6

// Results returns the batch's jobs with their results, page by page as the loop
// goes on, failed ones too: see each one's State. A round whose Result has an ID
// and that has an error is about that job, whose output is not of type Out for
// instance, and the others follow. An error with an empty Result is the end.
func (b *Batch[Out]) Results(ctx context.Context) iter.Seq2[Result[Out], error] {
	return func(yield func(Result[Out], error) bool) {
		for offset := 0; ; {
			c := b.call(http.MethodGet, fmt.Sprintf("/requests?offset=%d&limit=%d", offset, batchPage))
			page, more, err := b.page(ctx, c)
			if err != nil {
				yield(Result[Out]{}, err)
				return
			}
			for i := range page {
				c.id = string(page[i].ID)
				if !yield(resultOf[Out](&c, &page[i])) {
					return
				}
			}
			if offset += len(page); !more {
				return
			}
		}
	}
}

// page asks for some of the batch's jobs; more says that there are others behind
// them.
func (b *Batch[Out]) page(ctx context.Context, c call) (page []report, more bool, err error) {
	var answer struct {
		Requests []report `json:"requests"`
		HasMore  bool     `json:"hasMore"`
	}
	if err := b.ask(ctx, c, &answer); err != nil {
		return nil, false, err
	}
	if answer.Requests == nil {
		return nil, false, c.failed(nil, errNoBatch)
	}
	for i := range answer.Requests {
		answer.Requests[i].Failure = answer.Requests[i].Failure.from(c.hidden)
	}
	return answer.Requests, answer.HasMore && len(answer.Requests) > 0, nil
}

// call makes a call about the batch.
func (b *Batch[Out]) call(method, path string) call {
	if b == nil {
		return call{method: method, path: "/batch"}
	}
	return b.api.call(method, "/batch/"+url.PathEscape(b.ID)+path, b.ID)
}

func (b *Batch[Out]) check(ctx context.Context, c *call) error {
	var a *api
	if b != nil {
		a = b.api
	}
	if err := a.usable(ctx, c); err != nil {
		return err
	}
	if b.ID == "" {
		return refuse(c.op(), "batch id", "it is empty")
	}
	return nil
}

// ask makes a call about the batch, and reads its answer into out; nil: the
// answer says no more than that it is done.
func (b *Batch[Out]) ask(ctx context.Context, c call, out any) error {
	if err := b.check(ctx, &c); err != nil {
		return err
	}
	return b.api.ask(ctx, c, out)
}
