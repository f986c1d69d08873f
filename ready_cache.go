package runpod

import (
	"context"
	"time"
)

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
