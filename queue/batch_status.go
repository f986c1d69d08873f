package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gpuburst/runpod-go"
)

// BatchState is how far a batch has come (Runpod docs, batch jobs). FINALIZED is
// the last state of a batch that goes well: its counts say whether it is done.
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
	ID    string     // names the batch; see [OpenBatch]
	State BatchState // how far it has come

	Total      int   // jobs in the batch
	InProgress int   // those that run now
	Completed  int   // those that have ended well
	Failed     int   // those that have ended otherwise
	CreatedAt  int64 // Unix milliseconds; see [BatchStatus.Created]
}

// Created is when the batch was made.
func (s BatchStatus) Created() time.Time { return time.UnixMilli(s.CreatedAt) }

// Done reports whether nothing more will come of the batch.
func (s BatchStatus) Done() bool {
	return s.State == BatchFailed || s.State == BatchCancelled || s.State == BatchFinalized && s.Completed+s.Failed >= s.Total
}

// failed is the error of waiting for a batch that will not be done, or has not
// gone well; nil for another.
func (s BatchStatus) failed(c *call) error {
	e := &runpod.Error{Op: "wait for " + c.path, JobID: c.id}
	switch s.State {
	case BatchFailed:
		e.Kind, e.Err = ErrFailed, errors.New("the batch as a whole")
	case BatchCancelled:
		e.Kind = ErrCancelled
	case BatchDraft:
		e.Kind, e.Err, e.Advice = runpod.ErrBadRequest, errors.New("the batch is a draft"), "call Finalize first"
	default:
		return nil
	}
	return e
}

// batchReport is a batch as the service shows it.
type batchReport struct {
	ID         text   `json:"id"`
	State      text   `json:"status"`
	Total      number `json:"requestTotal"`
	InProgress number `json:"requestInProgress"`
	Completed  number `json:"requestCompleted"`
	Failed     number `json:"requestFailed"`
	CreatedAt  number `json:"createdAt"`
}

// batchStatus makes a call whose answer is a batch's state; to the call that
// makes the batch, its id is enough.
func (a *api) batchStatus(ctx context.Context, c call) (BatchStatus, error) {
	var r batchReport
	if err := a.ask(ctx, c, &r); err != nil {
		return BatchStatus{}, err
	}
	makes := c.id == ""
	if makes && r.ID == "" || !makes && !State(r.State).named() {
		e := c.failed(nil, errNoBatch)
		e.MayHaveRun = makes
		return BatchStatus{}, e
	}
	return BatchStatus{
		ID: string(r.ID), State: BatchState(r.State), CreatedAt: int64(r.CreatedAt),
		Total: r.Total.int(), InProgress: r.InProgress.int(), Completed: r.Completed.int(), Failed: r.Failed.int(),
	}, nil
}

var errNoBatch = errors.New("the answer is no report of a batch")
