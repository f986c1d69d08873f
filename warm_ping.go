package runpod

import (
	"context"
	"net/http"
	"time"
)

// pinger sends a wake's light requests. They are no calls: they take no place in
// flight and no pace, and are not sent again.
type pinger struct {
	ep   *endpoint
	path string
}

// ping sends one light request and says what it has shown. A worker that is
// named gets it if it is free.
func (p pinger) ping(ctx context.Context, worker string) (f finding) {
	o := p.observe(ctx, worker)
	d := p.ep.policy.classify(o)
	switch {
	case d.verdict == VerdictDeliver || o.WorkerID != "":
		f.answered, f.worker, f.ready = true, o.WorkerID, readyStatus(o.Status)
	case d.verdict == VerdictGiveUp:
		f.refused = &Error{Kind: d.kind, Status: o.Status, Body: p.ep.secrets.Bytes(o.Body), Err: o.Err, Advice: d.advice()}
	}
	f.inVain = d.cold && o.Elapsed >= p.ep.policy.QueueWait/2
	return f
}

// readyStatus reports whether a worker that answers a light request so can work:
// 204 is "initialising" to the balancer (Runpod docs), a 5xx is trouble or
// loading, and a 404 is a worker without that path.
func readyStatus(status int) bool { return status < 500 && status != http.StatusNoContent }

// observe sends one light request and returns what came of it.
func (p pinger) observe(ctx context.Context, worker string) (o Observation) {
	start := time.Now()
	o = Observation{RetryAfter: -1, Idempotent: true, Number: 1, IDsSeen: p.ep.idsSeen.Load()}
	defer func() { o.Elapsed = time.Since(start) }()
	req, err := p.ep.newRequest(http.MethodGet, p.path, nil)
	if err != nil {
		o.Err = err
		return o
	}
	if worker != "" {
		req.Header.Set(workerIDHeader, worker)
	}
	resp, err := p.ep.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		o.Err = err
		return o
	}
	o.Status, o.WorkerID = resp.StatusCode, workerOf(resp, p.ep.secrets)
	body := peekBody(ctx, resp.Body, peekTime) // to its end, if it has one: then the connection is used again
	defer body.Close()
	o.Body = body.beginning(resp.Header.Get("Content-Encoding"))
	if o.WorkerID != "" {
		p.ep.idsSeen.Store(true)
	}
	return o
}
