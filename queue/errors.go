package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/redact"
)

// The ways in which a job does not end well. An error of this package is a
// *runpod.Error that matches one of these, or one of package runpod's, with
// [errors.Is]; its JobID names the job.
var (
	// ErrFailed: the job failed. The error has a [Failure] in it, unless the
	// service gave no reason.
	ErrFailed = errors.New("the job failed")
	// ErrCancelled: somebody cancelled the job, or purged the queue.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrTimedOut: the job ran for too long, or waited for too long: see
	// Request.ExecutionTimeout and Request.TTL.
	ErrTimedOut = errors.New("the job timed out")
	// ErrExpired: the service has no such job any more, or never had one. It
	// keeps results for 30 minutes after the job's end, those of [RunSync] for 1
	// (Runpod docs). It is a [runpod.ErrNotFound] too.
	ErrExpired = fmt.Errorf("the job's result has expired, or there was no such job: %w", runpod.ErrNotFound)
)

// refuse makes the error for an argument that is wrong by itself.
func refuse(op, field, format string, args ...any) *runpod.Error {
	return &runpod.Error{Op: op, Field: field, Kind: runpod.ErrBadRequest, Err: fmt.Errorf(format, args...)}
}

// about names the job or the batch in an error.
func about(err error, id string) error {
	if e, ok := errors.AsType[*runpod.Error](err); ok && id != "" {
		e.JobID = id
	}
	return err
}

// statusOf is the HTTP status that an error came with; 0 for none.
func statusOf(err error) int {
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		return e.Status
	}
	return 0
}

// waitEnded is the error of a wait that its context ended, or that the rate
// limit foresees to outlast it.
func waitEnded(ctx context.Context, op string, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, runpod.ErrClosed):
		return &runpod.Error{Op: op, Kind: runpod.ErrClosed}
	case cause == nil:
		return &runpod.Error{Op: op, Err: fmt.Errorf("%w: %w", context.DeadlineExceeded, err)}
	case errors.Is(cause, ctx.Err()):
		return &runpod.Error{Op: op, Err: cause}
	}
	return &runpod.Error{Op: op, Err: fmt.Errorf("%w: %w", ctx.Err(), cause)}
}

// classify has the say before package runpod's table: no 400 of the job API
// means a cold start.
func classify(o runpod.Observation) (runpod.Verdict, bool) {
	return runpod.VerdictGiveUp, o.Status == http.StatusBadRequest
}

// excerpt is the beginning of a text of the service's on one line, fit for an
// error.
func excerpt(text string) string { return redact.Line([]byte(text), 1<<10) }

// lostParts reports whether parts of an output may have been lost with an
// answer.
func lostParts(err error) bool {
	e, ok := errors.AsType[*runpod.Error](err)
	return ok && e.MayHaveRun
}
