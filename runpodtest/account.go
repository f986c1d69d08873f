package runpodtest

import (
	"net/http"
	"sync"
	"time"
)

// Outcome is how a request ended.
type Outcome string

// The outcomes of requests.
const (
	OutcomeServed      Outcome = "served"       // a worker answered, status below 400
	OutcomeWorkerError Outcome = "worker-error" // a worker answered, status 400 or more
	OutcomeRefused     Outcome = "refused"      // no worker in time: the 400
	OutcomeRejected    Outcome = "rejected"     // turned away at the edge: key, size, path, affinity
	OutcomeOverran     Outcome = "overran"      // longer than ProcessingLimit: 524
	OutcomeCrashed     Outcome = "crashed"      // its worker died: 502
	OutcomeLeft        Outcome = "left"         // the client went away
	OutcomeClosed      Outcome = "closed"       // the server was closed
	OutcomeFault       Outcome = "fault"        // a Fault answered, or cut the connection
)

// Request is the record of one request to the endpoint. Times are the
// service's, counted from the server's start; zero means it did not happen.
type Request struct {
	Number  int           // 1 arrived first
	Method  string        // the HTTP method
	Path    string        // the URL's path
	Arrived time.Duration // when its header had come
	Waiting time.Duration // when it was whole and began to wait for a worker
	Started time.Duration // when a worker got it
	Ended   time.Duration // when the answer was written or given up
	Worker  string        // the id of the worker that got it
	Status  int           // 0: none was sent
	Outcome Outcome       // "" while it is under way
}

// WorkerLife is the record of one worker. Times are as in Request.
type WorkerLife struct {
	Number    int           // 1 was asked for first
	ID        string        // as in X-Runpod-Worker-Id
	Asked     time.Duration // when the autoscaler wanted it
	Begun     time.Duration // when it got a GPU and began to start
	Ready     time.Duration // when it could take its first request
	Stopped   time.Duration // when it ended
	End       string        // "scaled down", "cancelled", "crashed", "closed"; "" while it lives
	Unhealthy bool          // it never takes a request
	Served    int           // requests it was given
	Starting  time.Duration // billed for starting
	Busy      time.Duration // billed while it had a request
	Idle      time.Duration // billed while it had none
}

// Conns counts a listener's connections.
type Conns struct {
	Opened int // in all
	Peak   int // at once
}

// Stats are the totals of the account.
type Stats struct {
	Requests     int             // to the endpoint
	Succeeded    int             // OutcomeServed
	Refused      int             // OutcomeRefused
	Outcomes     map[Outcome]int // requests that have ended, by how
	PeakWaiting  int             // requests waiting for a worker at once
	PeakInFlight int             // requests at the endpoint at once, waiting or in work

	WorkersStarted int // workers that the autoscaler asked for
	PeakWorkers    int // workers at once, throttled ones not counted

	// Worker time that would be billed, in the service's time.
	Starting, Busy, Idle time.Duration

	S3Requests      int   // to the volume's S3 gateway
	ControlRequests int   // to the control plane, refused ones included
	EndpointConns   Conns // connections to the endpoint and the job API
	S3Conns         Conns // connections to the S3 gateway
}

// Billed returns all worker time: starting, busy and idle.
func (s Stats) Billed() time.Duration { return s.Starting + s.Busy + s.Idle }

func (st *Stats) addWorker(w WorkerLife) {
	st.WorkersStarted++
	st.Starting += w.Starting
	st.Busy += w.Busy
	st.Idle += w.Idle
}

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
