package runpod

import (
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
