// Package burst drives bursts of jobs against an endpoint, through several
// clients, and keeps records of them: JSON lines that a report is made of.
//
// All times in records are seconds of the endpoint's time since the run began.
// A simulated endpoint's time may run faster than a clock on the wall.
package burst

import (
	"strconv"
	"time"
)

// Seconds is a moment of a run, or a stretch of it. It is written with a
// millisecond's precision.
type Seconds float64

// MarshalJSON writes at most three decimals, which keeps large records small.
func (s Seconds) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(s), 'f', 3, 64)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return b, nil
}

// String is the figure for people: "74 s", "1.2 s".
func (s Seconds) String() string {
	digits := 0
	if s < 10 && s > -10 {
		digits = 1
	}
	return strconv.FormatFloat(float64(s), 'f', digits, 64) + " s"
}

// Run is the first record of a run: what was asked for.
type Run struct {
	Name        string    `json:"name"` // the client: naive, docs or library
	Endpoint    string    `json:"endpoint"`
	Simulated   bool      `json:"simulated,omitempty"`
	Preset      string    `json:"preset,omitempty"` // of a simulated endpoint
	Config      string    `json:"config,omitempty"` // the file that described it
	Started     time.Time `json:"started"`
	Speed       float64   `json:"speed"` // endpoint seconds in a second
	Seed        uint64    `json:"seed,omitempty"`
	Requests    int       `json:"requests"` // 0: as many as fit into Duration
	Concurrency int       `json:"concurrency"`
	Warm        int       `json:"warm,omitempty"` // workers woken during the first uploads
	Rate        float64   `json:"rate,omitempty"` // arrivals a second
	Ramp        Seconds   `json:"ramp,omitempty"`
	Duration    Seconds   `json:"duration,omitempty"`
	QueueWait   Seconds   `json:"queue_wait"` // how long the balancer has a request wait
	MinWorkers  int       `json:"min_workers,omitempty"`
	Inputs      string    `json:"inputs,omitempty"`
	Manifest    string    `json:"manifest,omitempty"`
	Resumed     bool      `json:"resumed,omitempty"` // goes on with an earlier run's missing jobs
}

// Job is the record of one job. Moments that were not reached are 0.
type Job struct {
	Index       int       `json:"index"`
	ID          string    `json:"id"`
	Due         Seconds   `json:"due"`   // when it was to begin
	Begin       Seconds   `json:"begin"` // when it had its turn
	Sent        Seconds   `json:"sent,omitempty"`
	Uploaded    Seconds   `json:"uploaded,omitempty"`
	Answered    Seconds   `json:"answered,omitempty"`
	End         Seconds   `json:"end"`
	Work        Seconds   `json:"work,omitempty"` // as the answer says
	Attempts    []Attempt `json:"attempts,omitempty"`
	BytesUp     int64     `json:"bytes_up,omitempty"`
	BytesDown   int64     `json:"bytes_down,omitempty"`
	Output      string    `json:"output,omitempty"` // the result's key
	Saved       string    `json:"saved,omitempty"`  // the file that holds the result
	OK          bool      `json:"ok"`
	Interrupted bool      `json:"interrupted,omitempty"`
	MayHaveRun  bool      `json:"may_have_run,omitempty"`
	Error       string    `json:"error,omitempty"`
}

// Attempt is one request of a job to the endpoint.
type Attempt struct {
	Start   Seconds `json:"start"`
	End     Seconds `json:"end"`
	Status  int     `json:"status,omitempty"` // 0: no answer came
	Worker  string  `json:"worker,omitempty"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`

	// Taken is when a worker got the request, where the endpoint tells (the
	// simulated one does): before, the request was in the balancer. Known says
	// that the endpoint told; Outcome is its own word for how it ended.
	Taken   Seconds `json:"-"`
	Known   bool    `json:"-"`
	Outcome string  `json:"-"`
}

// Request is the endpoint's own record of an attempt.
type Request struct {
	Job     int     `json:"job"`
	Arrived Seconds `json:"arrived"`
	Started Seconds `json:"started,omitempty"` // 0: no worker got it
	Ended   Seconds `json:"ended"`
	Worker  string  `json:"worker,omitempty"`
	Status  int     `json:"status,omitempty"`
	Outcome string  `json:"outcome"`
}

// Worker is the life of one worker. A live endpoint does not tell of its workers;
// then Seen is set and the life is from the first answer to the last.
type Worker struct {
	ID       string  `json:"id"`
	Begun    Seconds `json:"begun"` // began to start
	Ready    Seconds `json:"ready,omitempty"`
	Stopped  Seconds `json:"stopped,omitempty"`
	End      string  `json:"end,omitempty"`
	Served   int     `json:"served"`
	Starting Seconds `json:"starting"`
	Busy     Seconds `json:"busy"`
	Idle     Seconds `json:"idle"`
	Seen     bool    `json:"seen,omitempty"`
}

// Conn is the life of one connection.
type Conn struct {
	To     string  `json:"to"` // "s3" or "endpoint"
	Opened Seconds `json:"opened"`
	Closed Seconds `json:"closed"`
}

// End is the last record of a run. A run without one was cut off.
type End struct {
	At          Seconds `json:"at"`
	Interrupted bool    `json:"interrupted,omitempty"`
	Error       string  `json:"error,omitempty"` // why the run could not go on
}
