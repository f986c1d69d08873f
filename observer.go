package runpod

import (
	"context"
	"net/http"
	"time"
)

// Observer is called around everything that a Client does, for tracing and
// metrics: see module runpod-go/otelrunpod, which most programs should use.
// Functions that are nil are skipped. Several observers are called in the order
// in which they were added, see [WithObserver].
//
// Each start returns the context of what lies within, which must be derived from
// ctx, so that spans nest: jobs have transfers and calls in them, transfers have
// S3 attempts, calls have attempts. Its end gets the context that this
// observer's own start returned, or the one that it was given if it has none.
// The functions run on the goroutine of what they observe, before it goes on, and
// for many at the same time: they must be safe for concurrent use and should
// return quickly. A panic in one ends what it observes, as a panic of the caller's
// own would.
type Observer struct {
	// JobStart and JobEnd are called around one round trip of Run or RunAll.
	JobStart func(ctx context.Context, info JobInfo) context.Context
	JobEnd   func(ctx context.Context, info JobInfo, result Result, err error)
	// TransferStart and TransferEnd are called around one upload, download,
	// deletion or page of a listing.
	TransferStart func(ctx context.Context, info TransferInfo) context.Context
	TransferEnd   func(ctx context.Context, info TransferInfo)
	// CallStart and CallEnd are called around one call, from its arrival to the
	// last byte of its answer. If the caller reads the answer's body, the end is
	// that of the body, or its Close.
	CallStart func(ctx context.Context, info CallInfo) context.Context
	CallEnd   func(ctx context.Context, info CallInfo)
	// AttemptStart and AttemptEnd are called around one sending of a call's
	// request: when it has its place in flight and is about to be sent, and when
	// its verdict is known.
	AttemptStart func(ctx context.Context, info AttemptInfo) context.Context
	AttemptEnd   func(ctx context.Context, info AttemptInfo, attempt Attempt)
	// S3AttemptStart and S3AttemptEnd are called around one request to the S3
	// gateway, up to its answer's headers.
	S3AttemptStart func(ctx context.Context, info S3AttemptInfo) context.Context
	S3AttemptEnd   func(ctx context.Context, info S3AttemptInfo)
	// WakeStart and WakeEnd are called when light requests begin to start or
	// keep workers, and when no more of them are wanted.
	WakeStart func(ctx context.Context, info WakeInfo) context.Context
	WakeEnd   func(ctx context.Context, info WakeInfo)
	// HoldStart and HoldEnd are called when a hold has raised the minimum of
	// workers, and when it is released.
	HoldStart func(ctx context.Context, info HoldInfo) context.Context
	HoldEnd   func(ctx context.Context, info HoldInfo)
}

// JobInfo identifies a job.
type JobInfo struct {
	ID     string // the job's ID, or its index if it has none
	Index  int    // the job's place in RunAll's sequence, from 0
	Inputs int    // how many inputs it uploads

	Endpoint  string // the host of the endpoint that it is done at
	MovedFrom string // the host at which it was refused before, if a [Group] has moved it; "" if not
}

// TransferInfo describes a transfer. What only its end knows is zero at its
// start.
type TransferInfo struct {
	Operation string        // "upload", "download", "delete", "list" or "stat"
	Key       string        // the object's key, or the listing's prefix
	Bytes     int64         // end: moved, each byte once
	Parts     int           // end: how many parts it was moved in; 1 if whole
	Attempts  int           // end: requests to the S3 gateway
	Waited    time.Duration // end: for places in the S3 pool, added up over its requests
	Err       error         // end: why it failed; nil if it did not
}

// CallInfo describes a call. What only its end knows is zero at its start.
type CallInfo struct {
	Method    string // the request's HTTP method
	Path      string // without the query
	Host      string // the endpoint's host, with its port if the URL has one
	Route     string // what [Route] says, otherwise the path
	JobID     string // the job that the call is part of; "" outside Run and RunAll
	BodyBytes int64  // the size of the request's body; -1 if it is not known

	Status      int           // end: the last answer's HTTP status; 0 if none came
	WorkerID    string        // end: the last answer's worker; "" if it names none
	Attempts    int           // end: how often the request was sent
	AnswerBytes int64         // end: how many bytes of the answer's body were read
	WaitedPlace time.Duration // end: for places in flight
	WaitedCold  time.Duration // end: in attempts that met no worker, and in the backoffs after them
	// Outcome says, at the end, how the call ended, for counting: "answered" with a
	// good answer, "refused" with an answer that is no success, "failed" without an
	// answer, "broken" with an answer that broke off or could not be used,
	// "cancelled" by its context or by closing the Client.
	Outcome string
	Cause   string // end: the last attempt's [Attempt.Cause]; "" if there was none
	Err     error  // end: what the call returned; nil if it has an answer that was handed over
}

// The values of CallInfo.Outcome.
const (
	outcomeAnswered  = "answered"
	outcomeRefused   = "refused"
	outcomeFailed    = "failed"
	outcomeBroken    = "broken"
	outcomeCancelled = "cancelled"
)

// AttemptInfo identifies an attempt.
type AttemptInfo struct {
	Op     string // the call's method and path, without the query
	Method string // the request's HTTP method
	URL    string // without the query
	Number int    // the attempt's number within the call, from 1
	Again  string // the [Attempt.Cause] of the attempt before; "" for the first
	// Header is the attempt's own, but for Authorization, which nobody needs to
	// see. AttemptStart may write to it: a tracer puts its traceparent there. At
	// the end it is nil.
	Header http.Header
}

// S3AttemptInfo describes a request to the S3 gateway. What only its end knows
// is zero at its start.
type S3AttemptInfo struct {
	Operation string // in the words of the S3 API, such as PutObject
	Bucket    string
	Key       string  // "" for a listing
	URL       string  // without the query
	Part      int     // the part's number, from 1; 0 if the object goes whole
	Number    int     // of the request within its operation, from 1
	Status    int     // end: 0 if no answer came
	Code      string  // end: the gateway's error code, such as SlowDown; "" if it sent none
	Verdict   Verdict // end: what followed
	Err       error   // end: why no answer came; nil if one did
}

// WakeInfo describes a time in which light requests start and keep workers.
type WakeInfo struct {
	Wanted        int     // workers
	Had           int     // workers that were known to answer, at that moment
	WorkerSeconds float64 // end: how long workers have stood idle because of it
}

// HoldInfo describes a hold.
type HoldInfo struct {
	Wanted        int     // the minimum of workers that the hold asks for
	Had           int     // the minimum without holds
	WorkerSeconds float64 // end: those beyond Had; what several holds share is in each of them
}

// observers are all of a Client's, in the order in which they were added.
type observers []Observer

// span is what observers' starts have returned: a context for each of them. It
// is nil if there are no observers.
type span []context.Context

// openSpan calls the observers' starts, each with the context that the one before
// has returned, and returns the last context.
func openSpan[I any](ctx context.Context, all observers, info I, start func(*Observer) func(context.Context, I) context.Context) (context.Context, span) {
	if len(all) == 0 {
		return ctx, nil
	}
	seen := make(span, len(all))
	for i := range all {
		if f := start(&all[i]); f != nil {
			if own := f(ctx, info); own != nil {
				ctx = own
			}
		}
		seen[i] = ctx
	}
	return ctx, seen
}

// closeSpan calls the observers' ends.
func closeSpan[I any](seen span, all observers, info I, end func(*Observer) func(context.Context, I)) {
	for i, ctx := range seen {
		if f := end(&all[i]); f != nil {
			f(ctx, info)
		}
	}
}
