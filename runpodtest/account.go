package runpodtest

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Outcome is how a request ended.
type Outcome string

const (
	OutcomeServed      Outcome = "served"       // a worker answered, status below 400
	OutcomeWorkerError Outcome = "worker-error" // a worker answered, status 400 or more
	OutcomeRefused     Outcome = "refused"      // no worker in time: the 400
	OutcomeRejected    Outcome = "rejected"     // turned away at the edge: key, size, affinity
	OutcomeOverran     Outcome = "overran"      // longer than ProcessingLimit: 524
	OutcomeCrashed     Outcome = "crashed"      // its worker died: 502
	OutcomeLeft        Outcome = "left"         // the client went away
	OutcomeClosed      Outcome = "closed"       // the server was closed
	OutcomeFault       Outcome = "fault"        // a Fault answered, or cut the connection
)

// Request is the life of one request to the endpoint. Times are the service's,
// counted from the server's start; zero means it did not happen.
type Request struct {
	Number  int // 1 arrived first
	Method  string
	Path    string
	Arrived time.Duration
	Waiting time.Duration // when it was whole and began to wait for a worker
	Started time.Duration // when a worker got it
	Ended   time.Duration // when the answer was written or given up
	Worker  string        // the id of the worker that got it
	Status  int           // 0: none was sent
	Outcome Outcome       // "" while it is under way
}

// WorkerLife is the life of one worker. Times as in Request; Starting, Busy and
// Idle are how long it was billed for each.
type WorkerLife struct {
	Number    int
	ID        string
	Asked     time.Duration // when the autoscaler wanted it
	Begun     time.Duration // when it got a GPU and began to start
	Ready     time.Duration
	Stopped   time.Duration
	End       string // "scaled down", "cancelled", "crashed", "closed"; "" while it lives
	Unhealthy bool
	Served    int // requests it was given
	Starting  time.Duration
	Busy      time.Duration
	Idle      time.Duration
}

// Conns counts a listener's connections.
type Conns struct {
	Opened int // in all
	Peak   int // at once
}

// Stats is the account up to now.
type Stats struct {
	Requests     int // to the endpoint
	Succeeded    int // OutcomeServed
	Refused      int // OutcomeRefused
	Outcomes     map[Outcome]int
	PeakWaiting  int // requests waiting for a worker at once
	PeakInFlight int // requests at the endpoint at once, waiting or in work

	WorkersStarted int
	PeakWorkers    int // at once, throttled ones not counted

	// Worker time that would be billed, of the service's own time.
	Starting, Busy, Idle time.Duration

	S3Requests int
	// ControlRequests are those to the control plane, refused ones included.
	ControlRequests int
	EndpointConns   Conns
	S3Conns         Conns
}

// Billed is all worker time: starting, busy and idle.
func (s Stats) Billed() time.Duration { return s.Starting + s.Busy + s.Idle }

// ledger keeps the account. Its methods are safe for concurrent use.
type ledger struct {
	cfg   *Config
	start time.Time

	mu                   sync.Mutex
	requests             []*Request
	workers              []*WorkerLife
	inFlight, peakFlight int
	peakWait             int
	peakWorkers          int
	s3                   int
}

// since is the service's time since the server's start.
func (l *ledger) since() time.Duration { return l.cfg.service(time.Since(l.start)) }

// arrive opens a request's record.
func (l *ledger) arrive(r *http.Request) *Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec := &Request{Number: len(l.requests) + 1, Method: r.Method, Path: r.URL.Path, Arrived: l.since()}
	l.requests = append(l.requests, rec)
	l.inFlight++
	l.peakFlight = max(l.peakFlight, l.inFlight)
	return rec
}

// waits notes that a request is whole and waits for a worker.
func (l *ledger) waits(rec *Request) { l.note(func() { rec.Waiting = l.since() }) }

// given notes that a request has a worker.
func (l *ledger) given(rec *Request, worker string) {
	l.note(func() { rec.Worker, rec.Started = worker, l.since() })
}

// end closes a request's record.
func (l *ledger) end(rec *Request, outcome Outcome, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Outcome, rec.Status, rec.Ended = outcome, status, l.since()
	l.inFlight--
}

// hire opens a worker's record.
func (l *ledger) hire(rec *WorkerLife) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Asked = l.since()
	l.workers = append(l.workers, rec)
}

// note changes a record.
func (l *ledger) note(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// Requests returns the life of every request so far, in the order of arrival.
func (s *Server) Requests() []Request {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]Request, len(s.ledger.requests))
	for i, r := range s.ledger.requests {
		out[i] = *r
	}
	return out
}

// Workers returns the life of every worker so far, in the order they were asked
// for. What a living worker has cost is counted up to now.
func (s *Server) Workers() []WorkerLife {
	s.balancer.settleBills()
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]WorkerLife, len(s.ledger.workers))
	for i, w := range s.ledger.workers {
		out[i] = *w
	}
	return out
}

// Stats returns the account up to now. It is safe for concurrent use, also
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
	st.S3Requests, st.ControlRequests = l.s3, s.control.count()
	st.EndpointConns.Opened, st.EndpointConns.Peak = s.endpoint.gate.counts()
	st.S3Conns.Opened, st.S3Conns.Peak = s.volume.gate.counts()
	return st
}

func (st *Stats) addWorker(w WorkerLife) {
	st.WorkersStarted++
	st.Starting += w.Starting
	st.Busy += w.Busy
	st.Idle += w.Idle
}

// line is one line of the account as JSON.
type line struct {
	Kind    string      `json:"kind"`
	Request *Request    `json:"request,omitempty"`
	Worker  *WorkerLife `json:"worker,omitempty"`
	Totals  *Stats      `json:"totals,omitempty"`
}

// WriteAccount writes the account as JSON lines: every request and worker in the
// order of time, then the totals. Durations are nanoseconds of the service's
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

func (s *Server) lines() []line {
	var out []line
	for _, r := range s.Requests() {
		out = append(out, line{Kind: "request", Request: &r})
	}
	for _, w := range s.Workers() {
		out = append(out, line{Kind: "worker", Worker: &w})
	}
	slices.SortStableFunc(out, func(a, b line) int { return cmp.Compare(a.at(), b.at()) })
	st := s.Stats()
	return append(out, line{Kind: "totals", Totals: &st})
}

func (l line) at() time.Duration {
	if l.Request != nil {
		return l.Request.Arrived
	}
	return l.Worker.Asked
}
