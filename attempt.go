package runpod

import (
	"errors"
	"net/http"
	"time"

	"github.com/gpuburst/runpod-go/internal/redact"
)

// Attempt is the record of one attempt. Results, errors and observers carry it.
type Attempt struct {
	Start    time.Time     // when it was sent
	Duration time.Duration // from sending to the answer's headers, or to the error
	Status   int           // the answer's HTTP status; 0 if none came
	WorkerID string        // the worker that answered; "" if the answer names none
	Verdict  Verdict       // what followed
	Cause    string        // why, as a short code that stays the same: see the package documentation
	Reason   string        // why, in a few words for people
	Delay    time.Duration // the wait before the next attempt
	Err      error         // why no answer came; nil if one did
}

// Observation is all that the verdict on an attempt depends on. A [Classifier]
// gets it.
type Observation struct {
	Status     int           // the answer's HTTP status; 0 if none came
	WorkerID   string        // the answer's X-Runpod-Worker-Id; "" if it has none
	Body       []byte        // the beginning of the body of an answer of 400 or more, at most 4 KiB
	Elapsed    time.Duration // from sending to the answer's headers, or to the error
	RetryAfter time.Duration // what the answer's Retry-After asks for; negative if it asks for nothing
	Err        error         // why no answer came; nil if one did
	Sent       bool          // the request had been written when Err came
	Idempotent bool          // the request may run twice, see [Idempotent]
	Number     int           // the attempt's number within its call, from 1
	Repeats    int           // how often the call was retried so far on evidence that allows only 2 retries
	IDsSeen    bool          // workers of this endpoint are known to name themselves in their answers
	Droppable  bool          // the request is pinned to a worker and may go to any other, see [AnyWorker]
}

// Verdict says what follows an attempt.
type Verdict uint8

// The verdicts. The package documentation says which answer gets which.
const (
	VerdictDeliver      Verdict = iota // hand the answer to the caller
	VerdictRetryNow                    // send again at once: the backoff was spent waiting at the balancer
	VerdictRetryBackoff                // send again after the backoff
	VerdictRetryAfter                  // send again after the backoff, and not before the time that Retry-After asks for
	VerdictDropPin                     // send again after the backoff, to any worker
	VerdictGiveUp                      // end the call with this answer or error
)

var verdictNames = [...]string{"deliver", "retry now", "retry after backoff", "retry after what the server said", "drop the pin and retry", "give up"}

// String returns the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown verdict"
}

// retries reports whether another attempt follows.
func (v Verdict) retries() bool { return v != VerdictDeliver && v != VerdictGiveUp }

// workerIDHeader names the worker that answered, and in a request the worker it
// is for (Runpod docs). The balancer's own answers are believed not to have it.
const workerIDHeader = "X-Runpod-Worker-Id"

// workerOf returns the worker that an answer names, "" for none. The name is text
// from outside: it is no longer than any that is known, and printed as it is.
func workerOf(resp *http.Response, secrets *redact.Secrets) string {
	name := secrets.String(resp.Header.Get(workerIDHeader))
	return redact.Name(name[:min(len(name), maxWorkerID)])
}

// maxWorkerID is the most that is kept of a worker's id. Those that were seen have
// 14 bytes.
const maxWorkerID = 128

// peekLimit is how much of an error's body is read to judge it, and kept.
const peekLimit = 4 << 10

// What ends an attempt that took too long: before its answer, and within one
// that is read whole.
var (
	errAttemptLimit = errors.New("no answer within the attempt's limit")
	errAnswerLimit  = errors.New("the answer began, and did not end within the limit of its processing")
)
