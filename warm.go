package runpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Warm has n workers start, and returns when n distinct ones have answered or
// are listed ready by the control plane. It returns how many there are; with
// fewer than n the error says why it waits no longer: ctx has ended, no worker
// came for [RetryPolicy.GiveUp], no further one for [RetryPolicy.QueueWait], or
// the endpoint refuses for good.
//
// It works by light requests, GET /ping unless [WithWarmPath] says otherwise,
// sent all at once: the autoscaler asks for one worker per scaler value of
// requests that it sees (Runpod docs; 4 unless the control plane says
// otherwise), so n workers take 4(n-1)+1 of them, and one more is sent. One after
// the other would raise one worker.
//
// One wake serves all callers and [WithWarmup]: a caller whose ctx ends leaves
// it going. Workers that are there are kept from idling out by a request each,
// every 3/5 of [RetryPolicy.IdleTimeout], until the calls that follow have come
// and gone, at most for [RetryPolicy.WarmFor]; Close ends it. Idle workers are
// billed: see Stats.WarmWorkerSeconds.
//
// A wake's requests are no calls: they take no place in flight and no pace, and
// every call that is sent takes one away. They are never sent to where calls
// keep all workers busy, and a worker answers one in an instant.
//
// Limits: an endpoint that drops starting workers as soon as demand falls
// (inferred, not documented) may do so when the first worker answers what the
// others were asked for by; [Client.HoldWorkers] is the way there. Workers that
// do not name themselves are told apart only with [WithControl]. And where a
// worker is up already it may answer light requests faster than they add up to
// what asks for a second one; they are repeated, and calls will do it. Under a
// scaler value of 1 a call that overtakes the leaving of the light request in
// whose place it is sent may start one worker more.
func (c *Client) Warm(ctx context.Context, n int) (int, error) {
	const op = "warm"
	if err := c.config.missingForCalls(http.MethodGet, c.ep.wake.path); err != nil {
		return 0, err
	}
	if n < 1 || n > maxWarm {
		return 0, refuse(op, "n", "%d: want 1 to %d workers", n, maxWarm)
	}
	o, err := c.life.begin(ctx, op)
	if err != nil {
		return 0, err
	}
	defer o.end()
	a := c.ep.wake.ask(n)
	select {
	case <-a.settled:
	case <-o.Done():
	}
	return c.ep.wake.result(a, o, op)
}

// maxWarm bounds what a slip of the finger can cost.
const maxWarm = 1000

// ask is one caller of Warm.
type ask struct {
	n       int
	begun   time.Time
	settled chan struct{} // closed when up and err are final
	up      int
	err     error
}

// ask begins a wake of n workers, or joins the one there is.
func (w *wake) ask(n int) *ask {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &ask{n: n, begun: time.Now(), settled: make(chan struct{})}
	if !w.live.Load() {
		w.forget(a.begun, w.ep.policy.IdleTimeout)
		w.failed = nil // another try
	}
	w.asks = append(w.asks, a)
	w.settleAsks(a.begun)
	w.start()
	w.nudge()
	return a
}

func (a *ask) settle(up int, err error) {
	a.up, a.err = up, err
	close(a.settled)
}

// result is what Warm returns.
func (w *wake) result(a *ask, ctx context.Context, op string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-a.settled:
	default:
		e := ended(ctx, op)
		e.Err = errors.Join(e.Err, fmt.Errorf("%d of %d workers are up", w.up(), a.n))
		return w.up(), e
	}
	if e, ok := errors.AsType[*Error](a.err); ok {
		named := *e
		named.Op = op
		return a.up, &named
	}
	return a.up, a.err
}

// settleAsks ends the waits that are over. The caller holds the lock.
func (w *wake) settleAsks(now time.Time) {
	rest := w.asks[:0]
	for _, a := range w.asks {
		up, most := w.up(), w.most(a.n)
		switch {
		case up >= most && most > 0:
			var err error
			if most < a.n {
				err = w.short(up, a.n, fmt.Sprintf("the endpoint's maximum is %d", most), "raise it: runpod-workers set -max "+fmt.Sprint(a.n))
			}
			w.hold(up)
			a.settle(up, err)
		case w.failed != nil:
			a.settle(up, w.failed)
		case up > 0 && now.Sub(w.progress) >= w.ep.policy.QueueWait && now.Sub(a.begun) >= w.ep.policy.QueueWait:
			w.hold(up)
			a.settle(up, w.short(up, a.n, "no further one came for "+w.ep.policy.QueueWait.String(), "check the endpoint's maximum workers and its capacity"))
		case up == 0 && now.Sub(a.begun) >= w.ep.policy.GiveUp:
			a.settle(0, w.short(0, a.n, "none came for "+w.ep.policy.GiveUp.String(), "check that the endpoint's maximum workers is above 0 and that GPUs are to be had"))
		default:
			rest = append(rest, a)
		}
	}
	clear(w.asks[len(rest):])
	w.asks = rest
}

// short is the error of a wake that did not reach its number.
func (w *wake) short(up, n int, why, advice string) error {
	return &Error{Kind: ErrNoWorkers, Err: fmt.Errorf("%d of %d workers are up: %s", up, n, why), Advice: advice}
}

// lease is one job whose inputs are on their way. A nil lease is none.
type lease struct {
	w     *wake
	ended bool // guarded by the wake's lock
}

// lease begins a job's share in the wake of WithWarmup.
func (w *wake) lease() *lease {
	if !w.config.onRun {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leases == 0 {
		w.failed, w.leased = nil, time.Now() // another burst, another try
	}
	w.leases++
	w.start()
	w.nudge()
	return &lease{w: w}
}

// end is called when the job's request is sent, or the job over. It may be
// called again.
func (l *lease) end() {
	if l == nil {
		return
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.w.leases--
		l.w.nudge()
	}
}

type leaseKey struct{}

// carry gives the context of the job's call, by which the attempt finds the
// lease to end.
func (l *lease) carry(ctx context.Context) context.Context {
	if l == nil {
		return ctx
	}
	return context.WithValue(ctx, leaseKey{}, l)
}

// sending tells that a call's attempt is about to be sent.
func (w *wake) sending(c *call) {
	if w.config.onRun {
		l, _ := c.Value(leaseKey{}).(*lease)
		l.end()
	}
	if w.live.Load() {
		w.makeWay()
	}
}

// makeWay withdraws a light request for a call that is about to be sent. First:
// both at once would ask for one worker too many.
func (w *wake) makeWay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls, _, _ := w.ep.admission.gate.Counts()
	w.trim(calls)
	w.nudge()
}

// saw tells that a worker has answered a call.
func (w *wake) saw(worker string) {
	if worker == "" || w.config.keep == 0 && !w.live.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.lastCall = now
	w.sight(worker, true, now)
	if w.config.keep > 0 {
		w.start()
	}
}

// learn asks the control plane what the endpoint is like. Waking goes on with
// the defaults where that fails.
func (w *wake) learn() {
	ctx, cancel := context.WithTimeout(w.ctx, w.renewal())
	defer cancel()
	s, err := w.control.Scaling(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learnt = time.Now()
	switch {
	case err != nil:
		w.ep.logger.LogAttrs(ctx, slog.LevelWarn, "waking without knowing the endpoint's scaling", slog.String("error", err.Error()))
	case !s.LoadBalancing:
		w.fail(&Error{Kind: ErrBadRequest, Err: errors.New("not a load-balancing endpoint")})
	case s.MaxWorkers == 0:
		w.fail(&Error{Kind: ErrNoWorkers, Err: errors.New("the endpoint's maximum is 0 workers"), Advice: "raise it: runpod-workers set -max 3"})
	default:
		w.scaling = s
	}
}

// list asks the control plane for the workers that are ready.
func (w *wake) list() {
	ctx, cancel := context.WithTimeout(w.ctx, w.renewal())
	defer cancel()
	workers, err := w.control.Workers(ctx)
	if err != nil {
		return // the requests tell it too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, one := range workers {
		if one.Status.up() {
			w.sight(one.ID, true, now)
		}
	}
	w.settleAsks(now)
}
