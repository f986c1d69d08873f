package runpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
)

// wake has workers start and stay while a burst is getting ready. It belongs to
// the Client, not to a caller: callers ask (Warm), take leases (jobs that
// upload), or leave it to WithKeepWarm. While any of these wants workers one
// goroutine looks at things every renewal; each light request has one of its own.
// What is decided, its core decides; it sends and locks around that. It is safe
// for concurrent use, and holds no lock across a wait. A nil wake wakes nobody.
type wake struct {
	ping    func(ctx context.Context, worker string) finding // sends one light request
	traffic func() traffic
	control ControlPlane // nil: not given
	policy  RetryPolicy
	costs   *spending
	all     observers
	logger  *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	nudged  chan struct{} // something has changed: look again soon
	live    atomic.Bool   // the goroutine runs; read by every attempt
	onRun   bool          // jobs take leases
	keeps   bool          // workers are kept after calls

	mu      sync.Mutex
	core    warmCore
	most    int                          // workers that were wanted since the goroutine began
	cancels map[int64]context.CancelFunc // of the light requests under way
}

// newWake returns a wake that nobody has asked for anything yet. Its ping and
// traffic are set before it is used.
func newWake(config warmConfig, policy RetryPolicy, control ControlPlane, costs *spending, all observers, logger *slog.Logger) *wake {
	w := &wake{
		control: control, policy: policy, costs: costs, all: all, logger: logger, onRun: config.onRun, keeps: config.keep > 0,
		core: newWarmCore(config, policy, costs.most), nudged: make(chan struct{}, 1), cancels: map[int64]context.CancelFunc{},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// totals returns the light requests sent, and the worker-seconds kept idle.
func (w *wake) totals() (sent int64, idle float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.core.sent, w.core.idle.Seconds()
}

// shutdown ends the wake and waits for it.
func (w *wake) shutdown() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.core.closed = true
	w.mu.Unlock()
	w.cancel()
	w.tasks.Wait()
}

// start has the goroutine run. The caller holds the lock.
func (w *wake) start(now time.Time) {
	if w.core.start(now) {
		w.most = 0
		w.live.Store(true)
		w.tasks.Go(func() { line.Guard(w.loop, w.broke) })
	}
}

func (w *wake) nudge() {
	select {
	case w.nudged <- struct{}{}:
	default:
	}
}

// broke ends a wake in which the control plane or an observer has panicked: on a
// goroutine of ours nobody else could recover that.
func (w *wake) broke(err error) {
	if err == nil {
		return
	}
	w.logger.LogAttrs(w.ctx, slog.LevelError, "waking workers has ended", slog.String("error", err.Error()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carryOut(w.core.fail(time.Now(), &Error{Err: err}))
	var o orders
	w.core.halt(&o)
	w.carryOut(o)
}

// loop looks at things until nobody wants workers any more.
func (w *wake) loop() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	_, before := w.totals()
	_, seen := openSpan(w.ctx, w.all, w.info(before), func(o *Observer) func(context.Context, WakeInfo) context.Context { return o.WakeStart })
	defer func() {
		closeSpan(seen, w.all, w.info(before), func(o *Observer) func(context.Context, WakeInfo) { return o.WakeEnd })
	}()
	for {
		if w.ignorant() {
			w.learn()
		}
		next, ok := w.step()
		if w.costs.capped() {
			w.costs.tell()
		}
		if !ok {
			return nil
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-w.costs.over:
		case <-w.nudged:
			// When the last upload has become a call, the light requests that are
			// left go a moment after it: demand must not fall in between.
			backoff.Sleep(w.ctx, w.policy.Jitter)
		case <-w.ctx.Done():
		}
	}
}

// info is what observers are told, with the worker-seconds beyond those before.
func (w *wake) info(before float64) WakeInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.most = max(w.most, w.core.wanted(now, w.traffic()))
	return WakeInfo{Wanted: w.most, Had: w.core.up(), WorkerSeconds: w.core.idle.Seconds() - before}
}

// step does what is due now, and says when it is to be called again; false: the
// wake is over.
func (w *wake) step() (next time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, at := time.Now(), w.traffic()
	d, idle := w.core.account(now, at)
	w.costs.spend(d)
	w.core.capped = w.costs.capped()
	o := w.core.step(now, at)
	w.carryOut(o)
	return min(w.core.renewal(), w.costs.lasts(idle)), !o.over
}

// carryOut does what the core has ordered. The caller holds the lock.
func (w *wake) carryOut(o orders) {
	w.most = max(w.most, o.want)
	if o.over {
		w.live.Store(false)
	}
	for _, id := range o.cancel {
		if cancel := w.cancels[id]; cancel != nil { // nil: it has just ended
			cancel()
		}
	}
	for _, p := range o.send {
		w.dispatch(p)
	}
	for _, a := range o.settled {
		close(a.settled)
	}
	if o.list && w.control != nil {
		w.tasks.Go(func() { line.Guard(w.list, w.broke) })
	}
}

// dispatch sends a light request. The caller holds the lock.
func (w *wake) dispatch(p ping) {
	// Nothing but the wait for a worker may take long.
	ctx, cancel := context.WithTimeout(w.ctx, w.policy.QueueWait+w.policy.Grace)
	w.cancels[p.id] = cancel
	w.tasks.Go(func() {
		defer cancel()
		w.found(p.id, w.ping(ctx, p.worker))
	})
}

// found takes in what a light request has shown.
func (w *wake) found(id int64, f finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.cancels, id)
	if w.ctx.Err() == nil {
		w.carryOut(w.core.found(time.Now(), w.traffic(), id, f))
	}
	if f.refused != nil {
		w.nudge()
	}
}

// ask begins a wake of n workers, or joins the one there is.
func (w *wake) ask(n int) *ask {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &ask{n: n, begun: time.Now(), settled: make(chan struct{})}
	w.core.capped = w.costs.capped()
	w.carryOut(w.core.join(a.begun, a))
	w.start(a.begun)
	w.nudge()
	return a
}

// withdraw takes back an ask, and lets the workers go that nobody else wants.
func (w *wake) withdraw(a *ask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.withdraw(a)
	w.nudge()
}

// result is what Warm returns, once the ask is settled or ctx has ended.
func (w *wake) result(ctx context.Context, a *ask, op string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-a.settled:
	default:
		e := ended(ctx, op)
		e.Err = errors.Join(e.Err, fmt.Errorf("%d of %d workers are up", w.core.up(), a.n))
		return w.core.up(), e
	}
	if e, ok := errors.AsType[*Error](a.err); ok {
		named := *e
		named.Op = op
		return a.up, &named
	}
	return a.up, a.err
}

// lease is one job whose inputs are on their way. A nil lease is none.
type lease struct {
	w      *wake
	lapsed bool // guarded by the wake's lock
}

// lease begins a job's share in the wake of WithWarmup.
func (w *wake) lease() *lease {
	if w == nil || !w.onRun {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.core.lend(now)
	w.start(now)
	w.nudge()
	return &lease{w: w}
}

// lapse ends the lease: the job's request is sent, or the job is over. It may
// be called again.
func (l *lease) lapse() {
	if l == nil {
		return
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.lapsed {
		l.lapsed = true
		l.w.core.leases--
		l.w.nudge()
	}
}

// sending notes that a call's attempt is about to be sent.
func (w *wake) sending() {
	if w != nil && w.live.Load() {
		w.makeWay()
	}
}

// makeWay withdraws a light request for a call that is about to be sent. First:
// both at once would ask for one worker too many.
func (w *wake) makeWay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var o orders
	w.core.trim(w.traffic().calls, &o)
	w.carryOut(o)
	w.nudge()
}

// saw notes that a worker has answered a call.
func (w *wake) saw(worker string) {
	if w == nil || worker == "" || !w.keeps && !w.live.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.core.saw(now, worker)
	if w.keeps {
		w.start(now)
	}
}

// ignorant reports whether the control plane should be asked how the endpoint
// scales.
func (w *wake) ignorant() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control != nil && (w.core.learnt.IsZero() || time.Since(w.core.learnt) > time.Minute)
}

// learn asks the control plane how the endpoint scales. If that fails, waking
// goes on with the defaults.
func (w *wake) learn() {
	ctx, cancel := context.WithTimeout(w.ctx, w.core.renewal())
	defer cancel()
	s, err := w.control.Scaling(ctx)
	if err != nil {
		w.logger.LogAttrs(ctx, slog.LevelWarn, "waking without knowing the endpoint's scaling", slog.String("error", err.Error()))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.core.learnt = now
	if err == nil {
		w.carryOut(w.core.learn(now, s))
	}
}

// list asks the control plane for the workers that are ready.
func (w *wake) list() error {
	ctx, cancel := context.WithTimeout(w.ctx, w.core.renewal())
	defer cancel()
	workers, err := w.control.Workers(ctx)
	if err != nil {
		return nil // the light requests show it too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carryOut(w.core.list(time.Now(), workers))
	return nil
}
