package runpod

import (
	"context"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// ControlPlane is what a Client needs of the service's control plane, about its
// one endpoint. Package control implements it over Runpod's REST v2. Its
// methods must be safe for concurrent use and return when their context ends.
type ControlPlane interface {
	// Scaling returns how the endpoint scales.
	Scaling(ctx context.Context) (Scaling, error)
	// SetMinWorkers changes the minimum of workers and nothing else. It returns
	// how the endpoint scales from then on.
	SetMinWorkers(ctx context.Context, n int) (Scaling, error)
	// Workers lists the workers that there are.
	Workers(ctx context.Context) ([]WorkerState, error)
}

// guardedControl keeps a caller's control plane from ending the process, or the
// goroutine that asks it: a panic becomes an error.
type guardedControl struct{ ControlPlane }

// Scaling asks the control plane.
func (g guardedControl) Scaling(ctx context.Context) (s Scaling, err error) {
	err = line.Apart(func() error { s, err = g.ControlPlane.Scaling(ctx); return err })
	return s, err
}

// SetMinWorkers tells the control plane.
func (g guardedControl) SetMinWorkers(ctx context.Context, n int) (s Scaling, err error) {
	err = line.Apart(func() error { s, err = g.ControlPlane.SetMinWorkers(ctx, n); return err })
	return s, err
}

// Workers asks the control plane.
func (g guardedControl) Workers(ctx context.Context) (workers []WorkerState, err error) {
	err = line.Apart(func() error { workers, err = g.ControlPlane.Workers(ctx); return err })
	return workers, err
}

// Scaling is how an endpoint scales and where, according to the control plane.
type Scaling struct {
	// EndpointID is the endpoint's id.
	EndpointID string
	// MinWorkers are always up, and billed; there are never more than MaxWorkers.
	MinWorkers, MaxWorkers int
	// IdleTimeout is how long a worker stays after its last request.
	IdleTimeout time.Duration
	// RequestsPerWorker is how many requests, waiting or in work, ask for one
	// worker (REQUEST_COUNT). It is 0 if the endpoint scales by another rule.
	RequestsPerWorker int
	// LoadBalancing is false for a queue-based endpoint, which answers none of
	// a Client's calls.
	LoadBalancing bool
	// DataCenters are those that workers may start in; none if the service
	// chooses.
	DataCenters []string
	// NetworkVolumes are the ids of the endpoint's network volumes; nil if they
	// are not known. A worker mounts the one in its own data center.
	NetworkVolumes []string
}

// WorkerState is one worker, as the control plane lists it.
type WorkerState struct {
	ID     string       // as in the header X-Runpod-Worker-Id
	Status WorkerStatus // what it is doing
}

// WorkerStatus is what a worker is doing.
type WorkerStatus string

// The statuses that Runpod documents (REST v2, list workers).
const (
	WorkerRunning      WorkerStatus = "RUNNING"      // at work on a request
	WorkerIdle         WorkerStatus = "IDLE"         // ready for a request
	WorkerInitializing WorkerStatus = "INITIALIZING" // in its cold start
	WorkerThrottled    WorkerStatus = "THROTTLED"    // waiting for a GPU
	WorkerUnhealthy    WorkerStatus = "UNHEALTHY"    // running, but given no requests
)

// up reports whether a worker of that status takes requests.
func (s WorkerStatus) up() bool { return s == WorkerRunning || s == WorkerIdle }

// raiseMaximum is the advice about a maximum of 0 workers.
const raiseMaximum = "raise it: runpod-workers set -max 3"
