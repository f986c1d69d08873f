package bench

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// awsStandard is the retry loop of the AWS SDK with its standard rules around a
// plain call: the SDK's own middleware and token bucket, not a copy.
func awsStandard(s site) (caller, func()) { return throughAWS(s, retry.NewStandard()) }

// awsConfigured: no limit on tries, no token bucket (which would fail the calls of
// a cold start), and the predicate before its own rules.
func awsConfigured(s site) (caller, func()) {
	return throughAWS(s, retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 1<<30, maxBackoff, ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if failed, ok := errors.AsType[*awsFailure](err); ok {
				return aws.BoolTernary(s.worthRetrying(failed.answer, nil))
			}
			return aws.BoolTernary(s.worthRetrying(nil, err))
		})}, o.Retryables...)
	}))
}

// awsFailure is an answer that is an error, in the shape the SDK looks for.
type awsFailure struct {
	*smithyhttp.ResponseError
	answer *answer
}

func (e *awsFailure) Unwrap() error { return e.ResponseError }

func throughAWS(s site, retryer aws.Retryer) (caller, func()) {
	sd := newSender(s)
	loop := retry.NewAttemptMiddleware(retryer, func(req any) any { return req })
	return func(ctx context.Context, path string, body []byte) (report, error) {
		attempt := middleware.FinalizeHandlerFunc(func(ctx context.Context, _ middleware.FinalizeInput) (out middleware.FinalizeOutput, md middleware.Metadata, err error) {
			a, err := sd.once(ctx, path, body)
			switch {
			case ctx.Err() != nil:
				err = &aws.RequestCanceledError{Err: ctx.Err()}
			case err != nil:
				err = &smithyhttp.RequestSendError{Err: err}
			case a.err() != nil:
				raw := &smithyhttp.Response{Response: &http.Response{StatusCode: a.status, Header: a.header}}
				err = &awsFailure{&smithyhttp.ResponseError{Response: raw, Err: a.err()}, a}
			}
			return out, md, err
		})
		_, _, err := loop.HandleFinalize(ctx, middleware.FinalizeInput{}, attempt)
		return report{}, err
	}, sd.close
}
