package runpod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// holdMinimum raises and lowers the endpoint's minimum of workers by what is
// recorded. A hold restores the minimum if it is still what the holds set;
// otherwise somebody else has changed it, and it is left as it is.
type holdMinimum struct {
	control ControlPlane
	logger  *slog.Logger
	open    func(endpoint string) (holdStore, error)
}

// holdView is the endpoint and the records at one moment.
type holdView struct {
	Scaling
	store holdStore
	recordsFound
}

// holdPatience is how often a client looks, half a second apart, before it takes
// for somebody else's what may be another client's change under way.
const holdPatience = 8

// look reads the minimum, the records, and the minimum again, until nothing
// changes between: else a hold that ends just then would pass for a person's
// change.
func (m *holdMinimum) look(ctx context.Context) (v holdView, err error) {
	if v.Scaling, err = m.ask(ctx); err != nil {
		return v, err
	}
	if v.store, err = m.open(v.EndpointID); err != nil {
		return v, err
	}
	for range holdPatience {
		before := v.MinWorkers
		if v.recordsFound, err = v.store.load(ctx); err != nil {
			return v, err
		}
		if v.Scaling, err = m.ask(ctx); err != nil {
			return v, err
		}
		if v.MinWorkers == before && !v.unsettled(time.Now()) {
			break
		}
		if err := backoff.Sleep(ctx, time.Duration(200+mathrand.IntN(600))*time.Millisecond); err != nil {
			return v, ended(ctx, "look at holds")
		}
	}
	if err := v.recordsFound.err(); err != nil {
		m.logger.LogAttrs(ctx, slog.LevelWarn, "something among the records of holds is none", slog.String("error", err.Error()))
	}
	return v, nil
}

// ask asks the control plane for the bounds of the workers. Bounds that no endpoint
// can have are refused: what is restored later must be sound.
func (m *holdMinimum) ask(ctx context.Context) (Scaling, error) {
	s, err := m.control.Scaling(ctx)
	if err == nil && (s.MinWorkers < 0 || s.MinWorkers > maxWarm || s.MaxWorkers < 0) {
		err = &Error{Op: "hold workers", Kind: ErrIntegrity, Err: fmt.Errorf("the control plane says that the minimum is %d and the maximum %d workers", s.MinWorkers, s.MaxWorkers)}
	}
	return s, err
}

// unsettled reports whether a minimum that the holds have not set may be that of
// a client which is just changing it: two that do so at the same moment may see
// each other's change come late, and mend it.
func (v holdView) unsettled(now time.Time) bool {
	changing := func(r HoldRecord) bool { return r.Phase != phaseHeld && now.Sub(r.Renewed) < holdStale }
	return slices.ContainsFunc(v.book, changing) && !v.book.of(v.book.newest()).set(v.MinWorkers, v.MaxWorkers, now)
}

// newRecord makes the record of a hold that is taken now.
func (v holdView) newRecord(n int) HoldRecord {
	now := time.Now()
	round, before := v.book.join(v.MinWorkers, v.MaxWorkers, now)
	return HoldRecord{
		ID: rand.Text(), Endpoint: v.EndpointID, Round: round, Workers: n, Before: before, Phase: phaseRaising,
		Owner: holdOwner(), Taken: now, Renewed: now,
	}
}

// raise records a hold and raises the minimum to what all holds ask for. The
// record comes first, so that a process that is killed leaves one.
func (m *holdMinimum) raise(ctx context.Context, v holdView, r HoldRecord) (HoldRecord, error) {
	if err := v.store.save(ctx, r); err != nil {
		return r, err
	}
	err := m.reach(ctx, v, func(b book) int {
		return b.with(r).want(r.Round, r.Before, v.MaxWorkers, time.Now())
	})
	if err != nil {
		return r, err
	}
	r.Phase = phaseHeld
	return r, v.store.save(ctx, r)
}

// lower clears the records that gone names, and stale ones with them, and
// restores the minimum if it is still what the holds set. The caller's own
// record, if there is one, counts also if it was taken away.
func (m *holdMinimum) lower(ctx context.Context, own *HoldRecord, gone func(HoldRecord) bool) ([]HoldRecord, error) {
	v, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	all := v.book
	if own != nil {
		all = all.with(*own)
	}
	now := time.Now()
	going, stale := all.split(gone, now)
	if len(going)+len(stale) == 0 {
		return nil, nil
	}
	cleared := slices.Concat(going, stale)
	if round, before := all.restores(cleared, v.MinWorkers, v.MaxWorkers, now); round > 0 {
		err = m.restore(ctx, v, going, round, before)
	} else {
		m.logger.LogAttrs(ctx, slog.LevelWarn, "somebody has changed the minimum of workers: it is left as it is",
			slog.String("endpoint", v.EndpointID), slog.Int("minimum", v.MinWorkers))
	}
	if err == nil {
		err = m.eraseAll(ctx, v.store, going, stale)
	}
	if err == nil && own == nil && len(going) > 0 {
		err = m.eraseAgain(ctx, v.store, going)
	}
	if err != nil {
		return nil, err
	}
	return cleared, nil
}

// restore sets the minimum to what is wanted without the records that go. Those
// are marked before, so that being killed half way leaves what can be understood.
func (m *holdMinimum) restore(ctx context.Context, v holdView, going book, round, before int) error {
	for _, r := range v.book.only(going) {
		r.Phase = phaseLowering
		if err := v.store.save(ctx, r); err != nil {
			return err
		}
	}
	return m.reach(ctx, v, func(b book) int {
		return b.without(going).want(round, before, v.MaxWorkers, time.Now())
	})
}

// eraseAll removes records. What is stale is removed as far as that works: the
// next client goes on.
func (m *holdMinimum) eraseAll(ctx context.Context, store holdStore, going, stale book) error {
	for _, r := range going {
		if err := store.erase(ctx, r.ID); err != nil {
			return err
		}
	}
	for _, r := range stale {
		if err := store.erase(ctx, r.ID); err != nil {
			m.logger.LogAttrs(ctx, slog.LevelWarn, "a stale record of a hold is still there", slog.String("id", r.ID), slog.String("error", err.Error()))
			break
		}
	}
	return nil
}

// clearPause is how long a client that clears the holds of others waits before it
// looks again.
const clearPause = 4 * time.Second

// eraseAgain removes what is there again after a while: a living hold that was
// just renewing its record has put it back. A hold whose renewal takes longer
// than half of that finds out by itself.
func (m *holdMinimum) eraseAgain(ctx context.Context, store holdStore, going book) error {
	if err := backoff.Sleep(ctx, clearPause); err != nil {
		return ended(ctx, "clear holds")
	}
	found, err := store.load(ctx)
	if err != nil {
		return err
	}
	return m.eraseAll(ctx, store, found.book.only(going), nil)
}

// reach sets the minimum to what the records want, and looks again whether
// somebody else's record has come or gone meanwhile.
func (m *holdMinimum) reach(ctx context.Context, v holdView, want func(book) int) error {
	set := v.MinWorkers
	for range 5 {
		found, err := v.store.load(ctx)
		if err != nil {
			return err
		}
		n := want(found.book)
		if n == set {
			return nil
		}
		now, err := m.control.SetMinWorkers(ctx, n)
		if err != nil {
			return err
		}
		set = now.MinWorkers
	}
	return errors.New("others keep changing the minimum of workers")
}

// closeTime is how long a release may take that no caller waits for, or that Close
// waits for.
const closeTime = 5 * time.Second

// undo lowers the minimum to what it is without a hold, and removes its record.
func (m *holdMinimum) undo(ctx context.Context, r HoldRecord) error {
	_, err := m.lower(ctx, &r, func(other HoldRecord) bool { return other.ID == r.ID })
	return err
}

// takeBack takes back a hold that came only half about.
func (m *holdMinimum) takeBack(ctx context.Context, r HoldRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := m.undo(ctx, r); err != nil {
		m.abandon(ctx, r)
		m.logger.LogAttrs(ctx, slog.LevelWarn, "minimum workers may be left raised", slog.String("error", stuck(r, err).Error()))
	}
}

// abandon marks a record, as far as that works, so that the next client clears
// it without waiting for it to become stale.
func (m *holdMinimum) abandon(ctx context.Context, r HoldRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	r.Phase = phaseLowering
	if store, err := m.open(r.Endpoint); err == nil {
		store.save(ctx, r) // if that fails too, it becomes stale
	}
}

// stuck is the error of a release that did not come about.
func stuck(r HoldRecord, err error) error {
	return &Error{Op: "release workers", Err: fmt.Errorf("endpoint %s may be left with a minimum of %d workers: %w", r.Endpoint, r.Workers, err),
		Advice: "release it again, or run: runpod-workers release; until then idle workers are paid for"}
}
