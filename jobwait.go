package runpod

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// WaitOption says how [JobHandle.Wait] waits.
type WaitOption func(*waitOptions)

type waitOptions struct{ longPoll bool }

// LongPoll has Wait leave a request with the service until the job ends, for
// 90 s at a time (/status-sync), so that the result is known at once and with
// few requests. Runpod's Go and JavaScript SDKs wait like this, its docs do not
// mention it: where the service refuses it (400, 404 or 405) the rest of that
// Wait looks again and again, as without this option. A Client leaves at most
// 200 such requests with the service at once; who waits beside them looks too.
func LongPoll() WaitOption { return func(o *waitOptions) { o.longPoll = true } }

const (
	// longPoll is how long the service is asked to hold a request: the SDKs' most.
	longPoll = 90 * time.Second
	// maxLongPolls leaves room for other calls among maxJobCalls.
	maxLongPolls = maxJobCalls / 2
)

// Wait looks at the job until it ends, first after 0.5 s, then less and less
// often, at last every 5 s (see [RetryPolicy]: half of BaseBackoff, a quarter of
// MaxBackoff), unless told to [LongPoll]. A job that did not end well is an
// error: [ErrJobFailed], [ErrJobCancelled], [ErrJobTimedOut], or [ErrJobExpired]
// where the result is gone. Where ctx ends first the job goes on.
func (j *JobHandle[Out]) Wait(ctx context.Context, opts ...WaitOption) (JobResult[Out], error) {
	var o waitOptions
	for _, opt := range opts {
		opt(&o)
	}
	op := "wait for " + j.path("status")
	for looks := 0; ; looks++ {
		var report jobReport
		asked := time.Now()
		if err := j.look(ctx, &o, &report); err != nil {
			return JobResult[Out]{ID: j.ID}, err
		}
		if report.Status.Final() {
			return ending[Out](op, &report)
		}
		if o.longPoll && time.Since(asked) >= j.c.config.policy.pollPause(looks) {
			looks = -1 // the answer was held: that was the pause
			continue
		}
		if err := j.pause(ctx, op, looks); err != nil {
			return JobResult[Out]{ID: j.ID, State: report.Status}, err
		}
	}
}

// look asks for the job's state once: when it has changed, where that can be
// had, or as it is.
func (j *JobHandle[Out]) look(ctx context.Context, o *waitOptions, report *jobReport) error {
	if o.longPoll {
		held := &j.c.jobs.held
		defer held.Add(-1)
		if held.Add(1) <= maxLongPolls {
			err := j.call(ctx, http.MethodGet, "status-sync?wait="+strconv.FormatInt(longPoll.Milliseconds(), 10), report)
			if e, ok := errors.AsType[*Error](err); !ok || !refusesToHold(e.Status) {
				return err
			}
			o.longPoll = false
		}
	}
	return j.call(ctx, http.MethodGet, "status", report)
}

// refusesToHold reports whether an answer to /status-sync means that there is no
// such call, or no such job, which /status then says.
func refusesToHold(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

// pause waits until the job is to be looked at again.
func (j *JobHandle[Out]) pause(ctx context.Context, op string, looks int) error {
	return j.c.pausePolling(ctx, op, j.ID, looks)
}

// pausePolling waits between two looks at a job or a batch.
func (c *Client) pausePolling(ctx context.Context, op, id string, looks int) error {
	o, err := c.life.begin(ctx, op)
	if err == nil {
		defer o.end()
		if sleep(o, c.config.policy.pollPause(looks)) == nil {
			return nil
		}
		err = ended(o, op)
	}
	return aboutJob(err, id)
}
