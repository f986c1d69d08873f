package runpodtest

import "time"

// Draws is the random part of a Config: what its seed holds for each worker and
// request. A test can expect the simulated endpoint to take just these times, and
// a model of the endpoint can be checked against it. Get one from Config.Draws.
// It is safe for concurrent use.
type Draws struct{ cfg Config }

// Draws returns what the Config's seed draws. It returns the error that NewServer
// would return for the Config's values.
func (c Config) Draws() (Draws, error) {
	full, err := c.withDefaults()
	return Draws{full}, err
}

// Config returns the Config with its preset and its defaults filled in. Its
// MaxWorkers is the plain number of workers: 0 for NoWorkers.
func (d Draws) Config() Config { return d.cfg }

// ColdStart returns the cold start of a worker. Workers count from 1, in the order
// in which the autoscaler asks for them, minimum workers first.
func (d Draws) ColdStart(worker int) time.Duration {
	return d.cfg.ColdStart.at(d.cfg.Seed, drawColdStart, worker)
}

// ServiceTime returns how long a request's work takes. Requests count from 1, in
// order of arrival.
func (d Draws) ServiceTime(request int) time.Duration {
	return d.cfg.ServiceTime.at(d.cfg.Seed, drawService, request)
}

// Place returns where a request waits: -1 at the front of the line, 0 in it, 1 at
// its back. See Config.Unfairness.
func (d Draws) Place(request int) int {
	if d.cfg.Unfairness == 0 {
		return 0
	}
	return place(d.cfg.Unfairness, draw(d.cfg.Seed, drawLot, request).Float64())
}

// Unhealthy reports whether a worker never takes a request. See
// Config.UnhealthyRate.
func (d Draws) Unhealthy(worker int) bool {
	return draw(d.cfg.Seed, drawUnhealthy, worker).Float64() < d.cfg.UnhealthyRate
}
