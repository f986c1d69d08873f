package runpod

import (
	"context"
	"net/http"
)

// warmer is what Warm does: it checks, asks the wake, and waits.
type warmer struct {
	wake    *wake
	path    string // of the light requests
	life    *lifetime
	missing func(method, path string) error // what settings calls lack; nil: none
}

// newWarmer makes the wake of an endpoint.
func newWarmer(c *config, ep *endpoint, life *lifetime, costs *spending) *warmer {
	w := newWake(c.warm, c.policy, c.control, costs, c.observers, c.logger)
	w.ping = pinger{ep, c.warm.path}.ping
	w.traffic = func() traffic {
		calls, _, waiting := ep.admission.gate.Counts()
		return traffic{calls: calls, waiting: waiting, limit: ep.admission.gate.Limit()}
	}
	return &warmer{wake: w, path: c.warm.path, life: life, missing: c.missingForCalls}
}

// warm is Client.Warm.
func (w *warmer) warm(ctx context.Context, n int) (int, error) {
	const op = "warm"
	if err := w.missing(http.MethodGet, w.path); err != nil {
		return 0, err
	}
	if n < 1 || n > maxWarm {
		return 0, refuse(op, "n", "%d: want 1 to %d workers", n, maxWarm)
	}
	o, err := w.life.begin(ctx, op)
	if err != nil {
		return 0, err
	}
	defer o.end()
	a := w.wake.ask(n)
	select {
	case <-a.settled:
	case <-o.Done():
	}
	return w.wake.result(o, a, op)
}

// warmWhile wakes n workers for as long as ctx lasts, and lets them go then.
func (w *warmer) warmWhile(ctx context.Context, n int) {
	if w.missing(http.MethodGet, w.path) != nil {
		return
	}
	o, err := w.life.begin(ctx, "warm")
	if err != nil {
		return
	}
	defer o.end()
	a := w.wake.ask(n)
	<-o.Done()
	w.wake.withdraw(a)
}
