package runpodtest

import "fmt"

// SetWorkers changes the autoscaler's bounds while the server runs, as the
// console does. A maximum of 0 means no workers at all. Workers above a lowered
// maximum stop once they are idle.
func (s *Server) SetWorkers(minWorkers, maxWorkers int) error {
	if minWorkers < 0 || maxWorkers < minWorkers {
		return fmt.Errorf("runpodtest: SetWorkers(%d, %d): want 0 <= min <= max", minWorkers, maxWorkers)
	}
	return s.balancer.change(func(b *balancer) error {
		b.min, b.max = minWorkers, maxWorkers
		return nil
	})
}

// WorkerBounds returns the autoscaler's bounds as they are now.
func (s *Server) WorkerBounds() (minWorkers, maxWorkers int) {
	s.balancer.mu.Lock()
	defer s.balancer.mu.Unlock()
	return s.balancer.min, s.balancer.max
}

// SetCapacity changes how many workers get a GPU; zero means no limit. Workers
// that have one keep it.
func (s *Server) SetCapacity(workers int) error {
	if workers < 0 {
		return fmt.Errorf("runpodtest: SetCapacity(%d): it cannot be negative", workers)
	}
	return s.balancer.change(func(b *balancer) error {
		b.capacity = workers
		return nil
	})
}

// CrashWorker kills a living worker: the requests on it get the 502.
func (s *Server) CrashWorker(id string) error {
	return s.balancer.withWorker(id, func(b *balancer, w *worker) { b.remove(w, "crashed", errCrashed) })
}

// SetHealthy takes a living worker out of rotation, or puts it back in.
func (s *Server) SetHealthy(id string, healthy bool) error {
	return s.balancer.withWorker(id, func(b *balancer, w *worker) {
		w.unhealthy = !healthy
		b.ledger.note(func() { w.life.Unhealthy = !healthy })
	})
}

// withWorker changes one worker.
func (b *balancer) withWorker(id string, f func(*balancer, *worker)) error {
	return b.change(func(b *balancer) error {
		for _, w := range b.workers {
			if w.ID == id {
				f(b, w)
				return nil
			}
		}
		return fmt.Errorf("runpodtest: no worker %q is alive", id)
	})
}

// change makes a change and lets the balancer and the autoscaler react to it.
func (b *balancer) change(f func(*balancer) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("runpodtest: the server is closed")
	}
	if err := f(b); err != nil {
		return err
	}
	b.dispatch()
	b.rescale()
	return nil
}
