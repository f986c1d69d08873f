package runpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
)

// Hold is a raised minimum of workers, see [Client.HoldWorkers]. Its methods are
// safe for concurrent use.
type Hold struct {
	holds  *holds
	turn   chan struct{} // held by who changes the record
	end    context.CancelFunc
	record HoldRecord // guarded by turn; its numbers never change
	began  time.Time
	seen   span // for the observers
	done   bool // guarded by turn: it was released
	gone   bool // likewise: its record was taken away
	doubt  bool // likewise: somebody may have taken it away unseen

	mu   sync.Mutex
	lost error
}

// Workers returns the minimum that this hold asks for.
func (h *Hold) Workers() int {
	if h == nil {
		return 0
	}
	return h.record.Workers
}

// Err returns why the hold ended by itself. It returns nil while the hold is in
// force, and after a Release that ended it. A hold ends by itself if its record is
// taken away, as [Client.ClearHolds] and runpod-workers release -all do, or if the
// cap of [WithMaxWorkerSeconds] is reached ([ErrCapReached]). Such a hold does not
// raise the minimum again; release it all the same.
func (h *Hold) Err() error {
	if h == nil || h.holds == nil {
		return notHeld("hold workers")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

func notHeld(op string) error {
	return refuse(op, "Hold", "it was not made by HoldWorkers")
}

// Release ends the hold and lowers the minimum to what the other holds ask for.
// If there is no other hold, it restores the minimum from before. If somebody else
// has changed the minimum, Release leaves it as it is. If Release fails, the
// minimum stays raised and is paid for: the error says so, and Release can be
// called again. The next client that holds or releases workers clears what is
// left. After success Release does nothing.
func (h *Hold) Release(ctx context.Context) error {
	const op = "release workers"
	if h == nil || h.holds == nil {
		return notHeld(op)
	}
	if ctx == nil {
		return refuse(op, "ctx", "it is nil")
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return ended(ctx, op)
	}
	if h.done {
		return nil
	}
	h.end()
	return h.release(ctx)
}

// release lowers the minimum. The caller has the turn.
func (h *Hold) release(ctx context.Context) error {
	if err := h.holds.undo(ctx, h.record); err != nil {
		if !h.gone {
			h.holds.abandon(ctx, h.record)
		}
		return stuck(h.record, err)
	}
	h.done = true
	h.holds.forget(h)
	return nil
}

// stuck is the error of a release that did not come about.
func stuck(r HoldRecord, err error) error {
	return &Error{Op: "release workers", Err: fmt.Errorf("endpoint %s may be left with a minimum of %d workers: %w", r.Endpoint, r.Workers, err),
		Advice: "release it again, or run: runpod-workers release; until then idle workers are paid for"}
}

// watch keeps the record from becoming stale, and lets the workers go at the cap.
func (h *Hold) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now().Add(holdRenewal); h.Err() == nil; {
		timer.Reset(min(time.Until(due), h.holds.lasts()))
		select {
		case <-timer.C:
		case <-h.holds.costs.over:
		case <-ctx.Done():
			return
		}
		h.holds.totals() // which spends
		switch {
		case h.holds.costs.capped():
			h.letGo(ctx)
		case !time.Now().Before(due):
			h.renewOnce(ctx)
			due = due.Add(holdRenewal)
		}
	}
}

// letGo releases a hold that is paid for no longer, until that has come about.
func (h *Hold) letGo(ctx context.Context) {
	h.holds.costs.tell()
	h.lose(h.holds.costs.err("hold workers"))
	for ctx.Err() == nil {
		err := h.releaseAt(ctx)
		if err == nil {
			return
		}
		h.holds.logger.LogAttrs(ctx, slog.LevelWarn, "workers are held beyond the cap", slog.String("error", err.Error()))
		backoff.Sleep(ctx, holdRenewal)
	}
}

// releaseAt releases the hold unless that is under way.
func (h *Hold) releaseAt(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil
	}
	if h.done {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return h.release(ctx)
}

func (h *Hold) renewOnce(ctx context.Context) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	default:
		return // it is being released
	}
	began, there := time.Now(), false
	store, err := h.holds.minimum.open(h.record.Endpoint)
	if err == nil {
		there, err = h.stillThere(ctx, store)
	}
	if err == nil && there && h.doubt {
		there, err = h.inForce(ctx, store)
		h.doubt = err != nil
	}
	switch {
	case ctx.Err() != nil:
		return
	case err == nil && !there:
		h.gone = true
		err = &Error{Op: "hold workers", Err: fmt.Errorf("the record of the hold of %d workers was taken away", h.record.Workers),
			Advice: "somebody cleared it, as runpod-workers release -all does; hold again if the workers are still wanted"}
		h.lose(err)
		h.holds.forget(h)
		h.holds.logger.LogAttrs(ctx, slog.LevelWarn, "workers are held no longer", slog.String("error", err.Error()))
		return
	case err == nil:
		h.record.Renewed = time.Now()
		err = store.save(ctx, h.record)
		h.doubt = h.doubt || err != nil || time.Since(began) > clearPause/2
	}
	if err != nil && ctx.Err() == nil {
		h.holds.logger.LogAttrs(ctx, slog.LevelWarn, "the hold's record could not be renewed", slog.String("error", err.Error()))
	}
}

// stillThere reports whether nobody has taken the record away. It looks twice: a
// file that is just being replaced may seem to be gone.
func (h *Hold) stillThere(ctx context.Context, store holdStore) (bool, error) {
	for range 2 {
		r, err := store.find(ctx, h.record.ID)
		if err != nil || r.Phase == phaseHeld {
			return err == nil, err
		}
		if err := backoff.Sleep(ctx, time.Second); err != nil {
			return false, err
		}
	}
	return false, nil
}

// inForce reports whether the minimum is still what this hold asks for. A record
// that was cleared while its renewal was long under way is back; then the minimum
// has been lowered, and the record is removed.
func (h *Hold) inForce(ctx context.Context, store holdStore) (bool, error) {
	at, err := h.holds.control.Scaling(ctx)
	if err != nil || at.MinWorkers >= within(h.record.Workers, at.MaxWorkers) {
		return err == nil, err
	}
	return false, store.erase(ctx, h.record.ID)
}

// lose notes why the hold is in force no longer.
func (h *Hold) lose(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost == nil {
		h.lost = why
	}
}

// closeTime is what Close allows for releasing.
const closeTime = 5 * time.Second

// holds is a Client's holds.
type holds struct {
	life    *lifetime
	control ControlPlane // nil: not given
	costs   *spending
	all     observers
	logger  *slog.Logger
	minimum *holdMinimum
	tasks   sync.WaitGroup // renewals

	mu     sync.Mutex
	made   []*Hold // those not released yet
	active map[*Hold]struct{}
	cost   time.Duration // worker-time held up to since
	since  time.Time
}

func newHolds(life *lifetime, control ControlPlane, costs *spending, all observers, logger *slog.Logger, open func(endpoint string) (holdStore, error)) *holds {
	return &holds{life: life, control: control, costs: costs, all: all, logger: logger, active: map[*Hold]struct{}{},
		minimum: &holdMinimum{control: control, logger: logger, open: open}}
}

// enter begins an operation, which needs the control plane.
func (s *holds) enter(ctx context.Context, op string) (*operation, error) {
	o, err := s.life.begin(ctx, op)
	if err == nil && s.control == nil {
		o.end()
		return nil, refuse(op, "WithControl", "it is not set, and the minimum of workers is the control plane's")
	}
	return o, err
}

// raise is Client.HoldWorkers.
func (s *holds) raise(ctx context.Context, n int) (*Hold, error) {
	const op = "hold workers"
	if n < 1 || n > maxWarm {
		return nil, refuse(op, "n", "%d: want 1 to %d workers", n, maxWarm)
	}
	o, err := s.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	if s.costs.capped() {
		return nil, s.costs.err(op)
	}
	r, err := s.record(o, n)
	if err != nil {
		return nil, asError(op, err)
	}
	h := &Hold{holds: s, turn: make(chan struct{}, 1), record: r}
	s.keep(h)
	return h, nil
}

// record clears stale holds, records another one and raises the minimum.
func (s *holds) record(ctx context.Context, n int) (r HoldRecord, err error) {
	v, err := s.minimum.look(ctx)
	if err == nil && slices.ContainsFunc(v.book, HoldRecord.Stale) {
		if _, err = s.minimum.lower(ctx, nil, func(HoldRecord) bool { return false }); err == nil {
			v, err = s.minimum.look(ctx)
		}
	}
	if err != nil {
		return r, err
	}
	if n > v.MaxWorkers {
		e := refuse("hold workers", "n", "%d workers: the endpoint's maximum is %d", n, v.MaxWorkers)
		e.Advice = fmt.Sprintf("raise it: runpod-workers set -max %d", n)
		return r, e
	}
	if r, err = s.minimum.raise(ctx, v, v.newRecord(n)); err != nil {
		s.takeBack(ctx, r)
	}
	return r, err
}

// undo lowers the minimum to what it is without a hold, and removes its record.
func (s *holds) undo(ctx context.Context, r HoldRecord) error {
	_, err := s.minimum.lower(ctx, &r, func(other HoldRecord) bool { return other.ID == r.ID })
	return err
}

// takeBack takes back a hold that came only half about.
func (s *holds) takeBack(ctx context.Context, r HoldRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := s.undo(ctx, r); err != nil {
		s.abandon(ctx, r)
		s.logger.LogAttrs(ctx, slog.LevelWarn, "minimum workers may be left raised", slog.String("error", stuck(r, err).Error()))
	}
}

// abandon marks a record, as far as that works, so that the next client clears
// it without waiting for it to become stale.
func (s *holds) abandon(ctx context.Context, r HoldRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	r.Phase = phaseLowering
	if store, err := s.minimum.open(r.Endpoint); err == nil {
		store.save(ctx, r) // if that fails too, it becomes stale
	}
}

// keep has a hold counted and renewed. An observer that panics leaves it to Close.
func (s *holds) keep(h *Hold) {
	ctx, end := context.WithCancel(context.Background())
	h.end, h.began = end, time.Now()
	s.count(h)
	_, h.seen = openSpan(ctx, s.all, h.info(), func(o *Observer) func(context.Context, HoldInfo) context.Context { return o.HoldStart })
	s.tasks.Go(func() {
		line.Guard(func() error { h.watch(ctx); return nil }, func(err error) { h.broke(ctx, err) })
	})
}

// broke ends the renewals of a hold in which the control plane or an observer has
// panicked: on a goroutine of ours nobody else could recover that.
func (h *Hold) broke(ctx context.Context, err error) {
	if err != nil {
		h.lose(&Error{Op: "hold workers", Err: err, Advice: "release it; otherwise its record is stale after 90 s"})
		h.holds.logger.LogAttrs(ctx, slog.LevelError, "the hold's record is renewed no longer", slog.String("error", err.Error()))
	}
}

func (s *holds) count(h *Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.active[h] = struct{}{}
	s.made = append(s.made, h)
}

// info is what observers are told of the hold.
func (h *Hold) info() HoldInfo {
	more := h.record.Workers - h.record.Before
	return HoldInfo{Wanted: h.record.Workers, Had: h.record.Before, WorkerSeconds: float64(max(0, more)) * time.Since(h.began).Seconds()}
}

// forget counts a hold no longer.
func (s *holds) forget(h *Hold) {
	if s.isActive(h) {
		closeSpan(h.seen, s.all, h.info(), func(o *Observer) func(context.Context, HoldInfo) { return o.HoldEnd })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	delete(s.active, h)
	if h.done {
		s.made = slices.DeleteFunc(s.made, func(m *Hold) bool { return m == h })
	}
}

func (s *holds) isActive(h *Hold) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.active[h]
	return ok
}

// recorded is Client.Holds.
func (s *holds) recorded(ctx context.Context) ([]HoldRecord, error) {
	const op = "list holds"
	o, err := s.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	at, err := s.control.Scaling(o)
	if err != nil {
		return nil, asError(op, err)
	}
	store, err := s.minimum.open(at.EndpointID)
	if err != nil {
		return nil, err
	}
	found, err := store.load(o)
	if err != nil {
		return nil, asError(op, err)
	}
	return found.book, found.err()
}

// clear is Client.ClearHolds.
func (s *holds) clear(ctx context.Context, all bool) ([]HoldRecord, error) {
	const op = "clear holds"
	o, err := s.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	gone, err := s.minimum.lower(o, nil, func(HoldRecord) bool { return all })
	if err != nil {
		return nil, asError(op, err)
	}
	return gone, nil
}

// settle books what has been held up to now. The caller holds the lock.
func (s *holds) settle() {
	now := time.Now()
	d := now.Sub(s.since) * time.Duration(s.held())
	s.cost += d
	s.costs.spend(d)
	s.since = now
}

// lasts is how long the cap allows what is held now.
func (s *holds) lasts() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.costs.lasts(s.held())
}

// held is how many workers this Client holds beyond what was there before.
func (s *holds) held() (n int) {
	for h := range s.active {
		n = max(n, h.record.Workers-h.record.Before)
	}
	return n
}

// totals returns the workers held now, and the worker-seconds held so far.
func (s *holds) totals() (workers int, seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.held(), s.cost.Seconds()
}

// releaseAll releases what is held, within closeTime.
func (s *holds) releaseAll() error {
	s.mu.Lock()
	left := slices.Clone(s.made)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var errs []error
	for _, h := range left {
		if err := h.Release(ctx); err != nil {
			errs = append(errs, err)
			s.logger.LogAttrs(ctx, slog.LevelWarn, "closed with workers held", slog.String("error", err.Error()))
		}
		h.end()
	}
	s.tasks.Wait()
	return errors.Join(errs...)
}
