package runpod

import (
	"context"
	"io"
	"net/http"
	"time"
)

// ping is a light request under way; worker is the one it prefers, "" for any.
type ping struct {
	worker string
	cancel context.CancelFunc
}

// send sends a light request. The caller holds the lock.
func (w *wake) send(worker string) {
	// Nothing but the wait for a worker may take long.
	ctx, cancel := context.WithTimeout(w.ctx, w.ep.policy.QueueWait+w.ep.policy.Grace)
	p := &ping{worker: worker, cancel: cancel}
	w.pings[p] = struct{}{}
	w.sent++
	w.tasks.Go(func() {
		defer cancel()
		w.answered(p, w.ep.probe(ctx, w.path, worker))
	})
}

// answered notes what a light request has shown.
func (w *wake) answered(p *ping, o Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, mine := w.pings[p]; !mine || w.ctx.Err() != nil || !w.live.Load() {
		delete(w.pings, p)
		return // withdrawn
	}
	delete(w.pings, p)
	now := time.Now()
	d := w.ep.policy.classify(o)
	if d.verdict == VerdictDeliver || o.WorkerID != "" {
		w.sight(o.WorkerID, readyStatus(o.Status), now)
	} else if d.verdict == VerdictGiveUp {
		w.fail(&Error{Kind: d.kind, Status: o.Status, Body: redacted(o.Body, w.ep.secrets), Err: o.Err, Advice: callAdvice(d)})
	}
	w.settleAsks(now)
	if want := w.wanted(now); d.account == cold && o.Elapsed >= w.ep.policy.QueueWait/2 {
		calls, _, _ := w.ep.admission.gate.Counts()
		w.press(want, calls) // it has waited in vain: the next one takes its place
	}
}

// readyStatus reports whether a worker that answers a light request so can work:
// 204 is "initialising" to the balancer (Runpod docs), a 5xx is trouble or
// loading, and a 404 is a worker without that path.
func readyStatus(status int) bool { return status < 500 && status != http.StatusNoContent }

// fail ends the waking: the endpoint refuses for good.
func (w *wake) fail(err error) {
	w.failed = err
	w.settleAsks(time.Now())
	w.holdN = 0
	w.nudge()
}

// probe sends one light request, to a worker if it is free.
func (ep *endpoint) probe(ctx context.Context, path, worker string) (o Observation) {
	start := time.Now()
	o = Observation{RetryAfter: -1, Idempotent: true, Number: 1, IDsSeen: ep.idsSeen.Load()}
	defer func() { o.Elapsed = time.Since(start) }()
	req, err := ep.newRequest(http.MethodGet, path, nil)
	if err != nil {
		o.Err = err
		return o
	}
	if worker != "" {
		req.Header.Set(workerIDHeader, worker)
	}
	resp, err := ep.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		o.Err = err
		return o
	}
	defer resp.Body.Close()
	o.Status, o.WorkerID = resp.StatusCode, resp.Header.Get(workerIDHeader)
	o.Body, _ = io.ReadAll(io.LimitReader(resp.Body, peekLimit))
	io.Copy(io.Discard, io.LimitReader(resp.Body, peekLimit)) // so that the connection is used again
	if o.WorkerID != "" {
		ep.idsSeen.Store(true)
	}
	return o
}
