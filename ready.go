package runpod

import (
	"context"
	"errors"
	"time"
)

// Readiness is what is known about an endpoint; see [Client.Ready]. It is a plain
// value, whose map must not be changed.
type Readiness struct {
	// Listed says that the control plane was asked. Without WithControl it is
	// false, and of the fields below only Unknown, LastAnswer and CheckedAt are
	// set.
	Listed bool
	// Unknown says in a sentence what is not known about the endpoint, and why;
	// "" if everything is. The fields that it names are zero and mean nothing.
	Unknown string
	// Warnings say in a sentence each what may keep calls from succeeding, and
	// what to do about it: several network volumes, a volume that workers do not
	// see, a maximum of 0 workers, workers of which none can work.
	Warnings []string
	Scaling
	// Workers counts the workers by state.
	Workers map[WorkerStatus]int
	// LastAnswer is when a worker last answered a call of this Client; zero if
	// none has.
	LastAnswer time.Time
	// CheckedAt is when all this was found out, at most 5 s ago.
	CheckedAt time.Time
}

// Up returns how many workers would take a request now, and whether that is
// known. 0 is not a failure: an endpoint scaled to zero starts a worker for the
// first request.
func (r Readiness) Up() (n int, known bool) {
	return r.Workers[WorkerRunning] + r.Workers[WorkerIdle], r.Workers != nil
}

// readyFor is how long an answer of Ready's stands. A health check asked every
// second by each of several replicas must stay within the control plane's 60
// requests a minute (Runpod docs); this one makes at most 24.
const readyFor = 5 * time.Second

// readiness keeps the last answer of Ready. Its one token is held by who asks;
// the others wait for it and find a fresh answer.
type readiness struct {
	life     *lifetime
	control  ControlPlane     // nil: not given
	answered func() time.Time // when a worker last answered a call
	volume   volumePlace

	turn chan struct{}
	last Readiness
	err  error
}

func newReadiness(life *lifetime, control ControlPlane, answered func() time.Time, volume volumePlace) *readiness {
	return &readiness{life: life, control: control, answered: answered, volume: volume, turn: make(chan struct{}, 1)}
}

// now is [Client.Ready].
func (r *readiness) now(ctx context.Context) (Readiness, error) {
	o, err := r.life.begin(ctx, "ready")
	if err != nil {
		return Readiness{}, err
	}
	defer o.end()
	if r.control == nil {
		return Readiness{LastAnswer: r.answered(), CheckedAt: time.Now(),
			Unknown: "its type, the bounds of its workers, the workers, its data centers and network volumes: WithControl is not set, so the control plane was not asked"}, nil
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-o.Done():
		return Readiness{}, ended(o, "ready")
	}
	if !r.last.CheckedAt.IsZero() && time.Since(r.last.CheckedAt) < readyFor {
		return r.last, r.err
	}
	got, err := r.inquire(o)
	if o.Err() != nil {
		return got, ended(o, "ready") // one caller's impatience says nothing about the endpoint
	}
	r.last, r.err = got, err
	return got, err
}

// inquire asks the control plane.
func (r *readiness) inquire(ctx context.Context) (Readiness, error) {
	got := Readiness{LastAnswer: r.answered(), CheckedAt: time.Now()}
	s, err := r.control.Scaling(ctx)
	if err != nil {
		got.Unknown = "everything but when a worker last answered: the control plane did not say"
		return got, asError("ready", err)
	}
	got.Listed, got.Scaling = true, s
	workers, err := r.control.Workers(ctx)
	if err == nil {
		got.Workers = map[WorkerStatus]int{}
		for _, w := range workers {
			got.Workers[w.Status]++
		}
	} else {
		got.Unknown = "its workers: the control plane did not list them"
	}
	got.Warnings = r.volume.warnings(got)
	if never := got.never(); never != nil {
		return got, never
	}
	if err != nil {
		return got, asError("ready", err)
	}
	return got, nil
}

// never is why no call to the endpoint can succeed; nil if nothing is known to
// prevent it.
func (r Readiness) never() error {
	switch {
	case !r.LoadBalancing:
		return &Error{Op: "ready", Kind: ErrBadRequest, Err: errors.New("not a load-balancing endpoint"),
			Advice: "name an endpoint of the load-balancing type"}
	case r.MaxWorkers == 0:
		return &Error{Op: "ready", Kind: ErrNoWorkers, Err: errors.New("the endpoint's maximum is 0 workers"),
			Advice: raiseMaximum}
	}
	return nil
}
