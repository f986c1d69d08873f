package runpodtest

import (
	"encoding/json"
	"time"
)

// JobLife is the life of one job. Times are the service's, counted from the
// server's start; zero means it did not happen.
type JobLife struct {
	ID       string
	State    JobState
	Worker   string
	Retries  int
	Queued   time.Duration
	Started  time.Duration
	Ended    time.Duration
	Webhook  string          // as asked for; it is noted, not called
	Policy   json.RawMessage // likewise, as it came
	S3Config json.RawMessage // likewise
}

// Jobs returns the life of every job so far, in the order they came.
func (s *Server) Jobs() []JobLife {
	q := s.jobs.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]JobLife, len(q.order))
	for i, j := range q.order {
		out[i] = j.JobLife
	}
	return out
}

// JobCalls returns how often each operation of the job API was called ("run",
// "status", ...), and how many calls were over its rate limits.
func (s *Server) JobCalls() (calls map[string]int, limited int) {
	return s.jobs.limits.counts()
}

// tally is what /health says of the jobs. The caller holds the lock.
func (q *queue) tally() map[string]int {
	n := map[string]int{"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": q.retried}
	for _, j := range q.order {
		switch j.State {
		case JobCompleted:
			n["completed"]++
		case JobFailed, JobTimedOut:
			n["failed"]++
		case JobInProgress:
			n["inProgress"]++
		case JobInQueue:
			n["inQueue"]++
		}
	}
	return n
}

// census is what /health says of the workers.
func (b *balancer) census() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[string]int{"idle": 0, "initializing": 0, "ready": 0, "running": 0, "throttled": 0, "unhealthy": 0}
	for _, w := range b.workers {
		switch {
		case w.unhealthy || w.unwell:
			n["unhealthy"]++
		case w.phase == throttled:
			n["throttled"]++
		case w.phase == starting:
			n["initializing"]++
		case w.phase == idle:
			n["idle"]++
			n["ready"]++
		case w.phase == busy:
			n["running"]++
		}
	}
	return n
}
