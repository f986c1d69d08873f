package runpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// holds is a Client's holds.
type holds struct {
	life    *lifetime
	cost    *holdCost
	all     observers
	minimum *holdMinimum
	tasks   sync.WaitGroup // renewals

	mu   sync.Mutex
	made []*Hold // those that may have to be released
}

func newHolds(life *lifetime, costs *spending, all observers, minimum *holdMinimum) *holds {
	return &holds{life: life, cost: newHoldCost(costs), all: all, minimum: minimum}
}

// enter begins an operation, which needs the control plane.
func (s *holds) enter(ctx context.Context, op string) (*operation, error) {
	o, err := s.life.begin(ctx, op)
	if err == nil && s.minimum.control == nil {
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
	if s.cost.spending.capped() {
		return nil, s.cost.spending.err(op)
	}
	r, err := s.record(o, n)
	if err != nil {
		return nil, asError(op, err)
	}
	h := &Hold{minimum: s.minimum, cost: s.cost, all: s.all, turn: make(chan struct{}, 1), record: r, began: time.Now()}
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
		s.minimum.takeBack(ctx, r)
	}
	return r, err
}

// keep has a hold renewed until it ends. Close releases what is left.
func (s *holds) keep(h *Hold) {
	ctx, end := context.WithCancel(context.Background())
	h.end = end
	s.mu.Lock()
	s.made = append(slices.DeleteFunc(s.made, func(m *Hold) bool { return m.done.Load() }), h)
	s.mu.Unlock()
	h.start(ctx)
	s.tasks.Go(func() {
		line.Guard(func() error { h.watch(ctx); return nil }, func(err error) { h.broke(ctx, err) })
	})
}

// recorded is Client.Holds.
func (s *holds) recorded(ctx context.Context) ([]HoldRecord, error) {
	const op = "list holds"
	o, err := s.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	at, err := s.minimum.control.Scaling(o)
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
			s.minimum.logger.LogAttrs(ctx, slog.LevelWarn, "closed with workers held", slog.String("error", err.Error()))
		}
		h.end()
	}
	s.tasks.Wait()
	return errors.Join(errs...)
}
