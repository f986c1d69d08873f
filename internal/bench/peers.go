package bench

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// Configured clients back off with the library's own bounds, where they have
// bounds to set.
const (
	baseBackoff = time.Second
	maxBackoff  = 20 * time.Second
)

// peers is the clients made of other people's packages.
func peers() []client {
	return []client{
		{"go-retryablehttp", asShipped, retryable},
		{"go-retryablehttp", configured, retryableConfigured},
		{"cenkalti/backoff", asShipped, cenkalti},
		{"cenkalti/backoff", configured, cenkaltiConfigured},
		{"failsafe-go retry", asShipped, failsafeRetry},
		{"failsafe-go retry", configured, failsafeRetryConfigured},
		{"failsafe-go retry+breaker", asShipped, failsafeBreaker},
		{"failsafe-go retry+breaker", configured, failsafeBreakerConfigured},
		{"failsafe-go retry+limiter", asShipped, failsafeLimiter},
		{"failsafe-go retry+limiter", configured, failsafeLimiterConfigured},
		{"AWS standard retryer", asShipped, awsStandard},
		{"AWS standard retryer", configured, awsConfigured},
		{"openai-go", asShipped, openaiShipped},
		{"openai-go", configured, openaiConfigured},
	}
}

// retryable is go-retryablehttp with its defaults, silenced.
func retryable(s site) (caller, func()) {
	return throughRetryable(s, func(*retryablehttp.Client) {})
}

// retryableConfigured: predicate, no limit on tries, exponential backoff with
// full jitter in the place of its own without any.
func retryableConfigured(s site) (caller, func()) {
	return throughRetryable(s, func(c *retryablehttp.Client) {
		c.RetryMax = 1 << 30
		c.RetryWaitMin, c.RetryWaitMax = baseBackoff, maxBackoff
		c.Backoff = func(lo, hi time.Duration, n int, _ *http.Response) time.Duration {
			return jitter(min(hi, lo<<min(n, 20)))
		}
		c.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			switch {
			case ctx.Err() != nil:
				return false, ctx.Err()
			case err != nil:
				return s.worthRetrying(nil, err), nil
			case resp.StatusCode < 400:
				return false, nil
			}
			return s.worthRetrying(peek(resp), nil), nil
		}
	})
}

func throughRetryable(s site, configure func(*retryablehttp.Client)) (caller, func()) {
	sd := newSender(s)
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient = &http.Client{Transport: stopwatch{sd.transport}}
	configure(c)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, s.url+path, body)
		if err != nil {
			return report{}, err
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		resp, err := c.Do(req)
		return report{}, errorOf(resp, err)
	}, sd.close
}

// errorOf ends a call that has a response or an error.
func errorOf(resp *http.Response, err error) error {
	if err != nil {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return err
	}
	a, err := readAnswer(resp, time.Now())
	if err != nil {
		return err
	}
	return a.err()
}

// cenkalti is the example of the package's documentation: a 400 is permanent,
// any other error is retried, for 15 minutes.
func cenkalti(s site) (caller, func()) {
	return throughCenkalti(s, func(a *answer, err error) bool { return err != nil || a.status != http.StatusBadRequest }, nil)
}

func cenkaltiConfigured(s site) (caller, func()) {
	return throughCenkalti(s, s.worthRetrying, func() []backoff.RetryOption {
		b := backoff.NewExponentialBackOff() // jitter of half the delay either way is its default
		b.InitialInterval, b.MaxInterval, b.Multiplier = baseBackoff, maxBackoff, 2
		return []backoff.RetryOption{backoff.WithBackOff(b), backoff.WithMaxElapsedTime(s.patience)}
	})
}

func throughCenkalti(s site, again func(*answer, error) bool, options func() []backoff.RetryOption) (caller, func()) {
	sd := newSender(s)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		var opts []backoff.RetryOption
		if options != nil { // anew for every call: a backoff has a state
			opts = options()
		}
		_, err := backoff.Retry(ctx, func() (*answer, error) {
			a, err := sd.once(ctx, path, body)
			failed := err
			if err == nil {
				failed = a.err()
			}
			if failed != nil && !again(a, err) {
				failed = backoff.Permanent(failed)
			}
			return a, failed
		}, opts...)
		return report{}, err
	}, sd.close
}

// openaiShipped is openai-go as a client of any JSON service: two retries.
func openaiShipped(s site) (caller, func()) { return throughOpenAI(s) }

// openaiConfigured: no limit on tries, and a middleware that uses the package's
// own header to say whether an answer is worth a retry. Its jitter, a quarter of
// the delay downwards, cannot be changed.
func openaiConfigured(s site) (caller, func()) {
	return throughOpenAI(s,
		option.WithMaxRetries(1<<30), option.WithMaxRetryDelay(maxBackoff),
		option.WithMiddleware(func(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			resp, err := next(req)
			if err != nil || resp.StatusCode < 400 {
				return resp, err
			}
			resp.Header.Set("X-Should-Retry", map[bool]string{true: "true", false: "false"}[s.worthRetrying(peek(resp), nil)])
			return resp, nil
		}))
}

func throughOpenAI(s site, opts ...option.RequestOption) (caller, func()) {
	sd := newSender(s)
	c := openai.NewClient(append([]option.RequestOption{
		option.WithHTTPClient(&http.Client{Transport: stopwatch{sd.transport}}),
		option.WithBaseURL(s.url), option.WithAPIKey(s.key),
	}, opts...)...)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		var out json.RawMessage
		return report{}, c.Post(ctx, path, json.RawMessage(body), &out)
	}, sd.close
}
