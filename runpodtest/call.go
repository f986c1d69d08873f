package runpodtest

import (
	"context"
	"net/http"
)

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

// reject answers at the edge: without a worker id.
func (c *call) reject(outcome Outcome, status int, write func(w http.ResponseWriter, status int, text string), text string) {
	c.outcome, c.status = outcome, status
	write(c.w, status, text)
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

// writeReason and writeTimeout are the answers of strict affinity. Runpod's docs
// name the reasons, not the bodies around them: these are inferred.
func writeReason(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, "application/json", map[string]string{"error": reason, "reason": reason})
}

func writeTimeout(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, "application/json", map[string]string{"error": text, "reason": "worker_timeout"})
}
