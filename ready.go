package runpod

import (
	"context"
	"errors"
	"time"
)

// ControlPlane is what a Client needs of the service's control plane, about its
// one endpoint. Package control implements it over Runpod's REST v2. Its
// methods must be safe for concurrent use and end with their context.
type ControlPlane interface {
	// Scaling tells how the endpoint scales.
	Scaling(ctx context.Context) (Scaling, error)
	// SetMinWorkers changes the minimum of workers and nothing else, and tells
	// how the endpoint scales from then on.
	SetMinWorkers(ctx context.Context, n int) (Scaling, error)
	// Workers lists the workers that there are.
	Workers(ctx context.Context) ([]WorkerState, error)
}

// Scaling is how an endpoint scales, as the control plane says.
type Scaling struct {
	EndpointID             string
	MinWorkers, MaxWorkers int
	// IdleTimeout is how long a worker stays after its last request.
	IdleTimeout time.Duration
	// RequestsPerWorker is how many requests, waiting or in work, ask for one
	// worker (REQUEST_COUNT); 0 where the endpoint scales by another rule.
	RequestsPerWorker int
	// LoadBalancing is false for an endpoint of the queue's kind, which answers
	// none of a Client's calls.
	LoadBalancing bool
}

// WorkerState is one worker, as the control plane lists it.
type WorkerState struct {
	ID     string
	Status WorkerStatus
}

// WorkerStatus is what a worker is doing.
type WorkerStatus string

// The statuses that Runpod documents (REST v2, list workers).
const (
	WorkerRunning      WorkerStatus = "RUNNING"      // at work on a request
	WorkerIdle         WorkerStatus = "IDLE"         // ready
	WorkerInitializing WorkerStatus = "INITIALIZING" // in its cold start
	WorkerThrottled    WorkerStatus = "THROTTLED"    // waiting for a GPU
	WorkerUnhealthy    WorkerStatus = "UNHEALTHY"    // up, and given nothing
)

// up reports whether such a worker takes requests.
func (s WorkerStatus) up() bool { return s == WorkerRunning || s == WorkerIdle }

// Readiness is what is known of an endpoint.
type Readiness struct {
	// Listed says that the control plane was asked. Without WithControl it is
	// false, and of the fields below only LastAnswer and CheckedAt are set.
	Listed bool
	Scaling
	// Workers counts the workers by state.
	Workers map[WorkerStatus]int
	// LastAnswer is when a worker last answered a call of this Client; zero:
	// never.
	LastAnswer time.Time
	// CheckedAt is when all this was learnt, at most 5 s ago.
	CheckedAt time.Time
}

// Up is how many workers would take a request now. None is no failure: an
// endpoint scaled to zero starts one for the first request.
func (r Readiness) Up() int { return r.Workers[WorkerRunning] + r.Workers[WorkerIdle] }

// readyFor is how long an answer of Ready's stands. A health check asked every
// second by each of several replicas must stay within the control plane's 60
// requests a minute (Runpod docs); this one makes at most 24.
const readyFor = 5 * time.Second

// Ready tells what is known of the endpoint, for a service's own health check.
// It sends nothing to the endpoint, so that it wakes no worker; with
// [WithControl] it asks the control plane, at most every 5 s for all callers
// together. The error is of the kind [ErrNoWorkers] where the endpoint's
// maximum is 0 workers (which it becomes when unused for 7 days, Runpod docs),
// and [ErrBadRequest] where it is no load-balancing endpoint: no call can
// succeed then. A Readiness comes with the error as far as it is known.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	o, err := c.life.begin(ctx, "ready")
	if err != nil {
		return Readiness{}, err
	}
	defer o.end()
	if c.config.control == nil {
		return Readiness{LastAnswer: c.ep.answeredAt(), CheckedAt: time.Now()}, nil
	}
	return c.readiness.get(o, func() (Readiness, error) { return c.askReady(o) })
}

func (c *Client) askReady(ctx context.Context) (Readiness, error) {
	r := Readiness{LastAnswer: c.ep.answeredAt(), CheckedAt: time.Now()}
	s, err := c.config.control.Scaling(ctx)
	if err != nil {
		return r, asError("ready", err)
	}
	r.Listed, r.Scaling = true, s
	switch {
	case !s.LoadBalancing:
		return r, &Error{Op: "ready", Kind: ErrBadRequest, Err: errors.New("not a load-balancing endpoint"),
			Advice: "name an endpoint of the load-balancing type"}
	case s.MaxWorkers == 0:
		return r, &Error{Op: "ready", Kind: ErrNoWorkers, Err: errors.New("the endpoint's maximum is 0 workers"),
			Advice: "raise it: runpod-workers set -max 3"}
	}
	workers, err := c.config.control.Workers(ctx)
	if err != nil {
		return r, asError("ready", err)
	}
	r.Workers = map[WorkerStatus]int{}
	for _, w := range workers {
		r.Workers[w.Status]++
	}
	return r, nil
}

// answeredAt is when a worker last answered any call; zero: never.
func (ep *endpoint) answeredAt() time.Time {
	if last := ep.lastAnswer.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// readiness keeps the last answer. Its one token is held by who asks; the
// others wait for it and find a fresh answer.
type readiness struct {
	turn chan struct{}
	last Readiness
	err  error
}

func newReadiness() *readiness { return &readiness{turn: make(chan struct{}, 1)} }

func (r *readiness) get(ctx context.Context, ask func() (Readiness, error)) (Readiness, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return Readiness{}, ended(ctx, "ready")
	}
	if !r.last.CheckedAt.IsZero() && time.Since(r.last.CheckedAt) < readyFor {
		return r.last, r.err
	}
	got, err := ask()
	if ctx.Err() != nil {
		return got, ended(ctx, "ready") // one caller's impatience says nothing about the endpoint
	}
	r.last, r.err = got, err
	return got, err
}
