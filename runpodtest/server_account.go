package runpodtest

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"time"
)

// Requests returns the record of every request so far, in the order of arrival.
// It is safe for concurrent use, also after Close.
func (s *Server) Requests() []Request {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]Request, len(s.ledger.requests))
	for i, r := range s.ledger.requests {
		out[i] = *r
	}
	return out
}

// Workers returns the record of every worker so far, in the order in which the
// autoscaler asked for them. What a living worker has cost is counted up to now.
// It is safe for concurrent use, also after Close.
func (s *Server) Workers() []WorkerLife {
	s.balancer.view(func(_ settings, c *crew) { c.settle() })
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]WorkerLife, len(s.ledger.workers))
	for i, w := range s.ledger.workers {
		out[i] = *w
	}
	return out
}

// Stats returns the totals up to now. It is safe for concurrent use, also
// after Close.
func (s *Server) Stats() Stats {
	st := Stats{Outcomes: map[Outcome]int{}}
	for _, w := range s.Workers() {
		st.addWorker(w)
	}
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		st.Requests++
		st.Outcomes[r.Outcome]++
	}
	delete(st.Outcomes, "")
	st.Succeeded, st.Refused = st.Outcomes[OutcomeServed], st.Outcomes[OutcomeRefused]
	st.PeakWaiting, st.PeakInFlight, st.PeakWorkers = l.peakWait, l.peakFlight, l.peakWorkers
	st.S3Requests, st.ControlRequests = l.s3, int(s.control.served.Load())
	st.EndpointConns.Opened, st.EndpointConns.Peak = s.network.gates[OnEndpoint].counts()
	st.S3Conns.Opened, st.S3Conns.Peak = s.network.gates[OnS3].counts()
	return st
}

// accountLine is one line of the account as JSON.
type accountLine struct {
	Kind    string      `json:"kind"`
	Request *Request    `json:"request,omitempty"`
	Worker  *WorkerLife `json:"worker,omitempty"`
	Totals  *Stats      `json:"totals,omitempty"`
}

// WriteAccount writes the account to w as JSON lines: every request and worker in
// the order of time, then the totals. Durations are nanoseconds of the service's
// time.
func (s *Server) WriteAccount(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, l := range s.lines() {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) lines() []accountLine {
	var out []accountLine
	for _, r := range s.Requests() {
		out = append(out, accountLine{Kind: "request", Request: &r})
	}
	for _, w := range s.Workers() {
		out = append(out, accountLine{Kind: "worker", Worker: &w})
	}
	slices.SortStableFunc(out, func(a, b accountLine) int { return cmp.Compare(a.at(), b.at()) })
	st := s.Stats()
	return append(out, accountLine{Kind: "totals", Totals: &st})
}

func (l accountLine) at() time.Duration {
	if l.Request != nil {
		return l.Request.Arrived
	}
	return l.Worker.Asked
}

// Jobs returns the record of every job so far, in the order they came.
func (s *Server) Jobs() []JobLife {
	return s.jobs.queue.lives()
}

// JobCalls returns how often each operation of the job API was called ("run",
// "status", ...), and how many calls were over its rate limits.
func (s *Server) JobCalls() (calls map[string]int, limited int) {
	return s.jobs.limits.counts()
}
