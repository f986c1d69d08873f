package runpodtest

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// endpoint is the balancer's HTTP side: it follows one request from its arrival
// to its answer.
type endpoint struct {
	cfg      *Config
	apiKey   string
	balancer *balancer
	ledger   *ledger
	faults   *faultList
}

// ServeHTTP takes a request through the edge, the queue and a worker.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, conn: connOf(r.Context()), rec: e.ledger.arrive(r), outcome: OutcomeFault}
	defer func() { e.ledger.end(c.rec, c.outcome, c.status) }()
	c.act = e.faults.forRequest(OnEndpoint, r, r.URL.Path)
	c.w = c.act.shape(w, r.Context(), c.conn, e.cfg.Speed)
	if c.act.at != atWorker && !sleep(r.Context(), e.cfg.real(c.act.delay)) {
		c.outcome = e.parting()
		return
	}
	if c.act.at == atArrival {
		c.status = c.act.status
		c.act.perform(w, c.conn)
		return
	}
	if e.admit(c) && e.read(c) {
		defer c.body.Close()
		if c.act.at == atRead {
			abort(c.conn)
		}
		e.queue(c)
	}
}

// parting is why a connection has ended: the client left, or the server closes.
func (e *endpoint) parting() Outcome {
	if e.balancer.ctx.Err() != nil {
		return OutcomeClosed
	}
	return OutcomeLeft
}

// admit checks the key and the endpoint's type.
func (e *endpoint) admit(c *call) bool {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok || token == "":
		c.reject(OutcomeRejected, http.StatusUnauthorized, writeProblem, "no token provided")
	case token != e.apiKey:
		c.reject(OutcomeRejected, http.StatusUnauthorized, writeProblem, "invalid api key")
	case e.cfg.QueueBased:
		c.reject(OutcomeRejected, http.StatusBadRequest, writeError, "not allowed for QB API")
	default:
		return true
	}
	return false
}

// read takes the whole request in, up to the limit. A client that leaves is only
// noticed by net/http once the body has been read.
func (e *endpoint) read(c *call) bool {
	body, err := spool(c.r, e.cfg.BodyLimit)
	switch {
	case errors.Is(err, errTooLarge):
		c.reject(OutcomeRejected, http.StatusRequestEntityTooLarge, writeError, "request body too large")
	case err != nil:
		c.outcome = e.parting()
		abort(c.conn)
	default:
		c.body = body
		return true
	}
	return false
}

// queue waits for a worker and, with one, does the work.
func (e *endpoint) queue(c *call) {
	wt := &waiter{
		affinity: parseAffinity(c.r.Header.Get(workerHeader)),
		free:     e.cfg.PingIsFree && e.isHealth(c.r),
	}
	if e.cfg.Unfairness > 0 {
		wt.place = place(e.cfg.Unfairness, draw(e.cfg.Seed, drawLot, c.rec.Number).Float64())
	}
	e.ledger.waits(c.rec)
	w, end := e.wait(c, wt)
	if w == nil {
		e.turnAway(c, wt, end)
		return
	}
	e.ledger.given(c.rec, w.ID)
	e.work(c, wt, w)
}

// isHealth reports whether a request is to the health path.
func (e *endpoint) isHealth(r *http.Request) bool {
	return r.URL.Path == "/ping" || r.URL.Path == e.cfg.HealthPath
}

// waitEnd is how a wait without a worker ended.
type waitEnd uint8

const (
	waitedInVain waitEnd = iota
	queueFull
	workerGone
	clientLeft
)

// wait returns the worker the request got, or why it got none.
func (e *endpoint) wait(c *call, wt *waiter) (*worker, waitEnd) {
	if !e.balancer.enqueue(wt) {
		return nil, queueFull
	}
	patience := e.cfg.QueueWait
	if wt.affinity.strict {
		patience = e.cfg.StrictWait
	}
	timer := time.NewTimer(e.cfg.real(patience))
	defer timer.Stop()
	end := waitedInVain
	select {
	case v := <-wt.verdict:
		return v.worker, workerGone
	case <-timer.C:
	case <-c.r.Context().Done():
		end = clientLeft
	}
	return e.balancer.giveUp(wt), end
}

// turnAway answers a request no worker took.
func (e *endpoint) turnAway(c *call, wt *waiter, end waitEnd) {
	switch {
	case end == clientLeft:
		c.outcome = e.parting()
	case end == workerGone:
		c.reject(OutcomeRejected, http.StatusNotFound, writeReason, "affinity_worker_gone")
	case end == waitedInVain && wt.affinity.strict:
		c.reject(OutcomeRefused, http.StatusBadRequest, writeTimeout, "timed out waiting for worker")
	case e.cfg.Refusal == RefusalProblem:
		c.reject(OutcomeRefused, http.StatusBadRequest, writeProblem, "timed out waiting for worker")
	default:
		c.reject(OutcomeRefused, http.StatusBadRequest, writeError, "no workers available")
	}
}
