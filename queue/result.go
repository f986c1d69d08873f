package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/gpuburst/runpod-go"
)

// Result is what the service says of a job. Times are the service's. It is a
// plain value.
type Result[Out any] struct {
	ID    string // names the job; see [Open]
	State State  // how far the job has come

	// Output is the job's output once the job has ended; the zero value before
	// that, and if there is none.
	Output Out
	// Progress is what the worker has last reported of a job that has not ended;
	// nil if it has reported nothing (reported by users: progress updates stand
	// where the output will be).
	Progress json.RawMessage
	// Failure says why the job failed; nil if the service gives no reason.
	Failure *Failure

	Delay     time.Duration // how long the job waited in the queue
	Execution time.Duration // how long it ran
	Retries   int           // how often the service has queued it again
	WorkerID  string        // the worker that ran it; "" if none is named
}

// ErrNoOutput: a job has completed without an output, and its type, such as a
// struct or a string, cannot show that there is none. The Result is returned
// with the error. For jobs that may return nothing, use a type that can be nil
// (a pointer, any, [json.RawMessage]), or struct{} if they always do.
var ErrNoOutput = errors.New("the job completed without an output")

// resultOf returns a report with its output in the caller's type.
func resultOf[Out any](c *call, r *report) (Result[Out], error) {
	result := Result[Out]{
		ID: string(r.ID), State: r.state(), Failure: r.Failure, Retries: r.Retries.int(), WorkerID: string(r.WorkerID),
		Delay: r.Delay.milliseconds(), Execution: r.Took.milliseconds(),
	}
	if result.ID == "" {
		result.ID = c.id
	}
	switch {
	case !result.State.Final():
		if !isNull(r.Output) {
			result.Progress = r.Output
		}
		return result, nil
	case result.State != StateCompleted: // an output beside a failure is a bonus
		_ = decode(c, r, &result.Output)
		return result, nil
	case isNull(r.Output) && !canBeNil[Out]():
		return result, &runpod.Error{Op: c.op(), JobID: result.ID, WorkerID: result.WorkerID, Err: ErrNoOutput}
	}
	return result, decode(c, r, &result.Output)
}

// decode reads a report's output into out, or leaves the zero value.
func decode[Out any](c *call, r *report, out *Out) error {
	if isNull(r.Output) {
		return nil
	}
	var got Out
	if err := json.Unmarshal(r.Output, &got); err != nil {
		e := c.failed(&runpod.Response{Body: r.Output}, fmt.Errorf("the job's output is not of the type that was asked for, %T: %w", got, err))
		e.WorkerID = string(r.WorkerID)
		return e
	}
	*out = got
	return nil
}

func isNull(output json.RawMessage) bool {
	return len(output) == 0 || bytes.Equal(output, []byte("null"))
}

// canBeNil reports whether a value of the type can show that there is none.
func canBeNil[Out any]() bool {
	switch t := reflect.TypeFor[Out](); t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return true
	default:
		return t.Size() == 0
	}
}

// ending is the result of a job that has ended, with an error if it did not end
// well.
func ending[Out any](c *call, r *report) (Result[Out], error) {
	result, err := resultOf[Out](c, r)
	if failed := r.failed(c); failed != nil {
		err = failed
	}
	return result, err
}

// failed is the error of a job that has ended without success; nil for another.
func (r *report) failed(c *call) error {
	e := &runpod.Error{Op: c.op(), JobID: c.id, WorkerID: string(r.WorkerID)}
	if r.ID != "" {
		e.JobID = string(r.ID)
	}
	switch r.state() {
	case StateFailed:
		e.Kind = ErrFailed
	case StateCancelled:
		e.Kind = ErrCancelled
	case StateTimedOut:
		e.Kind, e.Advice = ErrTimedOut, "give it more time: Request.ExecutionTimeout, or Request.TTL if it was never started"
	default:
		return nil
	}
	if r.Failure != nil {
		e.Err = r.Failure
	}
	return e
}
