package runpod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// HoldWorkers raises the endpoint's minimum of workers to n, so that a burst
// meets workers that are up, and keeps it there until the Hold is released. It
// returns when the control plane has taken the change; the workers are up a cold
// start later. It needs [WithControl]. Minimum workers are billed all the time:
// see Stats.HeldWorkerSeconds.
//
// While several hold, in this process or elsewhere, the largest n holds; the
// last one out restores what was before the first. Where a person has changed
// the minimum meanwhile, theirs stays. A change to the very value that the holds
// had set cannot be told from theirs.
//
// # A killed process leaves the minimum raised
//
// The control plane has neither an expiry nor a compare-and-set, so nobody but
// a client lowers the minimum again, and until then it is paid for. Every hold is
// therefore recorded before anything is raised, and renewed every 20 s: as the
// object .runpod-go/holds/<endpoint>/<id>.json on the network volume, which
// outlives the process and its machine and is seen from every other one; without
// S3 settings, as a file runpod-go/holds/<endpoint>/<id>.json in
// [os.UserCacheDir], which is seen on this machine only. A record that was not
// renewed for 90 s is stale. Whoever next holds workers or releases them clears
// what stale records have raised; so does the command
//
//	go run github.com/gpuburst/runpod-go/cmd/runpod-workers release
//
// and nothing else does. Clocks of machines that hold the same endpoint may be
// up to a minute apart.
func (c *Client) HoldWorkers(ctx context.Context, n int) (*Hold, error) {
	const op = "hold workers"
	if n < 1 || n > maxWarm {
		return nil, refuse(op, "n", "%d: want 1 to %d workers", n, maxWarm)
	}
	o, err := c.beginHolds(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	return c.holds.take(o, n)
}

// Hold is a raised minimum of workers. Its methods are safe for concurrent use.
type Hold struct {
	holds  *holds
	turn   chan struct{} // held by who changes the record
	end    context.CancelFunc
	record HoldRecord // guarded by turn
	done   bool       // likewise
}

// Workers is the minimum that this hold asks for.
func (h *Hold) Workers() int { return h.record.Workers }

// Release ends the hold and lowers the minimum to what the others hold, or to
// what was before; a person's change is left alone. Where it fails the minimum
// stays raised and paid for: the error says so, Release can be called again, and
// the record is left for the next one to clear. After success it does nothing.
func (h *Hold) Release(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return ended(ctx, "release workers")
	}
	if h.done {
		return nil
	}
	h.end()
	_, err := h.holds.leave(ctx, func(r HoldRecord) bool { return r.ID == h.record.ID })
	if err != nil {
		h.abandon(ctx)
		return h.holds.stuck(h.record, err)
	}
	h.done = true
	h.holds.drop(h)
	return nil
}

// abandon marks a record, as far as that works, so that the next client clears
// it without waiting for it to become stale.
func (h *Hold) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	h.record.Phase = phaseLowering
	if store, err := h.holds.open(h.record.Endpoint); err == nil {
		store.put(ctx, h.record) // if that fails too, it becomes stale
	}
}

// stuck is the error of a release that did not come about.
func (s *holds) stuck(r HoldRecord, err error) error {
	return &Error{Op: "release workers", Err: fmt.Errorf("endpoint %s may be left with a minimum of %d workers: %w", r.Endpoint, r.Workers, err),
		Advice: "release it again, or run: runpod-workers release; until then idle workers are paid for"}
}

// Holds lists the holds that are recorded for the endpoint, this Client's and
// everybody else's, stale ones included.
func (c *Client) Holds(ctx context.Context) ([]HoldRecord, error) {
	o, err := c.beginHolds(ctx, "list holds")
	if err != nil {
		return nil, err
	}
	defer o.end()
	s, err := c.config.control.Scaling(o)
	if err != nil {
		return nil, asError("list holds", err)
	}
	store, err := c.holds.open(s.EndpointID)
	if err != nil {
		return nil, err
	}
	return store.list(o)
}

// ClearHolds ends the stale holds, or all of them, and lowers the minimum to
// what the others hold, or to what was before. It returns the records it has
// cleared.
func (c *Client) ClearHolds(ctx context.Context, all bool) ([]HoldRecord, error) {
	o, err := c.beginHolds(ctx, "clear holds")
	if err != nil {
		return nil, err
	}
	defer o.end()
	gone, err := c.holds.leave(o, func(HoldRecord) bool { return all })
	if err != nil {
		return nil, asError("clear holds", err)
	}
	return gone, nil
}

func (c *Client) beginHolds(ctx context.Context, op string) (*operation, error) {
	if c.config.control == nil {
		return nil, refuse(op, "WithControl", "it is not set, and the minimum of workers is the control plane's")
	}
	return c.life.begin(ctx, op)
}

const (
	holdRenewal = 20 * time.Second // how often a record is renewed
	holdStale   = 90 * time.Second // after which an older one is nobody's
	closeTime   = 5 * time.Second  // what Close allows for releasing
)

// holds is a Client's holds.
type holds struct {
	control ControlPlane
	logger  *slog.Logger
	open    func(endpoint string) (holdStore, error)
	tasks   sync.WaitGroup // renewals

	mu     sync.Mutex
	active map[*Hold]struct{}
	cost   time.Duration // worker-time held up to since
	since  time.Time
}

func newHolds(c *config, v *volume) *holds {
	return &holds{control: c.control, logger: c.logger, active: map[*Hold]struct{}{},
		open: func(endpoint string) (holdStore, error) { return openHoldStore(c, v, endpoint) }}
}

// take records a hold, raises the minimum and has the record renewed.
func (s *holds) take(ctx context.Context, n int) (*Hold, error) {
	const op = "hold workers"
	at, err := s.look(ctx)
	if err == nil && slices.ContainsFunc(at.records, HoldRecord.Stale) {
		if _, err = s.leave(ctx, HoldRecord.Stale); err == nil {
			at, err = s.look(ctx)
		}
	}
	if err != nil {
		return nil, asError(op, err)
	}
	if n > at.MaxWorkers {
		e := refuse(op, "n", "%d workers: the endpoint's maximum is %d", n, at.MaxWorkers)
		e.Advice = fmt.Sprintf("raise it: runpod-workers set -max %d", n)
		return nil, e
	}
	now := time.Now()
	h := &Hold{holds: s, turn: make(chan struct{}, 1), record: newHoldRecord(at, n, now)}
	if err = at.store.put(ctx, h.record); err == nil {
		if err = s.converge(ctx, at, h.record.Before, nil); err == nil {
			h.record.Phase = phaseHeld
			err = at.store.put(ctx, h.record)
		}
	}
	if err != nil {
		s.undo(ctx, h)
		return nil, asError(op, err)
	}
	s.add(h)
	return h, nil
}

func newHoldRecord(at holdView, n int, now time.Time) HoldRecord {
	base, void := at.base()
	return HoldRecord{
		ID: rand.Text(), Endpoint: at.EndpointID, Number: at.records.last() + 1, Workers: n, Before: base, Phase: phaseRaising, Void: void,
		Owner: holdOwner(), Taken: now, Renewed: now,
	}
}

// undo takes back a hold that came only half about.
func (s *holds) undo(ctx context.Context, h *Hold) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if _, err := s.leave(ctx, func(r HoldRecord) bool { return r.ID == h.record.ID }); err != nil {
		h.abandon(ctx)
		s.logger.LogAttrs(ctx, slog.LevelWarn, "minimum workers may be left raised", slog.String("error", s.stuck(h.record, err).Error()))
	}
}

// add has a hold renewed and counted.
func (s *holds) add(h *Hold) {
	ctx, end := context.WithCancel(context.Background())
	h.end = end
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.active[h] = struct{}{}
	s.tasks.Go(func() { h.renew(ctx) })
}

func (s *holds) drop(h *Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	delete(s.active, h)
}

// renew keeps the record from becoming stale.
func (h *Hold) renew(ctx context.Context) {
	for sleep(ctx, holdRenewal) == nil {
		h.renewOnce(ctx)
	}
}

func (h *Hold) renewOnce(ctx context.Context) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	default:
		return // it is being released
	}
	store, err := h.holds.open(h.record.Endpoint)
	if err == nil && ctx.Err() == nil {
		h.record.Renewed = time.Now()
		err = store.put(ctx, h.record)
	}
	if err != nil && ctx.Err() == nil {
		h.holds.logger.LogAttrs(ctx, slog.LevelWarn, "the hold's record could not be renewed", slog.String("error", err.Error()))
	}
}

// settle books what has been held up to now. The caller holds the lock.
func (s *holds) settle() {
	now := time.Now()
	s.cost += now.Sub(s.since) * time.Duration(s.held())
	s.since = now
}

// held is how many workers this Client holds beyond what was before.
func (s *holds) held() (n int) {
	for h := range s.active {
		n = max(n, h.record.Workers-h.record.Before)
	}
	return n
}

func (s *holds) counts() (workers int, seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.held(), s.cost.Seconds()
}

// close releases what is held, within closeTime.
func (s *holds) close() error {
	s.mu.Lock()
	left := make([]*Hold, 0, len(s.active))
	for h := range s.active {
		left = append(left, h)
	}
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
