package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// The limits of batches (Runpod docs, batch jobs, beta).
const (
	maxBatch     = 5000
	maxBatchBody = 10 << 20
	batchPage    = 200
)

// BatchState is how far a batch has come (Runpod docs). FINALIZED is the last
// one of a batch that goes well: that it is done is said by its counts.
type BatchState string

// The states of a batch.
const (
	BatchDraft     BatchState = "DRAFT"
	BatchFinalized BatchState = "FINALIZED"
	BatchFailed    BatchState = "FAILED"
	BatchCancelled BatchState = "CANCELLED"
)

// BatchStatus is what the service says of a batch.
type BatchStatus struct {
	ID         string     `json:"id"`
	State      BatchState `json:"status"`
	Total      int        `json:"requestTotal"`
	InProgress int        `json:"requestInProgress"`
	Completed  int        `json:"requestCompleted"`
	Failed     int        `json:"requestFailed"`
	CreatedAt  int64      `json:"createdAt"` // Unix milliseconds
}

// Done reports whether nothing more will come of the batch.
func (s BatchStatus) Done() bool {
	return s.State == BatchFailed || s.State == BatchCancelled || s.State == BatchFinalized && s.Completed+s.Failed >= s.Total
}

// Batch is a collection of jobs that run when there is room, on workers of their
// own, and may take hours (Runpod docs, batch jobs, beta). It is safe for
// concurrent use.
type Batch[Out any] struct {
	ID string
	c  *Client
}

// NewBatch makes a batch with these requests, in as many calls as their size
// wants (10 MiB each). Nothing runs before [Batch.Finalize]. Where it fails half
// way the batch is given with the error. A batch takes 5,000 requests. Their
// results come in an order of the service's: put an id of your own into each
// input, and have the worker give it back.
func NewBatch[Out any](ctx context.Context, c *Client, requests ...JobRequest) (*Batch[Out], error) {
	const op = "POST /batch"
	if len(requests) > maxBatch {
		return nil, refuse(op, "requests", "%d: a batch takes at most %d", len(requests), maxBatch)
	}
	pages, err := paginate(op, requests)
	if err != nil {
		return nil, err
	}
	first := []json.RawMessage{}
	if len(pages) > 0 {
		first, pages = pages[0], pages[1:]
	}
	body, err := json.Marshal(first)
	if err != nil {
		return nil, asError(op, err)
	}
	var made BatchStatus
	if err := c.callJobs(ctx, http.MethodPost, "/batch", body, &made); err != nil {
		return nil, hideSecrets(err, requests...)
	}
	if made.ID == "" {
		return nil, &Error{Op: op, Err: errors.New("the answer has no batch id"), MayHaveRun: true}
	}
	b := OpenBatch[Out](c, made.ID)
	return b, hideSecrets(b.add(ctx, pages), requests...)
}

// OpenBatch gives a handle on a batch that exists. Nothing is sent.
func OpenBatch[Out any](c *Client, id string) *Batch[Out] { return &Batch[Out]{ID: id, c: c} }

// paginate encodes requests, in groups that fit into a call.
func paginate(op string, requests []JobRequest) (pages [][]json.RawMessage, err error) {
	room := 0
	for i := range requests {
		data, err := requests[i].encode(op, maxRun)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); ok {
				e.Field = fmt.Sprintf("requests[%d].%s", i, e.Field)
			}
			return nil, err
		}
		if room -= len(data) + 1; room < 0 || len(pages) == 0 {
			pages, room = append(pages, nil), maxBatchBody-len(data)-64 // what stands around them
		}
		pages[len(pages)-1] = append(pages[len(pages)-1], data)
	}
	return pages, nil
}

// Add puts more requests into a batch that is still a draft.
func (b *Batch[Out]) Add(ctx context.Context, requests ...JobRequest) error {
	pages, err := paginate("POST "+b.path("/requests"), requests)
	if err != nil {
		return err
	}
	return hideSecrets(b.add(ctx, pages), requests...)
}

func (b *Batch[Out]) add(ctx context.Context, pages [][]json.RawMessage) error {
	for _, page := range pages {
		body, err := json.Marshal(map[string]any{"requests": page})
		if err != nil {
			return asError(b.path("/requests"), err)
		}
		if err := b.call(ctx, http.MethodPost, "/requests", body, nil); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes a request out of a batch that is still a draft, by its id, which
// [Batch.Results] has for drafts too.
func (b *Batch[Out]) Remove(ctx context.Context, requestID string) error {
	if requestID == "" {
		return refuse("DELETE "+b.path("/requests"), "request id", "it is empty")
	}
	err := b.call(ctx, http.MethodDelete, "/requests/"+url.PathEscape(requestID), nil, nil)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrNotFound && e.MayHaveRun {
		return nil // removed by an attempt whose answer was lost
	}
	return err
}

// Finalize lets the batch run. Nothing can be added any more.
func (b *Batch[Out]) Finalize(ctx context.Context) error {
	return b.call(ctx, http.MethodPost, "/finalize", nil, nil)
}

// Cancel stops the jobs that wait; those in progress end by themselves, and are
// billed.
func (b *Batch[Out]) Cancel(ctx context.Context) error {
	return b.call(ctx, http.MethodPost, "/cancel", nil, nil, Idempotent())
}

// Status asks how the batch is.
func (b *Batch[Out]) Status(ctx context.Context) (status BatchStatus, err error) {
	err = b.call(ctx, http.MethodGet, "", nil, &status)
	return status, err
}

// batchPauses is how many times rarer batches are looked at than jobs: they may
// take hours.
const batchPauses = 6

// Wait looks at the batch until it is done: at first after 3 s, at last every
// 30 s. That jobs in it failed is no error; that the batch did, or was
// cancelled, is [ErrJobFailed] or [ErrJobCancelled].
func (b *Batch[Out]) Wait(ctx context.Context) (BatchStatus, error) {
	op := "wait for " + b.path("")
	for looks := 0; ; looks++ {
		status, err := b.Status(ctx)
		switch {
		case err != nil:
			return status, err
		case status.State == BatchFailed:
			return status, &Error{Op: op, JobID: b.ID, Kind: ErrJobFailed, Err: errors.New("the batch as a whole")}
		case status.State == BatchCancelled:
			return status, &Error{Op: op, JobID: b.ID, Kind: ErrJobCancelled}
		case status.State == BatchDraft:
			return status, &Error{Op: op, JobID: b.ID, Kind: ErrBadRequest, Err: errors.New("the batch is a draft"), Advice: "call Finalize first"}
		case status.Done():
			return status, nil
		}
		for range batchPauses {
			if err := b.c.pausePolling(ctx, op, b.ID, looks); err != nil {
				return status, err
			}
		}
	}
}

// Results gives the batch's jobs with their results, page by page as the loop
// goes on, failed ones too: see each one's State. The last round has the error,
// if there is one.
func (b *Batch[Out]) Results(ctx context.Context) iter.Seq2[JobResult[Out], error] {
	return func(yield func(JobResult[Out], error) bool) {
		for offset := 0; ; {
			var page struct {
				Requests []jobReport `json:"requests"`
				HasMore  bool        `json:"hasMore"`
			}
			call := fmt.Sprintf("/requests?offset=%d&limit=%d", offset, batchPage)
			if err := b.call(ctx, http.MethodGet, call, nil, &page); err != nil {
				yield(JobResult[Out]{}, err)
				return
			}
			for i := range page.Requests {
				if result, err := resultOf[Out]("GET "+b.path("/requests"), &page.Requests[i]); !yield(result, err) || err != nil {
					return
				}
			}
			if offset += len(page.Requests); !page.HasMore || len(page.Requests) == 0 {
				return
			}
		}
	}
}

// Batches gives the endpoint's batches, the newest first, drafts too. What the
// service says around them is not documented: a bare list is read, a list among
// other fields, and pages where it says that there are more. The last round has
// the error, if there is one.
func (c *Client) Batches(ctx context.Context) iter.Seq2[BatchStatus, error] {
	return func(yield func(BatchStatus, error) bool) {
		seen := map[string]bool{}
		for offset := 0; ; {
			var page batchList
			if err := c.callJobs(ctx, http.MethodGet, fmt.Sprintf("/batch?offset=%d&limit=%d", offset, batchPage), nil, &page); err != nil {
				yield(BatchStatus{}, err)
				return
			}
			before := len(seen)
			for _, status := range page.batches { // a batch that was made meanwhile moves the others on
				if !seen[status.ID] && !yield(status, nil) {
					return
				}
				seen[status.ID] = true
			}
			if offset += len(page.batches); !page.more || len(seen) == before {
				return
			}
		}
	}
}

// batchList is a page of batches.
type batchList struct {
	batches []BatchStatus
	more    bool
}

// UnmarshalJSON takes an array, or an object that has just one.
func (l *batchList) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return json.Unmarshal(data, &l.batches)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	lists, nulls := 0, 0 // an empty list may be null
	for name, value := range fields {
		switch {
		case name == "hasMore":
			if err := json.Unmarshal(value, &l.more); err != nil {
				return err
			}
		case value[0] == 'n':
			nulls++
		case value[0] == '[':
			lists++
			if err := json.Unmarshal(value, &l.batches); err != nil {
				return err
			}
		}
	}
	if lists > 1 || lists+nulls == 0 {
		return fmt.Errorf("want one list of batches, there are %d", lists)
	}
	return nil
}

// Created is when the batch was made.
func (s BatchStatus) Created() time.Time { return time.UnixMilli(s.CreatedAt) }

func (b *Batch[Out]) path(call string) string { return "/batch/" + url.PathEscape(b.ID) + call }

// call makes a call about the batch.
func (b *Batch[Out]) call(ctx context.Context, method, call string, body []byte, out any, opts ...CallOption) error {
	if b.ID == "" {
		return refuse(method+" /batch", "batch id", "it is empty")
	}
	return aboutJob(b.c.callJobs(ctx, method, b.path(call), body, out, opts...), b.ID)
}
