package runpod

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// Hold is a raised minimum of workers, see [Client.HoldWorkers]. Its methods are
// safe for concurrent use.
type Hold struct {
	minimum *holdMinimum // nil: HoldWorkers has not made it
	cost    *holdCost
	all     observers
	turn    chan struct{} // held by who changes the record
	end     context.CancelFunc
	record  HoldRecord // guarded by turn; its numbers never change
	began   time.Time
	seen    span        // for the observers
	done    atomic.Bool // it was released
	gone    bool        // guarded by turn: its record was taken away
	doubt   bool        // likewise: somebody may have taken it away unseen

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
	if h == nil || h.minimum == nil {
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
	if h == nil || h.minimum == nil {
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
	if h.done.Load() {
		return nil
	}
	h.end()
	return h.release(ctx)
}

// release lowers the minimum. The caller has the turn.
func (h *Hold) release(ctx context.Context) error {
	if err := h.minimum.undo(ctx, h.record); err != nil {
		if !h.gone {
			h.minimum.abandon(ctx, h.record)
		}
		return stuck(h.record, err)
	}
	h.done.Store(true)
	h.over()
	return nil
}

// over counts the hold no longer, and says so to the observers: once.
func (h *Hold) over() {
	if h.cost.strike(h.record) {
		closeSpan(h.seen, h.all, h.info(), func(o *Observer) func(context.Context, HoldInfo) { return o.HoldEnd })
	}
}

// watch keeps the record from becoming stale, and lets the workers go at the cap.
func (h *Hold) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now().Add(holdRenewal); h.Err() == nil; {
		timer.Reset(min(time.Until(due), h.cost.lasts()))
		select {
		case <-timer.C:
		case <-h.cost.spending.over:
		case <-ctx.Done():
			return
		}
		h.cost.totals() // which spends
		switch {
		case h.cost.spending.capped():
			h.letGo(ctx)
		case !time.Now().Before(due):
			h.renewOnce(ctx)
			due = due.Add(holdRenewal)
		}
	}
}

// letGo releases a hold that is paid for no longer, until that has come about.
func (h *Hold) letGo(ctx context.Context) {
	h.cost.spending.tell()
	h.lose(h.cost.spending.err("hold workers"))
	for ctx.Err() == nil {
		err := h.releaseAt(ctx)
		if err == nil {
			return
		}
		h.minimum.logger.LogAttrs(ctx, slog.LevelWarn, "workers are held beyond the cap", slog.String("error", err.Error()))
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
	if h.done.Load() {
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
	store, err := h.minimum.open(h.record.Endpoint)
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
		h.over()
		h.minimum.logger.LogAttrs(ctx, slog.LevelWarn, "workers are held no longer", slog.String("error", err.Error()))
		return
	case err == nil:
		h.record.Renewed = time.Now()
		err = store.save(ctx, h.record)
		h.doubt = h.doubt || err != nil || time.Since(began) > clearPause/2
	}
	if err != nil && ctx.Err() == nil {
		h.minimum.logger.LogAttrs(ctx, slog.LevelWarn, "the hold's record could not be renewed", slog.String("error", err.Error()))
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
	at, err := h.minimum.control.Scaling(ctx)
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

// start has a hold counted and observed. An observer that panics leaves it to Close.
func (h *Hold) start(ctx context.Context) {
	h.cost.enlist(h.record)
	_, h.seen = openSpan(ctx, h.all, h.info(), func(o *Observer) func(context.Context, HoldInfo) context.Context { return o.HoldStart })
}

// info is what observers are told of the hold.
func (h *Hold) info() HoldInfo {
	more := h.record.Workers - h.record.Before
	return HoldInfo{Wanted: h.record.Workers, Had: h.record.Before, WorkerSeconds: float64(max(0, more)) * time.Since(h.began).Seconds()}
}

// broke ends the renewals of a hold in which the control plane or an observer has
// panicked: on a goroutine of ours nobody else could recover that.
func (h *Hold) broke(ctx context.Context, err error) {
	if err != nil {
		h.lose(&Error{Op: "hold workers", Err: err, Advice: "release it; otherwise its record is stale after 90 s"})
		h.minimum.logger.LogAttrs(ctx, slog.LevelError, "the hold's record is renewed no longer", slog.String("error", err.Error()))
	}
}
