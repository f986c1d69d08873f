package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/gpuburst/runpod-go/internal/line"
)

const (
	// s3Attempts: Runpod's docs advise 10 attempts against the gateway's 502s.
	s3Attempts = 10
	// s3Forbidden is how many 403s one operation meets before they count as
	// meant: under concurrency the gateway refuses good keys (reported by
	// users), and a wrong key gets the same words. While the same key is good
	// for other operations, it is s3Attempts.
	s3Forbidden = 4
)

// transfer is one S3 operation: its body, its attempts, and the SDK's Retryer
// for it alone.
type transfer struct {
	ctx       context.Context
	op        string
	policy    RetryPolicy
	logger    *slog.Logger
	secrets   []string
	body      func(context.Context) (io.ReadCloser, error) // opens the body anew; nil: none
	attempts  []Attempt
	last      decision
	failures  int           // in a row
	quick     int           // of those, the ones that failed within MaxBackoff
	forbidden int           // 403s
	accepted  *atomic.Int64 // when the gateway last did what it was asked, in Unix nanoseconds
	date      string        // by the gateway's clock, of its last refusal
	place     line.Place
	meter     meter
	stall     time.Duration // ends an attempt in which no byte moved for so long
	careful   bool          // an attempt that may have worked is not repeated
	doubt     bool          // the last attempt was such a one
	late      bool          // a whole body went out that nobody has answered for

	mu    sync.Mutex
	input error // why the input could not be read
}

type transferKey struct{}

func transferFrom(ctx context.Context) *transfer { return ctx.Value(transferKey{}).(*transfer) }

// begin makes a transfer and the context that carries it through the SDK.
func (v *volume) begin(ctx context.Context, op string) (*transfer, context.Context) {
	t := &transfer{op: op, policy: v.policy, logger: v.logger, secrets: v.secrets, stall: v.policy.Stall,
		accepted: &v.accepted, meter: v.meter(ctx)}
	t.ctx = context.WithValue(ctx, transferKey{}, t)
	return t, t.ctx
}

// inputFailed notes an error as the input's own: it ends the operation.
func (t *transfer) inputFailed(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.input == nil {
		t.input = err
	}
	return err
}

func (t *transfer) inputError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.input
}

// record notes an attempt that has come to its answer's headers, or its error.
func (t *transfer) record(start time.Time, resp *http.Response, err error) {
	a := Attempt{Start: start, Duration: time.Since(start), Err: err, Reason: "answered"}
	if resp != nil {
		a.Status, t.date = resp.StatusCode, resp.Header.Get("Date")
	}
	t.attempts = append(t.attempts, a)
	if a.Duration >= t.policy.MaxBackoff {
		t.quick = 0
	}
	if err == nil && a.Status < 300 {
		t.failures, t.quick, t.last = 0, 0, decision{}
		t.accepted.Store(time.Now().UnixNano())
		t.log(&a)
	}
}

func (t *transfer) log(a *Attempt) {
	t.logger.LogAttrs(t.ctx, slog.LevelDebug, "attempt",
		slog.String("op", t.op), slog.Int("number", len(t.attempts)), slog.Int("status", a.Status),
		slog.Duration("took", a.Duration), slog.String("verdict", a.Verdict.String()),
		slog.String("reason", a.Reason), slog.Duration("delay", a.Delay))
}

// IsErrorRetryable decides about an attempt; see [aws.Retryer].
func (t *transfer) IsErrorRetryable(err error) bool {
	if t.ctx.Err() != nil || len(t.attempts) == 0 {
		return false
	}
	a := &t.attempts[len(t.attempts)-1]
	t.failures++
	if a.Status == http.StatusForbidden {
		t.forbidden++
	}
	t.last = classifyS3(s3Seen{
		status: a.Status, code: apiCode(err), err: err, input: t.inputError(),
		attempt: t.failures, forbidden: t.forbidden, trusted: t.trusted(),
	})
	a.Verdict, a.Reason = t.last.verdict, t.last.reason
	if a.Verdict == VerdictRetryBackoff {
		a.Delay = t.policy.backoff(t.quick, time.Since(a.Start), -1, rand.Float64())
		t.quick++
		if deadline, ok := t.ctx.Deadline(); ok && time.Now().Add(a.Delay).After(deadline) {
			a.Verdict, a.Delay, a.Reason = VerdictGiveUp, 0, "the context ends before another attempt could be made"
			t.last.expired = true
		}
	}
	t.log(a)
	t.doubt = t.careful && a.Verdict == VerdictRetryBackoff && mayHaveWorked(a.Status, apiCode(err))
	return a.Verdict == VerdictRetryBackoff && !t.doubt
}

// trusted reports whether the gateway has done what it was asked since this
// operation began.
func (t *transfer) trusted() bool {
	return t.accepted.Load() >= t.attempts[0].Start.UnixNano()
}

// mayHaveWorked reports whether the gateway may have done what it was asked
// for, although it answered with this.
func mayHaveWorked(status int, code string) bool {
	return status == 0 || status < 300 || status >= 500 && code != "SlowDown"
}

// RetryDelay is the delay that IsErrorRetryable has drawn.
func (t *transfer) RetryDelay(int, error) (time.Duration, error) {
	return t.attempts[len(t.attempts)-1].Delay, nil
}

// MaxAttempts is 0, no limit of the SDK's: classifyS3 counts.
func (t *transfer) MaxAttempts() int { return 0 }

func (t *transfer) GetRetryToken(context.Context, error) (func(error) error, error) {
	return freeToken, nil
}
func (t *transfer) GetInitialToken() func(error) error { return freeToken }
func (t *transfer) GetAttemptToken(context.Context) (func(error) error, error) {
	return freeToken, nil
}

func freeToken(error) error { return nil }

var _ aws.RetryerV2 = (*transfer)(nil)

// s3Seen is everything about an S3 attempt that the verdict depends on.
type s3Seen struct {
	status    int
	code      string // the gateway's error code; "" when it gave none
	err       error
	input     error // the input could not be read
	attempt   int   // failed attempts in a row, this one included
	forbidden int   // 403s so far, this one included
	trusted   bool  // meanwhile the same key was good for something else
}

// classifyS3 decides about a failed attempt against the S3 gateway. Every
// operation here may run twice.
func classifyS3(s s3Seen) decision {
	end := func(kind error, reason string) decision {
		return decision{verdict: VerdictGiveUp, kind: kind, reason: reason}
	}
	again := func(most int, n int, kind error, reason string) decision {
		if n >= most {
			return end(kind, reason)
		}
		return decision{verdict: VerdictRetryBackoff, kind: kind, reason: reason}
	}
	switch {
	case errors.Is(s.input, errChanged):
		return end(ErrIntegrity, "the input changed while it was uploaded")
	case s.input != nil:
		return end(nil, "the input cannot be read")
	case s.status == http.StatusInsufficientStorage, s.code == "QuotaExceeded":
		return end(ErrVolumeFull, "no room on the volume")
	case s.code == "BadDigest", s.code == "XAmzContentSHA256Mismatch", s.code == "XAmzContentChecksumMismatch":
		return again(maxThin+1, s.attempt, ErrIntegrity, "the body arrived damaged")
	case s.code == "RequestTimeTooSkewed":
		return again(maxThin+1, s.attempt, ErrUnauthorized, "this machine's clock and the gateway's differ")
	case s.code == "IncompleteBody", s.code == "RequestTimeout":
		return again(s3Attempts, s.attempt, nil, "the body did not arrive whole")
	}
	switch s.status {
	case 0:
		return classifyS3Error(s, again)
	case http.StatusForbidden:
		most := s3Forbidden
		if s.trusted {
			most = s3Attempts
		}
		return again(most, s.forbidden, ErrUnauthorized, "the S3 credentials were refused")
	case http.StatusUnauthorized:
		return end(ErrUnauthorized, "the S3 credentials were refused")
	case http.StatusNotFound:
		return end(ErrNotFound, "no such object or bucket")
	case http.StatusRequestEntityTooLarge:
		return end(ErrTooLarge, "the object is too large")
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return end(ErrIntegrity, "the object changed")
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return again(s3Attempts, s.attempt, ErrRateLimited, "the gateway asked to slow down")
	case http.StatusNotImplemented:
		return end(ErrBadRequest, "not supported by the gateway")
	}
	if s.status >= 500 || s.status < 300 { // an answer of 200 can carry an error, or break off
		return again(s3Attempts, s.attempt, nil, "the gateway failed")
	}
	return end(ErrBadRequest, "the request was refused")
}

func classifyS3Error(s s3Seen, again func(int, int, error, string) decision) decision {
	switch {
	case isPermanent(s.err):
		return decision{verdict: VerdictGiveUp, reason: "cannot connect: certificate or address is wrong"}
	case isHostNotFound(s.err):
		return again(maxThin+1, s.attempt, ErrNotFound, "host name not found")
	case errors.Is(s.err, errStalled):
		return again(s3Attempts, s.attempt, nil, "the connection stalled")
	default:
		return again(s3Attempts, s.attempt, nil, "the connection failed")
	}
}

// apiCode is the error code in the gateway's words.
func apiCode(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// fail makes the error of an operation that the SDK reports as failed.
func (t *transfer) fail(err error) error {
	if t.ctx.Err() != nil {
		e := ended(t.ctx, t.op)
		e.Attempts = t.attempts
		if n := len(t.attempts); n > 0 && t.attempts[n-1].Err != nil {
			e.Err = errors.Join(e.Err, t.attempts[n-1].Err)
		}
		return e
	}
	e := &Error{Op: t.op, Kind: t.last.kind, Attempts: t.attempts, Err: t.plainCause(err), Advice: s3Advice(t.last)}
	if n := len(t.attempts); n > 0 {
		e.Status = t.attempts[n-1].Status
	}
	if input := t.inputError(); input != nil {
		e.Err = input
	}
	if apiCode(err) == "RequestTimeTooSkewed" {
		e.Advice = skewAdvice(t.date, time.Now())
	}
	if t.last.expired {
		e.Err = errors.Join(context.DeadlineExceeded, e.Err)
	}
	t.logger.LogAttrs(t.ctx, slog.LevelWarn, "gave up", slog.String("op", t.op), slog.String("error", e.Error()))
	return e
}

// damaged makes the error of something that arrived otherwise than it was sent.
func (t *transfer) damaged(err error) error {
	t.last = decision{kind: ErrIntegrity}
	return t.fail(err)
}

// plainCause is the heart of an SDK error: the gateway's words, or the
// transport's.
func (t *transfer) plainCause(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		said := api.ErrorMessage()
		if clean := string(redacted([]byte(said), t.secrets)); clean != said {
			return &smithy.GenericAPIError{Code: api.ErrorCode(), Message: clean}
		}
		return api
	}
	if send, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return send.Err
	}
	return err
}

// skewAdvice says by how much the clocks differ.
func skewAdvice(gateways string, now time.Time) string {
	const most = "at most an hour is tolerated" // Runpod docs
	theirs, err := http.ParseTime(gateways)
	if err != nil {
		return "set this machine's clock right: " + most
	}
	by, way := now.Sub(theirs), "ahead of"
	if by < 0 {
		by, way = -by, "behind"
	}
	return fmt.Sprintf("this machine's clock is %s %s the gateway's: set it right, %s", by.Round(time.Second), way, most)
}

func s3Advice(d decision) string {
	switch d.kind {
	case ErrUnauthorized:
		return "check the S3 access key (not the API key) and this machine's clock"
	case ErrTooLarge:
		return "if it went in parts, make them smaller with WithPartSize"
	case ErrVolumeFull:
		return "delete objects or enlarge the volume"
	case ErrIntegrity:
		return "nothing was stored; upload it again from a source that does not change"
	default:
		return ""
	}
}
