// Package report makes a page that explains a burst from its records.
package report

import (
	"cmp"
	"slices"

	"github.com/gpuburst/runpod-go/internal/burst"
)

type seconds = burst.Seconds

// Figures are what a run came to. Their JSON is what -json promises. Times are
// seconds of the endpoint's time.
type Figures struct {
	Client      string  `json:"client"`
	Requests    int     `json:"requests"`
	Succeeded   int     `json:"succeeded"`
	Failed      int     `json:"failed"`
	Interrupted int     `json:"interrupted"` // in flight when the run was stopped
	NotStarted  int     `json:"not_started"`
	SuccessRate float64 `json:"success_rate"`
	Seconds     seconds `json:"seconds"` // from the first job's begin to the last one's end

	Attempts   int     `json:"attempts"`
	PerSuccess float64 `json:"attempts_per_success"`
	Refusals   int     `json:"cold_refusals"` // attempts that the balancer had no worker for

	Fastest seconds `json:"fastest_seconds"` // of the jobs that succeeded, from due to end
	Median  seconds `json:"median_seconds"`
	P90     seconds `json:"p90_seconds"`
	Slowest seconds `json:"slowest_seconds"`

	Stages map[string]seconds `json:"stage_seconds"` // all jobs together

	PeakInFlight  int     `json:"peak_in_flight"` // requests at the endpoint
	Workers       int     `json:"workers_started"`
	PeakWorkers   int     `json:"workers_peak"`
	WorkersKnown  bool    `json:"worker_time_known"`
	Starting      seconds `json:"worker_seconds_starting"`
	Busy          seconds `json:"worker_seconds_busy"`
	Idle          seconds `json:"worker_seconds_idle"`
	WorkerSeconds seconds `json:"worker_seconds"`
	Cost          float64 `json:"cost,omitempty"` // WorkerSeconds times the price

	S3Opened       int   `json:"s3_connections_opened"`
	S3Peak         int   `json:"s3_connections_peak"`
	EndpointOpened int   `json:"endpoint_connections_opened"`
	BytesUp        int64 `json:"bytes_up"`
	BytesDown      int64 `json:"bytes_down"`
}

// analyze counts a run up. Price is that of a worker-second; 0: not known.
func analyze(l *burst.Log, price float64) Figures {
	f := Figures{Client: l.Run.Name, Requests: max(l.Run.Requests, len(l.Jobs)), Stages: map[string]seconds{}}
	var took []seconds
	for i := range l.Jobs {
		j := &l.Jobs[i]
		f.addJob(j)
		if j.OK {
			took = append(took, j.End-j.Due)
		}
		for _, s := range stages(j) {
			f.Stages[s.name] += s.to - s.from
		}
	}
	f.NotStarted = f.Requests - len(l.Jobs)
	slices.Sort(took)
	f.Fastest, f.Median, f.P90, f.Slowest = quantile(took, 0), quantile(took, 0.5), quantile(took, 0.9), quantile(took, 1)
	if f.Requests > 0 {
		f.SuccessRate = float64(f.Succeeded) / float64(f.Requests)
	}
	if f.Succeeded > 0 {
		f.PerSuccess = float64(f.Attempts) / float64(f.Succeeded)
	}
	f.PeakInFlight = peak(attemptSpans(l))
	f.addWorkers(l)
	f.Cost = price * float64(f.WorkerSeconds)
	f.addConns(l)
	return f
}

func (f *Figures) addJob(j *burst.Job) {
	switch {
	case j.OK:
		f.Succeeded++
	case j.Interrupted:
		f.Interrupted++
	default:
		f.Failed++
	}
	f.Seconds = max(f.Seconds, j.End)
	f.Attempts += len(j.Attempts)
	f.BytesUp += j.BytesUp
	f.BytesDown += j.BytesDown
	for i := range j.Attempts {
		if refused(&j.Attempts[i]) {
			f.Refusals++
		}
	}
}

func (f *Figures) addWorkers(l *burst.Log) {
	var lives []span
	for _, w := range l.Workers {
		f.Starting += w.Starting
		f.Busy += w.Busy
		f.Idle += w.Idle
		f.WorkersKnown = f.WorkersKnown || !w.Seen
		lives = append(lives, span{w.Begun, workerEnd(l, w)})
	}
	f.Workers, f.PeakWorkers = len(l.Workers), peak(lives)
	f.WorkerSeconds = f.Starting + f.Busy + f.Idle
}

func workerEnd(l *burst.Log, w burst.Worker) seconds {
	if w.Stopped == 0 && l.End != nil {
		return l.End.At
	}
	return w.Stopped
}

func (f *Figures) addConns(l *burst.Log) {
	s3 := connSpans(l)
	f.S3Opened, f.S3Peak = len(s3), peak(s3)
	f.EndpointOpened = len(l.Conns) - len(s3)
}

// refused reports whether the balancer had no worker for an attempt. Where the
// endpoint does not tell, a 400 that names no worker counts.
func refused(a *burst.Attempt) bool {
	if a.Known {
		return a.Outcome == "refused"
	}
	return a.Status == 400 && a.Worker == ""
}

// span is a stretch of time; in a stage of a job it has a name.
type span struct{ from, to seconds }

type stage struct {
	name string
	span
	attempt int // from 0; -1: the stage is none of an attempt
}

// The stages of a job.
const (
	stTurn     = "waiting for its turn"
	stPool     = "waiting for the pool"
	stUpload   = "upload"
	stPlace    = "waiting for a place in flight"
	stBalancer = "in the balancer"
	stWorker   = "at the worker"
	stEndpoint = "at the endpoint" // balancer and worker, where nobody tells them apart
	stBackoff  = "backoff"
	stDownload = "download, clean-up"
)

var stageNames = []string{stTurn, stPool, stUpload, stPlace, stBalancer, stWorker, stEndpoint, stBackoff, stDownload}

// stages is how a job's time went, without gaps.
func stages(j *burst.Job) (all []stage) {
	at := j.Due
	to := func(name string, end seconds, attempt int) {
		if end > at {
			all = append(all, stage{name, span{at, end}, attempt})
			at = end
		}
	}
	to(stTurn, j.Begin, -1)
	to(stPool, cmp.Or(j.Sent, j.Uploaded, firstStart(j), j.End), -1)
	to(stUpload, cmp.Or(j.Uploaded, firstStart(j), j.End), -1)
	for i, a := range j.Attempts {
		if i == 0 {
			to(stPlace, a.Start, -1)
		} else {
			to(stBackoff, a.Start, -1)
		}
		switch {
		case a.Known && a.Taken > 0:
			to(stBalancer, a.Taken, i)
			to(stWorker, a.End, i)
		case a.Known || refused(&a):
			to(stBalancer, a.End, i)
		default:
			to(stEndpoint, a.End, i)
		}
	}
	switch {
	case j.OK || j.Answered > 0 || gaveUp(j):
		to(stDownload, j.End, -1)
	case len(j.Attempts) > 0:
		to(stBackoff, j.End, -1)
	default:
		to(stPlace, j.End, -1)
	}
	return all
}

// gaveUp reports whether the job's last attempt was not to be followed by another.
func gaveUp(j *burst.Job) bool {
	n := len(j.Attempts)
	return n > 0 && j.Attempts[n-1].Verdict == "give up"
}

func firstStart(j *burst.Job) seconds {
	if len(j.Attempts) == 0 {
		return 0
	}
	return j.Attempts[0].Start
}

func attemptSpans(l *burst.Log) (all []span) {
	for _, j := range l.Jobs {
		for _, a := range j.Attempts {
			all = append(all, span{a.Start, a.End})
		}
	}
	return all
}

// queueSpans is the time that requests were in the balancer.
func queueSpans(l *burst.Log) (all []span) {
	for i := range l.Jobs {
		for _, s := range stages(&l.Jobs[i]) {
			if s.name == stBalancer {
				all = append(all, s.span)
			}
		}
	}
	return all
}

func connSpans(l *burst.Log) (all []span) {
	for _, c := range l.Conns {
		if c.To == "s3" {
			all = append(all, span{c.Opened, c.Closed})
		}
	}
	return all
}

// Step is a count that changes: from At on there are N.
type Step struct {
	At burst.Seconds
	N  int
}

// InFlight counts a run's requests at the endpoint over time.
func InFlight(l *burst.Log) []Step { return steps(attemptSpans(l)) }

// steps counts how many spans there are at once.
func steps(all []span) []Step {
	changes := make([]Step, 0, 2*len(all))
	for _, s := range all {
		changes = append(changes, Step{s.from, 1}, Step{s.to, -1})
	}
	slices.SortFunc(changes, func(a, b Step) int { return cmp.Or(cmp.Compare(a.At, b.At), a.N-b.N) })
	out := changes[:0]
	n := 0
	for _, c := range changes {
		if n += c.N; len(out) > 0 && out[len(out)-1].At == c.At {
			out[len(out)-1].N = n
		} else {
			out = append(out, Step{c.At, n})
		}
	}
	return out
}

func peak(all []span) (most int) {
	for _, s := range steps(all) {
		most = max(most, s.N)
	}
	return most
}

// quantile of sorted values; 0 of none.
func quantile(sorted []seconds, q float64) seconds {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
