package bench

import (
	"context"
	"net/http"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// The shipped forms are failsafehttp's round tripper with the defaults of its
// policies. It leaks the response of every attempt that is retried (see
// failsafehttp); the configured forms use the package's executor around attempts
// that read their answers, which does not.

func failsafeRetry(s site) (caller, func()) {
	return throughFailsafeHTTP(s, failsafehttp.NewRetryPolicyBuilder().Build())
}

func failsafeBreaker(s site) (caller, func()) {
	return throughFailsafeHTTP(s, failsafehttp.NewRetryPolicyBuilder().Build(), circuitbreaker.NewWithDefaults[*http.Response]())
}

func failsafeLimiter(s site) (caller, func()) {
	return throughFailsafeHTTP(s, failsafehttp.NewRetryPolicyBuilder().Build(), adaptivelimiter.NewWithDefaults[*http.Response]())
}

func throughFailsafeHTTP(s site, policies ...failsafe.Policy[*http.Response]) (caller, func()) {
	sd := newSender(s)
	c := &http.Client{Transport: failsafehttp.NewRoundTripper(sd.transport, policies...)}
	return func(ctx context.Context, path string, body []byte) (report, error) {
		return report{}, errorOf(c.Do(sd.request(ctx, path, body)))
	}, sd.close
}

func failsafeRetryConfigured(s site) (caller, func()) {
	return throughFailsafe(s, patientRetry(s))
}

// failsafeBreakerConfigured does not count cold starts as failures: only 5xx and
// lost connections open the breaker, for as long as the backoff's cap.
func failsafeBreakerConfigured(s site) (caller, func()) {
	breaker := circuitbreaker.NewBuilder[*answer]().
		HandleIf(func(a *answer, err error) bool { return err != nil || a.status >= 500 }).
		WithFailureThreshold(5).WithDelay(maxBackoff).Build()
	return throughFailsafe(s, patientRetry(s), breaker)
}

// failsafeLimiterConfigured may go from 1 to what the caller wants, begins with
// that, and queues what is above the limit.
func failsafeLimiterConfigured(s site) (caller, func()) {
	limiter := adaptivelimiter.NewBuilder[*answer]().
		WithLimits(1, uint(s.atOnce), uint(s.atOnce)).
		WithQueueing(float64(s.atOnce), float64(s.atOnce)).
		WithMaxWaitTime(s.patience).Build()
	return throughFailsafe(s, patientRetry(s), limiter)
}

// patientRetry retries until patience ends what the predicate says is worth it,
// and what the policies inside it turned away.
func patientRetry(s site) retrypolicy.RetryPolicy[*answer] {
	return retrypolicy.NewBuilder[*answer]().
		HandleIf(func(a *answer, err error) bool {
			if err != nil {
				return err == circuitbreaker.ErrOpen || err == adaptivelimiter.ErrExceeded || s.worthRetrying(nil, err)
			}
			return a.err() != nil && s.worthRetrying(a, nil)
		}).
		WithMaxRetries(-1).WithMaxDuration(s.patience).
		WithBackoff(baseBackoff, maxBackoff).WithJitterFactor(0.5).
		ReturnLastFailure().Build()
}

func throughFailsafe(s site, policies ...failsafe.Policy[*answer]) (caller, func()) {
	sd := newSender(s)
	executor := failsafe.With(policies...)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		a, err := executor.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[*answer]) (*answer, error) {
			return sd.once(e.Context(), path, body)
		})
		if err == nil {
			err = a.err()
		}
		return report{}, err
	}, sd.close
}
