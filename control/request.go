package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/redact"
)

const (
	maxAttempts = 5
	maxAnswer   = 4 << 20 // bytes: a list of thousands of workers
	maxBody     = 4 << 10 // bytes of an error's body that are kept
)

// request is one request with its attempts. It belongs to one goroutine.
type request struct {
	c        *Client
	op       string
	method   string
	url      string
	attempts []runpod.Attempt
}

// answer is what came of one attempt.
type answer struct {
	status     int
	header     http.Header
	body       []byte
	retryAfter time.Duration // negative: nothing was asked
	err        error
}

// do sends the request as often as it takes and decodes the answer into out.
func (r *request) do(ctx context.Context, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return &runpod.Error{Op: r.op, Kind: runpod.ErrBadRequest, Err: err}
		}
	}
	for {
		if err := r.pace(ctx); err != nil {
			return err
		}
		a := r.send(ctx, body)
		again, delay, reason := r.judge(ctx, a)
		if !r.record(ctx, a, again, delay, reason) {
			return r.conclude(ctx, a, out)
		}
		if err := backoff.Sleep(ctx, delay); err != nil {
			return r.fail(ctx, a, err)
		}
	}
}

// send makes one attempt.
func (r *request) send(ctx context.Context, body []byte) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, r.c.policy.Grace)
	defer cancel()
	start := time.Now()
	defer func() {
		r.attempts = append(r.attempts, runpod.Attempt{Start: start, Duration: time.Since(start), Status: a.status, Err: a.err})
	}()
	a.retryAfter = backoff.NotSaid
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(body))
	if err != nil {
		return answer{err: err, retryAfter: backoff.NotSaid}
	}
	req.Header.Set("Authorization", "Bearer "+r.c.apiKey)
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.c.transport.RoundTrip(req) // redirects are not followed
	if err != nil {
		return answer{err: err, retryAfter: backoff.NotSaid}
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	a.retryAfter = backoff.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	r.c.limits.note(resp.Header.Get("RateLimit"), time.Now())
	if a.status >= 400 { // which decides, however much of its body comes
		a.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		return a
	}
	a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return a
}

// judge says whether another attempt is made, and after which delay.
func (r *request) judge(ctx context.Context, a answer) (again bool, delay time.Duration, reason string) {
	switch {
	case ctx.Err() != nil:
		return false, 0, "the context ended"
	case a.err != nil:
		reason = "no answer"
	case a.status < 400:
		return false, 0, "answered"
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout, a.status >= 500 && a.status != http.StatusNotImplemented:
		reason = "status " + strconv.Itoa(a.status)
	default:
		return false, 0, "refused for good"
	}
	p, n := r.c.policy, len(r.attempts)
	delay = backoff.FullJitter(p.BaseBackoff, p.MaxBackoff, n-1, rand.Float64())
	if a.retryAfter > p.MaxRetryAfter {
		return false, 0, fmt.Sprintf("the server asks for %s, more than MaxRetryAfter", a.retryAfter)
	}
	delay = max(delay, a.retryAfter)
	deadline, has := ctx.Deadline()
	switch {
	case n >= maxAttempts:
		return false, 0, reason + "; for the last time"
	case has && time.Until(deadline) < delay:
		return false, 0, reason + "; the context ends before another attempt"
	}
	return true, delay, reason
}

// record completes the attempt's record and logs it; it hands again back.
func (r *request) record(ctx context.Context, a answer, again bool, delay time.Duration, reason string) bool {
	last := &r.attempts[len(r.attempts)-1]
	last.Reason, last.Delay, last.Verdict = reason, delay, runpod.VerdictGiveUp
	switch {
	case again && a.retryAfter >= 0:
		last.Verdict = runpod.VerdictRetryAfter
	case again:
		last.Verdict = runpod.VerdictRetryBackoff
	case a.err == nil && a.status < 400:
		last.Verdict = runpod.VerdictDeliver
	}
	r.c.logger.LogAttrs(ctx, slog.LevelDebug, "attempt", slog.String("op", r.op), slog.Int("attempts", len(r.attempts)),
		slog.Int("status", a.status), slog.Duration("took", last.Duration), slog.String("verdict", last.Verdict.String()),
		slog.String("reason", reason), slog.Duration("delay", delay))
	return again
}

// conclude makes the result of the last answer.
func (r *request) conclude(ctx context.Context, a answer, out any) error {
	if a.err != nil || a.status >= 300 {
		return r.fail(ctx, a, a.err)
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return r.fail(ctx, a, fmt.Errorf("the answer is not the JSON that was expected: %w", err))
	}
	return nil
}

// fail makes the error of a request that came to nothing.
func (r *request) fail(ctx context.Context, a answer, cause error) error {
	body := redact.New(r.c.apiKey).Head(a.body, maxBody)
	e := &runpod.Error{Op: r.op, Status: a.status, Attempts: r.attempts, Body: body, Err: cause}
	if ctx.Err() != nil {
		e.Err = errors.Join(context.Cause(ctx), ctx.Err())
	}
	e.Advice, e.Kind = judge(a.status)
	if a.status == 0 && r.method == http.MethodPatch && len(r.attempts) > 0 {
		e.MayHaveRun = true
	}
	r.c.logger.LogAttrs(ctx, slog.LevelWarn, "gave up", slog.String("op", r.op), slog.String("error", e.Error()))
	return e
}

// judge gives what an error's status means: what to do, and its kind.
func judge(status int) (advice string, kind error) {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check the Runpod API key and whether it may change endpoints", runpod.ErrUnauthorized
	case http.StatusNotFound:
		return "check the endpoint's id", runpod.ErrNotFound
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return "", runpod.ErrBadRequest
	case http.StatusTooManyRequests:
		return "the control plane takes about 60 requests a minute from one account", runpod.ErrRateLimited
	}
	return "", nil
}

// pace waits where the server has said that nothing is left of a quota.
func (r *request) pace(ctx context.Context) error {
	wait := r.c.limits.wait(time.Now())
	deadline, has := ctx.Deadline()
	switch {
	case ctx.Err() != nil:
		return r.fail(ctx, answer{}, context.Cause(ctx))
	case wait <= 0:
		return nil
	case wait > r.c.policy.MaxRetryAfter, has && time.Until(deadline) < wait:
		e := &runpod.Error{Op: r.op, Kind: runpod.ErrRateLimited, Attempts: r.attempts,
			Err: fmt.Errorf("the control plane's quota is used up for another %s", wait.Round(time.Second))}
		if has && time.Until(deadline) < wait {
			e.Err = errors.Join(e.Err, context.DeadlineExceeded)
		}
		return e
	}
	if err := backoff.Sleep(ctx, wait); err != nil {
		return r.fail(ctx, answer{}, err)
	}
	return nil
}

// limits knows until when nothing is left of a quota.
type limits struct {
	mu    sync.Mutex
	until time.Time
}

// note reads a RateLimit header: `"minute";r=0;t=12, "hour";r=900;t=2000` says
// that of the minute's quota nothing remains for 12 s.
func (l *limits) note(header string, now time.Time) {
	var until time.Time
	for policy := range strings.SplitSeq(header, ",") {
		left, reset := -1, -1
		for param := range strings.SplitSeq(policy, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			n, err := strconv.Atoi(value)
			switch {
			case err != nil:
			case name == "r":
				left = n
			case name == "t":
				reset = n
			}
		}
		if at := now.Add(time.Duration(reset) * time.Second); left == 0 && reset > 0 && at.After(until) {
			until = at
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
	}
}

func (l *limits) wait(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until.Sub(now)
}
