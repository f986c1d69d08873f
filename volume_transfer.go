package runpod

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
	"github.com/gpuburst/runpod-go/internal/redact"
)

// transfer is one S3 operation: its body, its attempts, and the SDK's Retryer
// for it alone.
type transfer struct {
	ctx       context.Context // carries the transfer through the SDK
	op        string
	sharer    *line.Sharer
	meter     meter
	policy    RetryPolicy
	logger    *slog.Logger
	secrets   *redact.Secrets
	body      func(context.Context) (io.ReadCloser, error) // opens the body anew; nil: none
	attempts  []Attempt
	last      decision
	failures  int           // in a row
	quick     int           // of those, the ones that failed within MaxBackoff
	forbidden int           // 403s
	expired   int           // answers that the session token has expired
	renew     func()        // has the next attempt ask for credentials anew
	expecting bool          // the last attempt had asked for a 100 Continue
	advice    string        // about what arrived damaged; "": s3Advice's
	accepted  *atomic.Int64 // when the gateway last did what it was asked, in Unix nanoseconds
	answer    http.Header   // of the last answer
	place     line.Place
	view      *transferView // for the observers
	request   *s3View       // likewise: the request under way
	stall     time.Duration // ends an attempt in which no byte moved for so long
	least     int64         // ends one in which fewer bytes moved within stall
	streams   bool          // the result's body is read by whoever asked for it
	careful   bool          // an attempt that may have worked is not repeated
	doubt     bool          // the last attempt was such a one
	late      bool          // a whole body went out that nobody has answered for

	mu    sync.Mutex
	input error // why the input could not be read
}

type transferKey struct{}

func transferFrom(ctx context.Context) *transfer { return ctx.Value(transferKey{}).(*transfer) }

// perform makes one request of the SDK's client, as often as the transfer judges.
func perform[In, Out any](t *transfer, do func(context.Context, *In, ...func(*s3.Options)) (*Out, error), in *In) (*Out, error) {
	return do(t.ctx, in, func(o *s3.Options) { o.Retryer = t })
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

// record notes an attempt that has come to its answer, or its error.
func (t *transfer) record(start time.Time, resp *http.Response, err error) {
	a := Attempt{Start: start, Duration: time.Since(start), Err: err, Cause: "answered", Reason: "answered"}
	if resp != nil {
		a.Status, t.answer = resp.StatusCode, resp.Header
	}
	t.attempts = append(t.attempts, a)
	if a.Duration >= t.policy.MaxBackoff {
		t.quick = 0
	}
}

// succeeded notes that the last attempt's answer is the result.
func (t *transfer) succeeded() {
	t.failures, t.quick, t.last = 0, 0, decision{}
	t.accepted.Store(time.Now().UnixNano())
	a := &t.attempts[len(t.attempts)-1]
	t.log(a)
	t.request.endRequest(a, "")
}

// result reads an answer. Read is nil for GetObject, whose body is streamed.
func (t *transfer) result(read func(http.Header, []byte) (any, error), resp *http.Response) (any, error) {
	if read == nil && resp.StatusCode/100 == 2 {
		return getResult(resp.StatusCode, resp.Header, resp.ContentLength, resp.Body)
	}
	body, err := io.ReadAll(resp.Body) // in memory already, see Do
	if err == nil && resp.StatusCode/100 == 2 {
		var result any
		if result, err = read(resp.Header, body); !errors.Is(err, errErrorInside) {
			return result, err
		}
	}
	return nil, parseRefusal(resp.StatusCode, resp.Header, body, t.secrets)
}

// now returns the time by the gateway's clock, or by ours if the last answer did
// not say.
func (t *transfer) now() time.Time {
	if at, err := http.ParseTime(t.answer.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

func (t *transfer) log(a *Attempt) {
	t.logger.LogAttrs(t.ctx, slog.LevelDebug, "attempt",
		slog.String("op", t.op), slog.Int("number", len(t.attempts)), slog.Int("status", a.Status),
		slog.Duration("took", a.Duration), slog.String("verdict", a.Verdict.String()),
		slog.String("reason", a.Reason), slog.Duration("delay", a.Delay))
}

// IsErrorRetryable decides about an attempt; see [aws.Retryer].
func (t *transfer) IsErrorRetryable(err error) bool {
	if len(t.attempts) == 0 {
		return false
	}
	a := &t.attempts[len(t.attempts)-1]
	defer func() { t.request.endRequest(a, apiCode(err)) }()
	if t.ctx.Err() != nil {
		a.Verdict, a.Cause, a.Reason = VerdictGiveUp, "cancelled", "the context ended"
		return false
	}
	t.failures++
	if a.Status == http.StatusForbidden {
		t.forbidden++
	}
	code := apiCode(err)
	if strings.HasPrefix(code, "ExpiredToken") || code == "TokenRefreshRequired" {
		t.expired++
		t.renew()
	}
	t.last = classifyS3(s3Seen{
		status: a.Status, code: code, err: err, input: t.inputError(), attempt: t.failures,
		forbidden: t.forbidden, trusted: t.trusted(), expired: t.expired, expecting: t.expecting,
	})
	a.Verdict, a.Cause, a.Reason = t.last.verdict, t.last.cause, t.last.reason
	if a.Verdict == VerdictRetryBackoff {
		t.schedule(a)
	}
	t.log(a)
	t.doubt = t.careful && a.Verdict == VerdictRetryBackoff && mayHaveWorked(a.Status, code)
	return a.Verdict == VerdictRetryBackoff && !t.doubt
}

// schedule draws the delay before the next attempt, unless the context would end
// within it.
func (t *transfer) schedule(a *Attempt) {
	said := time.Duration(-1)
	if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
		said = backoff.RetryAfter(t.answer.Get("Retry-After"), time.Now())
	}
	a.Delay = t.policy.backoff(t.quick, time.Since(a.Start), said, rand.Float64())
	t.quick++
	if deadline, ok := t.ctx.Deadline(); ok && time.Now().Add(a.Delay).After(deadline) {
		a.Verdict, a.Delay, a.Reason = VerdictGiveUp, 0, "the context ends before another attempt could be made"
		t.last.expired = true
	}
}

// trusted reports whether the gateway has done what it was asked since this
// operation began.
func (t *transfer) trusted() bool {
	return t.accepted.Load() >= t.attempts[0].Start.UnixNano()
}

// RetryDelay returns the delay that IsErrorRetryable has drawn.
func (t *transfer) RetryDelay(int, error) (time.Duration, error) {
	return t.attempts[len(t.attempts)-1].Delay, nil
}

// MaxAttempts returns 0, no limit of the SDK's: classifyS3 counts.
func (t *transfer) MaxAttempts() int { return 0 }

// GetRetryToken, GetInitialToken and GetAttemptToken return tokens that cost
// nothing: the SDK's retry quota is not used.
func (t *transfer) GetRetryToken(context.Context, error) (func(error) error, error) {
	return freeToken, nil
}

// GetInitialToken is like GetRetryToken.
func (t *transfer) GetInitialToken() func(error) error { return freeToken }

// GetAttemptToken is like GetRetryToken.
func (t *transfer) GetAttemptToken(context.Context) (func(error) error, error) {
	return freeToken, nil
}

func freeToken(error) error { return nil }

var _ aws.RetryerV2 = (*transfer)(nil)

var errOddCredentials = errors.New("the S3 credentials have white space or control characters in them")

// apiCode returns the error code in the gateway's words, "" if it gave none.
func apiCode(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// failure makes the error of an operation that the SDK reports as failed.
func (t *transfer) failure(err error) error { return t.conclude(t.plainCause(err)) }

// conclude makes the error of an operation with its cause as it is to be shown.
func (t *transfer) conclude(err error) error {
	if t.ctx.Err() != nil {
		e := ended(t.ctx, t.op)
		e.Attempts = t.attempts
		if n := len(t.attempts); n > 0 && t.attempts[n-1].Err != nil {
			e.Err = errors.Join(e.Err, t.attempts[n-1].Err)
		}
		return e
	}
	e := &Error{Op: t.op, Kind: t.last.kind, Attempts: t.attempts, Err: err}
	if n := len(t.attempts); n > 0 {
		e.Status = t.attempts[n-1].Status
	}
	if e.Advice = s3Advice(t.last, e.Status, apiCode(err)); e.Kind == ErrIntegrity {
		e.Advice = cmp.Or(t.advice, e.Advice)
	}
	if input := t.inputError(); input != nil {
		e.Err = input
	}
	if apiCode(err) == "RequestTimeTooSkewed" {
		e.Advice = skewAdvice(t.answer.Get("Date"), time.Now())
	}
	if t.last.expired {
		e.Err = errors.Join(context.DeadlineExceeded, e.Err)
	}
	t.logger.LogAttrs(t.ctx, slog.LevelWarn, "gave up", slog.String("op", t.op), slog.String("error", e.Error()))
	return e
}

// damaged makes the error of something that arrived otherwise than it was sent.
func (t *transfer) damaged(err error, advice string) error {
	t.last, t.advice = decision{kind: ErrIntegrity}, advice
	return t.conclude(err)
}

// plainCause is the heart of an SDK error: the gateway's words, or the
// transport's.
func (t *transfer) plainCause(err error) error {
	if said, ok := errors.AsType[*s3Refusal](err); ok {
		return said
	}
	if send, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return send.Err
	}
	if odd, ok := errors.AsType[*noResultError](err); ok {
		return odd
	}
	if errors.Is(err, errOddCredentials) {
		return errOddCredentials
	}
	return err
}
