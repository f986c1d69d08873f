package runpodtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// JobState is how far a job has come (Runpod docs, job states).
type JobState string

// The states that Runpod documents. All but the first two are final.
const (
	JobInQueue    JobState = "IN_QUEUE"    // waits for a worker
	JobInProgress JobState = "IN_PROGRESS" // a worker has it
	JobCompleted  JobState = "COMPLETED"   // the program returned its output
	JobFailed     JobState = "FAILED"      // the program returned an error, or its worker died
	JobCancelled  JobState = "CANCELLED"   // a client cancelled it
	JobTimedOut   JobState = "TIMED_OUT"   // it waited or worked too long
)

func (s JobState) final() bool { return s != JobInQueue && s != JobInProgress }

// JobLife is the record of one job. Times are the service's, counted from the
// server's start; zero means it did not happen.
type JobLife struct {
	ID       string          // as /run answered it
	State    JobState        // how far it has come
	Worker   string          // the id of the worker that got it
	Retries  int             // how often a client had it run again
	Queued   time.Duration   // when it was submitted
	Started  time.Duration   // when a worker got it
	Ended    time.Duration   // when it reached a final state
	Webhook  string          // as asked for; it is noted, not called
	Policy   json.RawMessage // likewise, as it came
	S3Config json.RawMessage // likewise
}

// job is one job of the queue. The queue's lock guards it.
type job struct {
	JobLife
	number  int
	sync    bool
	input   json.RawMessage
	limit   time.Duration // of its execution
	ttl     time.Duration
	output  json.RawMessage
	failure string
	chunks  []json.RawMessage // emitted, and not yet streamed to anybody
	changed chan struct{}     // closed when there is news, and made anew
	cancel  context.CancelFunc
	expires time.Time
	batched bool // part of a batch: it does not expire
}

// news wakes those who wait for the job to change. The caller holds the lock.
func (j *job) news() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// report is a job as /status shows it. The caller holds the queue's lock.
func (j *job) report() map[string]any {
	out := map[string]any{"id": j.ID, "status": j.State}
	if j.Worker != "" {
		out["workerId"] = j.Worker
		out["delayTime"] = (j.Started - j.Queued).Milliseconds()
	}
	if j.Retries > 0 {
		out["retries"] = j.Retries
	}
	if j.Started > 0 && j.Ended > 0 {
		out["executionTime"] = (j.Ended - j.Started).Milliseconds()
	}
	if j.output != nil {
		out["output"] = j.output
	}
	if j.failure != "" {
		out["error"] = j.failure
	}
	return out
}

// submission is a request to run something, as the API takes it.
type submission struct {
	Input    json.RawMessage `json:"input"`
	Webhook  string          `json:"webhook"`
	Policy   json.RawMessage `json:"policy"`
	S3Config json.RawMessage `json:"s3Config"`
}

// jobPolicy is a submission's policy, in milliseconds.
type jobPolicy struct {
	ExecutionTimeout *int64 `json:"executionTimeout"`
	TTL              *int64 `json:"ttl"`
	LowPriority      bool   `json:"lowPriority"`
}

// check refuses what the docs say is refused: no input, times out of bounds.
func (s *submission) check() (p jobPolicy, err error) {
	if len(s.Input) == 0 || string(s.Input) == "null" {
		return p, errors.New("input is required")
	}
	if len(s.Policy) > 0 {
		if err := json.Unmarshal(s.Policy, &p); err != nil {
			return p, errors.New("policy is malformed")
		}
	}
	if p.ExecutionTimeout != nil && *p.ExecutionTimeout <= 5000 {
		return p, errors.New("policy.executionTimeout must be above 5000 ms")
	}
	if p.TTL != nil && (*p.TTL < 10_000 || *p.TTL > 7*24*3600*1000) {
		return p, errors.New("policy.ttl must be from 10000 ms to a week")
	}
	return p, nil
}

// describe is an error as Runpod's own worker library reports it: JSON in a
// string (reported by users).
func describe(err error) string {
	b, _ := json.Marshal(map[string]string{
		"error_type": fmt.Sprintf("%T", err), "error_message": err.Error(), "error_traceback": "",
	})
	return string(b)
}
