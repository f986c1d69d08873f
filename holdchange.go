package runpod

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"
)

// leave clears the records that gone names, and stale ones with them, and
// lowers the minimum to what is left, unless a person has changed it.
func (s *holds) leave(ctx context.Context, gone func(HoldRecord) bool) ([]HoldRecord, error) {
	at, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	var out []HoldRecord
	for _, r := range at.records {
		if gone(r) || r.Stale() {
			r.Phase = phaseLowering
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	if base, ok := at.records.base(); ok && at.records.account(at.MinWorkers) {
		for _, r := range out { // so that being killed half way leaves what can be understood
			if err := at.store.put(ctx, r); err != nil {
				return nil, err
			}
		}
		if err := s.converge(ctx, at, base, out); err != nil {
			return nil, err
		}
	} else {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "somebody has changed the minimum of workers: it is left as it is",
			slog.String("endpoint", at.EndpointID), slog.Int("minimum", at.MinWorkers))
	}
	for _, r := range out {
		if err := at.store.remove(ctx, r.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// holdView is the endpoint and the records at one moment.
type holdView struct {
	Scaling
	store   holdStore
	records book
}

// base is the minimum without holds, and the holds that a person's change has
// overruled.
func (v holdView) base() (n int, void []string) {
	if len(v.records) > 0 && v.records.account(v.MinWorkers) {
		n, _ = v.records.base()
		return n, v.records.void()
	}
	for _, r := range v.records {
		void = append(void, r.ID)
	}
	return v.MinWorkers, void
}

// look reads the minimum, the records, and the minimum again, until nothing
// changes between: else a hold that ends just then would pass for a person's
// change.
func (s *holds) look(ctx context.Context) (v holdView, err error) {
	if v.Scaling, err = s.control.Scaling(ctx); err != nil {
		return v, err
	}
	if v.store, err = s.open(v.EndpointID); err != nil {
		return v, err
	}
	for range holdPatience {
		before := v.MinWorkers
		if v.records, err = v.store.list(ctx); err != nil {
			return v, err
		}
		if v.Scaling, err = s.control.Scaling(ctx); err != nil {
			return v, err
		}
		if v.MinWorkers == before && !v.unsettled() {
			break
		}
		if err := sleep(ctx, time.Duration(200+rand.IntN(600))*time.Millisecond); err != nil {
			return v, ended(ctx, "look at holds")
		}
	}
	return v, nil
}

// holdPatience is how often a client looks, half a second apart, before it takes
// for a person's what may be another client's change under way.
const holdPatience = 8

// unsettled reports whether a minimum that the holds do not account for may be
// that of another client which is just changing it: two that do so at the same
// moment may see each other's change come late, and mend it.
func (v holdView) unsettled() bool {
	moving := func(r HoldRecord) bool { return r.Phase != phaseHeld && time.Since(r.Renewed) < holdStale }
	return slices.ContainsFunc(v.records, moving) && !v.records.account(v.MinWorkers)
}

// converge sets the minimum to what the records want without those in out, and
// looks again whether somebody else's record has come or gone meanwhile.
func (s *holds) converge(ctx context.Context, at holdView, base int, out []HoldRecord) error {
	set := at.MinWorkers
	for range 5 {
		records, err := at.store.list(ctx)
		if err != nil {
			return err
		}
		want := min(records.want(base, out, time.Now()), at.MaxWorkers)
		if want == set {
			return nil
		}
		now, err := s.control.SetMinWorkers(ctx, want)
		if err != nil {
			return err
		}
		set = now.MinWorkers
	}
	return errors.New("others keep changing the minimum of workers")
}
