package runpodtest

import (
	"context"
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
	gate     *gate
}

// call is one request on its way.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	conn *servedConn
	rec  *Request
	act  Action
	body *spooled

	outcome Outcome
	status  int
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

// reject answers at the edge: without a worker id.
func (c *call) reject(outcome Outcome, status int, write func(w http.ResponseWriter, status int, text string), text string) {
	c.outcome, c.status = outcome, status
	write(c.w, status, text)
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

// writeReason and writeTimeout are the answers of strict affinity. Runpod's docs
// name the reasons, not the bodies around them: these are inferred.
func writeReason(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, "application/json", map[string]string{"error": reason, "reason": reason})
}

func writeTimeout(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, "application/json", map[string]string{"error": text, "reason": "worker_timeout"})
}

// work has a worker answer, and steps in when it dies or takes too long.
func (e *endpoint) work(c *call, wt *waiter, w *worker) {
	ctx, cancel := context.WithCancel(w.Context)
	defer cancel()
	a := newAnswer(c, e.cfg, w)
	a.onHijack = func() { e.balancer.socketOpened(wt, w) }
	ran := make(chan runEnd, 1)
	go func() {
		end := e.run(c, a, w, ctx)
		e.balancer.finish(wt, w) // first: the client's next request must find the worker free
		ran <- end
	}()
	limit := time.NewTimer(e.cfg.real(e.cfg.ProcessingLimit))
	defer limit.Stop()
	e.attend(c, a, w, ran, limit.C)
}

// attend waits for the end of a request's work, whatever that is.
func (e *endpoint) attend(c *call, a *answer, w *worker, ran <-chan runEnd, limit <-chan time.Time) {
	left := c.r.Context().Done()
	for {
		select {
		case end := <-ran:
			e.conclude(c, a, end)
			return
		case <-w.Context.Done():
			e.intervene(c, a, OutcomeCrashed)
			return
		case <-limit:
			if !a.isHijacked() { // a socket may stay open longer (inferred)
				e.intervene(c, a, OutcomeOverran)
				return
			}
			limit = nil
		case <-left:
			if !a.isHijacked() {
				a.takeOver()
				c.outcome = e.parting()
				return
			}
			left = nil
		}
	}
}

// runEnd is how a worker's program came to the end of a request.
type runEnd uint8

const (
	runDone    runEnd = iota
	runAborted        // it cut its own connection
	runCrashed
)

// run is the worker's side of a request.
func (e *endpoint) run(c *call, a *answer, w *worker, ctx context.Context) (end runEnd) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			end = runAborted
		default:
			e.balancer.crash(w)
			end = runCrashed
		}
	}()
	h := w.handler
	switch {
	case c.act.at == atWorker:
		sleep(w.Context, e.cfg.real(c.act.delay))
		h = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { c.act.perform(rw, c.conn) })
	case w.loading():
		h = stillLoading
	case !e.isHealth(c.r):
		e.labour(c, w)
	}
	if w.Context.Err() != nil {
		return runCrashed // or the server closes
	}
	h.ServeHTTP(a, c.forWorker(ctx))
	if !a.finish() {
		return runCrashed
	}
	return runDone
}

// labour spends the service time. It runs on when the client has left, and half
// way through it the worker may die.
func (e *endpoint) labour(c *call, w *worker) {
	d := e.cfg.real(e.cfg.ServiceTime.at(e.cfg.Seed, drawService, c.rec.Number))
	if draw(e.cfg.Seed, drawCrash, c.rec.Number).Float64() < e.cfg.CrashRate {
		sleep(w.Context, d/2)
		panic(errCrashed)
	}
	sleep(w.Context, d)
}

// forWorker is the request as a worker sees it: without the key, which ends at
// the edge (reported by users).
func (c *call) forWorker(ctx context.Context) *http.Request {
	r := c.r.WithContext(ctx)
	r.Header = c.r.Header.Clone()
	r.Header.Del("Authorization")
	r.Body = c.body
	return r
}

// conclude ends a request whose worker has done what it would.
func (e *endpoint) conclude(c *call, a *answer, end runEnd) {
	switch {
	case end == runCrashed:
		e.intervene(c, a, OutcomeCrashed)
	case end == runAborted && !a.takeOver() && c.act.at != whileReply:
		e.badGateway(c, OutcomeWorkerError)
	case end == runAborted:
		panic(http.ErrAbortHandler)
	case c.act.at == afterWork:
		c.status = c.act.status
		c.act.perform(c.w, c.conn)
	default:
		c.settle(a.status)
	}
}

// settle books a worker's own answer.
func (c *call) settle(status int) {
	c.status = status
	switch {
	case c.act.at == atWorker: // stays OutcomeFault
	case status < http.StatusBadRequest:
		c.outcome = OutcomeServed
	default:
		c.outcome = OutcomeWorkerError
	}
}

// intervene ends a request over the head of its worker: with the balancer's own
// answer, or if the worker's has begun, by cutting the connection.
func (e *endpoint) intervene(c *call, a *answer, outcome Outcome) {
	begun := a.takeOver()
	if e.parting() == OutcomeClosed {
		outcome = OutcomeClosed
	}
	c.outcome = outcome
	switch {
	case begun || outcome == OutcomeClosed:
		c.status = a.status
		abort(c.conn)
	case outcome == OutcomeOverran:
		c.reject(outcome, 524, writeText, "error code: 524")
	default:
		e.badGateway(c, outcome)
	}
}

// badGateway answers for a worker that had the request and gave no answer.
func (e *endpoint) badGateway(c *call, outcome Outcome) {
	if !e.cfg.AnonymousCrash && !e.cfg.OmitWorkerID {
		c.w.Header().Set(workerHeader, c.rec.Worker)
	}
	c.reject(outcome, http.StatusBadGateway, writeText, "error code: 502")
}
