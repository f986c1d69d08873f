package runpodtest

import "fmt"

// Fault sets a fault and returns its rule. For each request the first rule that
// matches fires, in the order in which they were set, and no other; a rule whose
// Times are used up makes way for the next. Faults come before everything else,
// authentication included.
func (s *Server) Fault(f Fault) *Rule { return s.faults.add(f) }

// SetWorkers changes the autoscaler's bounds while the server runs, as the
// console does. A maximum of 0 means no workers at all. Workers above a lowered
// maximum stop once they are idle. It returns an error, and changes nothing,
// unless 0 <= min <= max.
func (s *Server) SetWorkers(minWorkers, maxWorkers int) error {
	if minWorkers < 0 || maxWorkers < minWorkers {
		return fmt.Errorf("runpodtest: SetWorkers(%d, %d): want 0 <= min <= max", minWorkers, maxWorkers)
	}
	return s.balancer.change(func(set *settings) error {
		set.min, set.max = minWorkers, maxWorkers
		return nil
	})
}

// WorkerBounds returns the autoscaler's current bounds.
func (s *Server) WorkerBounds() (minWorkers, maxWorkers int) {
	s.balancer.view(func(set settings, _ *crew) { minWorkers, maxWorkers = set.min, set.max })
	return minWorkers, maxWorkers
}

// SetCapacity changes how many workers get a GPU; zero means no limit. Workers
// that have one keep it.
func (s *Server) SetCapacity(workers int) error {
	if workers < 0 {
		return fmt.Errorf("runpodtest: SetCapacity(%d): it cannot be negative", workers)
	}
	return s.balancer.change(func(set *settings) error {
		set.capacity = workers
		return nil
	})
}

// CrashWorker kills a living worker: the requests on it get the 502. It returns
// an error if no worker of that id is alive.
func (s *Server) CrashWorker(id string) error {
	return s.balancer.withWorker(id, func(w *worker) { s.balancer.crew.dismiss(w, "crashed", errCrashed) })
}

// SetHealthy takes a living worker out of rotation, or puts it back in. It
// returns an error if no worker of that id is alive.
func (s *Server) SetHealthy(id string, healthy bool) error {
	return s.balancer.withWorker(id, func(w *worker) {
		w.unhealthy = !healthy
		s.ledger.note(func() { w.life.Unhealthy = !healthy })
	})
}
