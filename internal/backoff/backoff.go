// Package backoff holds what every retry loop of this module shares: a sleep
// that ends with a context, the Retry-After header, and exponential backoff
// with full jitter. Its functions keep no state and are safe for concurrent
// use.
package backoff

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Sleep waits for d. It returns early, with the context's cause, if ctx ends.
func Sleep(ctx context.Context, d time.Duration) error { return SleepUntil(ctx, nil, nil, d) }

// SleepUntil is [Sleep] for a wait that something other than a context can end
// too: it returns reason if stopped is closed. A nil channel stops nothing.
func SleepUntil(ctx context.Context, stopped <-chan struct{}, reason error, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stopped:
		return reason
	}
}

// NotSaid is what [RetryAfter] returns if a header asks for nothing.
const NotSaid time.Duration = -1

// maxRetryAfter keeps what a header says within the range of a Duration.
const maxRetryAfter = 365 * 24 * time.Hour

// RetryAfter reads the value of a Retry-After header (RFC 9110, section
// 10.2.3): a number of seconds, fractions allowed, or a date, which is compared
// with now. A date in the past means 0. It returns NotSaid if the value is
// empty or is neither of the two, and at most a year.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" { // as nearly always
		return NotSaid
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if !(seconds >= 0) {
			return NotSaid
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(0, date.Sub(now)), maxRetryAfter)
	}
	return NotSaid
}

// FullJitter returns the delay before a retry: a time between 0 and the lesser
// of most and base times 2^n, where n counts the retries before it, from 0. Its
// argument random, from 0 up to 1, says where in that range. ("Exponential
// Backoff And Jitter", AWS Architecture Blog, 2015.)
func FullJitter(base, most time.Duration, n int, random float64) time.Duration {
	ceiling := most
	if n < 32 && base<<n>>n == base {
		ceiling = min(ceiling, base<<n)
	}
	return time.Duration(random * float64(ceiling))
}
