package runpod

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// groupMember is one endpoint of a group, and what the group has seen of it. It is
// safe for concurrent use.
type groupMember struct {
	name   string // its host, for people
	runner *runner
	calls  *caller
	room   int // jobs that it can use at once
	warmer *warmer
	ready  func(context.Context) (Readiness, error)
	stats  func() Stats
	drain  func(context.Context) error
	close  func() error
	logger *slog.Logger
	idle   time.Duration // how long a worker stays after its last request
	wait   time.Duration // how long the balancer lets a request wait
	weight float64

	mu      sync.Mutex
	workers map[string]time.Time // when each last answered
	newest  time.Time            // when one was last seen for the first time
	listed  int                  // workers that the control plane lists; 0: it has none, or was not asked
	blind   time.Time            // until when the control plane is not asked
	busy    int
	failed  int       // attempts in a row that met trouble
	refusal time.Time // until when what it has refused counts
	refused int       // such times in a row
	away    time.Time // until when it is set aside
	times   int       // it was set aside in a row
	why     error
}

// view is what the choice depends on.
func (m *groupMember) view(now time.Time) memberView {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, at := range m.workers {
		if now.Sub(at) > 2*m.idle && m.busy < len(m.workers) {
			delete(m.workers, id)
		}
	}
	workers := max(len(m.workers), m.listed)
	return memberView{
		aside: now.Before(m.away), warm: workers > 0, refused: now.Before(m.refusal), doubtful: m.refused > 0,
		workers: workers, grown: now.Sub(m.newest) > m.wait, busy: m.busy, limit: m.calls.ep.admission.gate.Limit(), weight: m.weight,
	}
}

// hosting counts a job or a call that is there.
func (m *groupMember) hosting(do func() error) error {
	m.count(1)
	defer m.count(-1)
	return do()
}

func (m *groupMember) count(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy += n
}

// answered notes a worker's answer. Workers that have no name count as one.
func (m *groupMember) answered(worker string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.welcome()
	m.times, m.why = 0, nil
	if m.workers[worker].IsZero() {
		m.newest = now
	}
	m.workers[worker] = now
}

// welcome forgets what it has refused. The caller holds the lock.
func (m *groupMember) welcome() { m.failed, m.refused, m.refusal = 0, 0, time.Time{} }

// list notes what the control plane says of the endpoint: a first worker means
// that what it refused is over.
func (m *groupMember) list(r Readiness) {
	up, known := r.Up()
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.listed
	if m.listed = up; !known || m.failed >= 2 {
		m.listed = 0
	}
	if was == 0 && m.listed > 0 {
		m.welcome()
	}
}

// blindUntil notes that the control plane does not answer in time.
func (m *groupMember) blindUntil(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blind, m.listed = at, 0
}

func (m *groupMember) isBlind(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.blind)
}

// troubled notes an attempt that no worker has carried out: for want of one, or
// because nobody was reached.
func (m *groupMember) troubled(cold bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case cold && (m.listed > 0 || m.answeredWithin(m.wait, now)):
		return // its workers are busy, which is no reason to leave it
	case !cold:
		if m.failed++; m.failed < 2 {
			return
		}
	}
	clear(m.workers)
	m.listed = 0
	if !now.Before(m.refusal) {
		m.refused++
		m.refusal = now.Add(refusedFor(m.refused, m.wait))
	}
}

// answeredWithin reports whether a worker has answered in the last d. The caller
// holds the lock.
func (m *groupMember) answeredWithin(d time.Duration, now time.Time) bool {
	for _, at := range m.workers {
		if now.Sub(at) < d {
			return true
		}
	}
	return false
}

// setAside leaves the member alone for a while, with one log line.
func (m *groupMember) setAside(ctx context.Context, why error, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Before(m.away) {
		return
	}
	m.times++
	m.away, m.why = now.Add(asideFor(m.times)), why
	clear(m.workers)
	m.logger.LogAttrs(ctx, slog.LevelWarn, "endpoint set aside", slog.String("endpoint", m.name),
		slog.Duration("for", asideFor(m.times)), slog.String("error", why.Error()))
}

// asideWhy is why the member is set aside; nil if it is not.
func (m *groupMember) asideWhy(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Before(m.away) {
		return m.why
	}
	return nil
}

// isForGood reports whether an error says that no call to this endpoint succeeds:
// the key, the endpoint's id or its kind is wrong, or it may have no workers. A
// worker's own answer never says so.
func isForGood(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.WorkerID != "" || e.Field != "" {
		return false
	}
	n := len(e.Attempts)
	if n == 0 {
		return false
	}
	switch e.Attempts[n-1].Cause {
	case "unauthorized", "not_found", "queue_endpoint", "connect_impossible", "host_not_found":
		return true
	}
	return false
}
