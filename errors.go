package runpod

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/internal/redact"
)

// The kinds of failure a caller may want to act on. An *Error matches its
// kind with [errors.Is].
var (
	// ErrNoWorkers: no worker took the request within [RetryPolicy.GiveUp].
	// Nothing ran. Check the endpoint's maximum workers and its GPUs' availability,
	// then try again.
	ErrNoWorkers = errors.New("no worker took the request")
	// ErrBadRequest: the request itself is wrong. Either this library refused it
	// before sending, and Error.Field says why, or a worker did, with a 400, a 422
	// or another status of its own. Sending it again does not help.
	ErrBadRequest = errors.New("bad request")
	// ErrUnauthorized: the API key or the S3 credentials were refused.
	ErrUnauthorized = errors.New("not authorized")
	// ErrNotFound: there is no such endpoint, path or object, or the worker
	// that a request was pinned to is gone.
	ErrNotFound = errors.New("not found")
	// ErrWorkerGone: the worker that a session or a request insists on is gone.
	// It is an ErrNotFound too. Nothing ran.
	ErrWorkerGone = fmt.Errorf("the worker is gone: %w", ErrNotFound)
	// ErrTooLarge: a body is larger than the service takes, 30 MB a request
	// and 4 TB a stored object (Runpod docs).
	ErrTooLarge = errors.New("too large")
	// ErrRateLimited: the service kept answering 429.
	ErrRateLimited = errors.New("rate limited")
	// ErrProcessingTimeout: a worker had the request for longer than the
	// service allows, 5.5 minutes. It has run, perhaps to its end.
	ErrProcessingTimeout = errors.New("processing took too long")
	// ErrVolumeFull: the network volume has no room or its quota is used up.
	ErrVolumeFull = errors.New("network volume is full")
	// ErrIntegrity: what arrived is not what was sent.
	ErrIntegrity = errors.New("data arrived damaged")
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("client is closed")
	// ErrCapReached: what wakes and holds may cost is used up; see
	// [WithMaxWorkerSeconds]. Calls go on.
	ErrCapReached = errors.New("the cap of worker-seconds is reached")
)

// Error is the type of every error that this package returns; get it with
// [errors.AsType]. It is a plain value, safe to read from several goroutines.
type Error struct {
	// Op is what was being done, to what: "POST /api/v1/tryon", "upload a.png".
	Op string
	// JobID names the job that the operation was part of: a [Job] of Run or RunAll,
	// or a job or batch of package queue. "" for other operations.
	JobID string
	// Kind is one of the Err... values of this package, or nil if none fits.
	Kind error
	// Field names the option, field or argument that was refused before any
	// traffic; "" if the failure came later.
	Field string
	// Status and WorkerID are those of the last answer: 0 if there was none, "" if
	// it named no worker.
	Status   int
	WorkerID string
	// Attempts lists every attempt, in order.
	Attempts []Attempt
	// Body is the beginning of the last answer's body, at most 4 KiB.
	Body []byte
	// MayHaveRun reports that a worker may have carried out the request, once
	// or in part, although no answer came back.
	MayHaveRun bool
	// Advice says what to do about it, in a sentence.
	Advice string
	// Err is the cause: the context's error, the transport's, the S3 client's.
	Err error
}

// Error says what happened, to what, after how many attempts, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("runpod: ")
	if e.JobID != "" {
		fmt.Fprintf(&b, "job %q: ", e.JobID)
	}
	b.WriteString(e.Op)
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	if e.Kind != nil && e.Field == "" {
		b.WriteString(": " + e.Kind.Error())
	}
	if n := len(e.Attempts); n > 0 {
		fmt.Fprintf(&b, " (%s, %s)", plural(n, "attempt"), e.elapsed().Round(time.Millisecond))
	}
	if e.Status != 0 {
		b.WriteString(": status " + strconv.Itoa(e.Status))
	}
	if e.WorkerID != "" {
		b.WriteString(" from worker " + e.WorkerID)
	}
	if text := redact.Line(e.Body, maxExcerpt); text != "" {
		b.WriteString(": " + text)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.MayHaveRun {
		b.WriteString("; the request may have run")
	}
	if e.Advice != "" {
		b.WriteString("; " + e.Advice)
	}
	return b.String()
}

// Unwrap returns the kind and the cause, for [errors.Is] and [errors.As].
func (e *Error) Unwrap() []error {
	all := make([]error, 0, 2)
	if e.Kind != nil {
		all = append(all, e.Kind)
	}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// elapsed is the time from the first attempt's sending to the last one's end.
func (e *Error) elapsed() time.Duration {
	first, last := e.Attempts[0], e.Attempts[len(e.Attempts)-1]
	return last.Start.Add(last.Duration).Sub(first.Start)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// maxExcerpt is how much an error's text has of what a server sent, in bytes.
const maxExcerpt = 300

// refuse makes the error for an argument that is wrong by itself.
func refuse(op, field, format string, args ...any) *Error {
	return &Error{Op: op, Field: field, Kind: ErrBadRequest, Err: fmt.Errorf(format, args...)}
}

// ended makes the error for an operation whose context has ended: closing the
// Client ends it too, and then that is the kind.
func ended(ctx context.Context, op string) *Error {
	e := &Error{Op: op, Err: context.Cause(ctx)}
	if errors.Is(e.Err, ErrClosed) {
		e.Kind, e.Err = ErrClosed, nil
	} else if ctx.Err() != nil && !errors.Is(e.Err, ctx.Err()) {
		e.Err = errors.Join(ctx.Err(), e.Err)
	}
	return e
}

// asError makes an *Error of any error.
func asError(op string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Err: err}
}

// without returns an error without secrets in its text. The error that it hides
// is still found by [errors.Is] and [errors.As].
func without(secrets *redact.Secrets, err error) error {
	if err == nil || !secrets.In(err.Error()) {
		return err
	}
	return &hiddenError{secrets.String(err.Error()), err}
}

// asLine returns an error whose text may be a server's, as one line without
// secrets. Most errors are one already.
func asLine(secrets *redact.Secrets, err error) error {
	text := err.Error()
	line := secrets.Line([]byte(text), maxErrorText)
	if line == text {
		return err
	}
	return &hiddenError{line, err}
}

// maxErrorText is how long the text of an error of net/http's may be, which quotes
// a server that does not speak HTTP.
const maxErrorText = 1 << 10

// hiddenError stands for an error that is not to be seen as it is.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string        { return e.text }
func (e *hiddenError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *hiddenError) As(target any) bool   { return errors.As(e.err, target) }
