package runpodtest

import (
	"context"
	"net/http"
	"time"
)

// work has a worker answer, and steps in when it dies or takes too long.
func (e *endpoint) work(c *call, wt *waiter, w *worker) {
	ctx, cancel := context.WithCancel(w.Context)
	defer cancel()
	out := c.w
	if c.act.at == afterWork {
		out = discard{http.Header{}}
	}
	a := newAnswer(out, c.conn, e.cfg, w)
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
