package runpod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// StartWithin bounds how long a call may wait before it is sent: for a place in
// flight, for the pace, or for the backoff between two attempts. No attempt
// begins later than d after the call; the error then matches
// [context.DeadlineExceeded]. A request that is out already is left to its
// answer, except that with [WithControl] it ends after d if the control plane
// lists no worker that is up: the error is [ErrNoWorkers], and its MayHaveRun is
// true. Use it for callers that would rather hear soon that nothing is ready
// than wait through a cold start. Default: no bound. A d that is not above 0 is
// refused.
func StartWithin(d time.Duration) CallOption {
	return func(o *callOptions) {
		if o.startWithin = d; d <= 0 {
			o.fail("StartWithin", fmt.Errorf("%s is not above 0", d))
		}
	}
}

// Priority says how urgent a call is while it waits for a place in flight: the
// highest goes first, and calls of the same priority in the order in which they
// came. So that a low priority is not starved, every eighth place goes to the
// call that has waited longest, whatever its priority. It changes nothing while
// there are places. Default 0; negative numbers are less urgent.
func Priority(n int) CallOption { return func(o *callOptions) { o.priority = n } }

// startBound is until when a call's attempts may begin. The zero value is no
// bound.
type startBound struct {
	within time.Duration
	by     time.Time
}

func newStartBound(start time.Time, within time.Duration) startBound {
	if within == 0 {
		return startBound{}
	}
	return startBound{within, start.Add(within)}
}

// context returns one for waits before an attempt. Cancel it when done.
func (b startBound) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if b.within == 0 {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, b.by, b.err())
}

// excludes reports whether no attempt may begin then.
func (b startBound) excludes(at time.Time) bool { return b.within != 0 && at.After(b.by) }

// err is the error of a call that may not be sent any more.
func (b startBound) err() error {
	return fmt.Errorf("no attempt could begin within %s, as StartWithin asks: %w", b.within, context.DeadlineExceeded)
}

var errNoneUp = errors.New("no worker is up, and the request was to start within a time that is over")

// watch calls end when the time to start is over, if the control plane, where
// there is one, lists no worker that is up then. Call what it returns when an
// answer is there.
func (b startBound) watch(ctx context.Context, control ControlPlane, end func(error)) (stop func()) {
	if b.within == 0 || control == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if backoff.Sleep(ctx, time.Until(b.by)) != nil {
			return
		}
		workers, err := control.Workers(ctx)
		if err == nil && !slices.ContainsFunc(workers, func(w WorkerState) bool { return w.Status.up() }) {
			end(errNoneUp)
		}
	}()
	return func() { cancel(); <-done }
}

// noneUp is the decision about an attempt that watch has ended.
func noneUp() decision {
	return decision{verdict: VerdictGiveUp, kind: ErrNoWorkers, cause: "cold_wait", reason: errNoneUp.Error(), mayHaveRun: true}
}
