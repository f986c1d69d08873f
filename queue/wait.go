package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gpuburst/runpod-go"
)

// WaitOption changes how [Handle.Wait] waits.
type WaitOption func(*waitOptions)

type waitOptions struct{ longPoll bool }

// LongPoll makes Wait leave a request with the service until the job ends, for
// 90 s at a time (/status-sync), so that the result is known at once and with
// few requests. Most callers do not need it: without it, Wait knows the result
// 5 s later at the most.
//
// Runpod's Go and JavaScript SDKs wait like this, its docs do not mention it. If
// such a request is refused or fails, or if something on the way cuts it (users
// report gateways that do so after 60 s), the rest of that Wait looks again and
// again, as without this option. A Client leaves at most 200 such requests with
// the service at once, and looks for those beside them.
func LongPoll() WaitOption { return func(o *waitOptions) { o.longPoll = true } }

// longPoll is how long the service is asked to hold a request: the SDKs' most.
const longPoll = 90 * time.Second

// Wait looks at the job until it ends: first after 0.5 s, then less and less
// often, at last every 5 s (half of the retry policy's BaseBackoff, a quarter of
// its MaxBackoff).
//
// A job that did not end well is an error: [ErrFailed], [ErrCancelled],
// [ErrTimedOut], or [ErrExpired] if its result is gone. Answers that say nothing
// of the job, such as a gateway's error page, are lived through until ten of
// them have come in a row. If ctx ends first the job goes on, and its handle can
// be waited on again.
func (h *Handle[Out]) Wait(ctx context.Context, opts ...WaitOption) (Result[Out], error) {
	w := waiting{job: h.job()}
	c := w.get("status")
	for i, opt := range opts {
		if opt == nil {
			return Result[Out]{ID: w.id}, refuse(c.op(), fmt.Sprintf("option %d", i), "it is nil")
		}
		opt(&w.waitOptions)
	}
	report, err := w.untilFinal(ctx, &c)
	if err != nil {
		return Result[Out]{ID: w.id, State: w.last}, err
	}
	return ending[Out](&c, &report)
}

// waiting is one Wait for a job.
type waiting struct {
	job
	waitOptions
	streak streak
	last   State // the last one that is known
}

// untilFinal returns the report of how the job has ended.
func (w *waiting) untilFinal(ctx context.Context, c *call) (report, error) {
	if err := w.check(ctx, c); err != nil {
		return report{}, err
	}
	for looks := 0; ; looks++ {
		asked := time.Now()
		report, held, err := w.look(ctx, c)
		if err := w.streak.ends(err, asked, time.Now(), w.api.policy.GiveUp); err != nil {
			return report, err
		}
		if err == nil {
			w.last = report.state()
		}
		switch {
		case err == nil && w.last.Final():
			return report, nil
		case held && time.Since(asked) >= pollPause(w.api.policy, looks):
			looks = -1 // the answer was held: that was the pause
			continue
		}
		if err := w.api.pause(ctx, c, looks); err != nil {
			return report, err
		}
	}
}

// look asks for the job's state once: when it has changed, if that can be had,
// or as it is.
func (w *waiting) look(ctx context.Context, c *call) (r report, held bool, err error) {
	if w.longPoll {
		if r, held = w.lookLong(ctx); held {
			return r, true, nil
		}
	}
	r, err = w.report(ctx, *c)
	return r, false, err
}

// lookLong leaves a request with the service until the job's state has changed.
// If it fails for whatever reason, a plain look has the last word, now and for
// the rest of the wait.
func (w *waiting) lookLong(ctx context.Context) (r report, ok bool) {
	held := &w.api.held
	defer held.Add(-1)
	if held.Add(1) > maxHeld {
		return r, false
	}
	ctx, cancel := context.WithTimeout(ctx, longPoll+w.api.policy.Grace)
	defer cancel()
	c := w.get("status-sync?wait=" + strconv.FormatInt(longPoll.Milliseconds(), 10))
	c.opts = []runpod.CallOption{runpod.NotIdempotent()} // sent again, it would be cut again
	r, err := w.report(ctx, c)
	w.longPoll = err == nil
	return r, w.longPoll
}
