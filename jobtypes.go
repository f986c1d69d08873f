package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// JobState is how far a job of the job API has come (Runpod docs, job states).
type JobState string

// The states of a job.
const (
	JobInQueue    JobState = "IN_QUEUE"
	JobInProgress JobState = "IN_PROGRESS"
	JobRunning    JobState = "RUNNING" // seen beside IN_PROGRESS
	JobCompleted  JobState = "COMPLETED"
	JobFailed     JobState = "FAILED"
	JobCancelled  JobState = "CANCELLED"
	JobTimedOut   JobState = "TIMED_OUT"
)

// Final reports whether nothing more will come of a job in this state.
func (s JobState) Final() bool {
	return s == JobCompleted || s == JobFailed || s == JobCancelled || s == JobTimedOut
}

// JobRequest is what the job API is to run. A zero field is left out, and means
// the service's default.
type JobRequest struct {
	Input   any    // what the worker's handler gets, as JSON; required
	Webhook string // a URL that gets the result when the job ends

	ExecutionTimeout time.Duration // of the job's running; above 5 s, the service's default is 10 min
	TTL              time.Duration // of the job's life, waiting included; 10 s to a week, the default is 24 h
	LowPriority      bool          // it starts no worker

	S3 *JobS3 // handed on to the worker

	// Wait is how long the service holds RunSync's request before it answers that
	// the job is not done: 1 s to 5 min, the service's default is 90 s. RunSync
	// goes on waiting either way.
	Wait time.Duration
}

// JobS3 is a store for the worker's files. Its secret goes to the service, and
// from there to the worker.
type JobS3 struct {
	AccessID     string `json:"accessId,omitempty"`
	AccessSecret string `json:"accessSecret,omitempty"`
	BucketName   string `json:"bucketName,omitempty"`
	EndpointURL  string `json:"endpointUrl,omitempty"`
	ObjectPath   string `json:"objectPath,omitempty"`
}

// check names the field that the service would refuse.
func (r *JobRequest) check(op string) error {
	hook, err := url.Parse(r.Webhook)
	switch {
	case r.Input == nil:
		return refuse(op, "JobRequest.Input", "it is nil: the service wants one, if only {}")
	case r.Webhook != "" && (err != nil || hook.Host == "" || hook.Scheme != "http" && hook.Scheme != "https"):
		return refuse(op, "JobRequest.Webhook", "want an http or https URL")
	case r.ExecutionTimeout != 0 && r.ExecutionTimeout <= 5*time.Second:
		return refuse(op, "JobRequest.ExecutionTimeout", "%v: the service wants more than 5 s", r.ExecutionTimeout)
	case r.TTL != 0 && (r.TTL < 10*time.Second || r.TTL > 7*24*time.Hour):
		return refuse(op, "JobRequest.TTL", "%v: the service takes 10 s to a week", r.TTL)
	case r.Wait != 0 && (r.Wait < time.Second || r.Wait > 5*time.Minute):
		return refuse(op, "JobRequest.Wait", "%v: the service takes 1 s to 5 min", r.Wait)
	}
	return nil
}

// MarshalJSON gives the request as the service takes it.
func (r JobRequest) MarshalJSON() ([]byte, error) {
	type policy struct {
		ExecutionTimeout int64 `json:"executionTimeout,omitempty"`
		TTL              int64 `json:"ttl,omitempty"`
		LowPriority      bool  `json:"lowPriority,omitempty"`
	}
	out := struct {
		Input   any     `json:"input"`
		Webhook string  `json:"webhook,omitempty"`
		Policy  *policy `json:"policy,omitempty"`
		S3      *JobS3  `json:"s3Config,omitempty"`
	}{Input: r.Input, Webhook: r.Webhook, S3: r.S3}
	if p := (policy{r.ExecutionTimeout.Milliseconds(), r.TTL.Milliseconds(), r.LowPriority}); p != (policy{}) {
		out.Policy = &p
	}
	return json.Marshal(out)
}

// encode makes a request's body, of at most limit bytes.
func (r *JobRequest) encode(op string, limit int) ([]byte, error) {
	if err := r.check(op); err != nil {
		return nil, err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, refuse(op, "JobRequest.Input", "it does not encode as JSON: %w", err)
	}
	if len(data) > limit {
		e := refuse(op, "JobRequest.Input", "%d bytes of JSON: the service takes at most %d MB here", len(data), limit/1_000_000)
		e.Kind, e.Advice = ErrTooLarge, "upload it and send its path"
		return nil, e
	}
	return data, nil
}

// hideSecrets takes out of an error what the service may have echoed of requests.
func hideSecrets(err error, requests ...JobRequest) error {
	e, ok := errors.AsType[*Error](err)
	for _, r := range requests {
		if ok && r.S3 != nil && r.S3.AccessSecret != "" {
			e.Body = redacted(e.Body, []string{r.S3.AccessSecret})
		}
	}
	return err
}

// JobResult is what the service says of a job. Times are the service's.
type JobResult[Out any] struct {
	ID        string
	State     JobState
	Output    Out           // the zero value where there is none
	Failure   *JobFailure   // why it failed; nil where the service gives no reason
	Delay     time.Duration // in the queue
	Execution time.Duration
	Retries   int
	WorkerID  string
}

// JobFailure is a worker's report of what went wrong in a job. It is the cause in
// the error of a job that has failed.
type JobFailure struct {
	Type      string // the exception's type, as Runpod's own worker library reports it; "" where it says only a message
	Message   string
	Traceback string
}

// Error is the type and the message.
func (f *JobFailure) Error() string {
	if f.Type == "" {
		return f.Message
	}
	return f.Type + ": " + f.Message
}

// UnmarshalJSON takes the forms that the field "error" was seen in: a message,
// an object, an object as JSON in a string (reported by users).
func (f *JobFailure) UnmarshalJSON(data []byte) error {
	var text string
	inner := data
	if json.Unmarshal(data, &text) == nil {
		inner = []byte(text)
	} else {
		text = string(data)
	}
	var fields struct {
		Type      string `json:"error_type"`
		Message   string `json:"error_message"`
		Traceback string `json:"error_traceback"`
	}
	if json.Unmarshal(inner, &fields) == nil && fields.Message != "" {
		*f = JobFailure{fields.Type, fields.Message, fields.Traceback}
	} else {
		*f = JobFailure{Message: text}
	}
	return nil
}

// jobReport is a job as the service shows it. Its output is decoded later, into
// the caller's type.
type jobReport struct {
	ID            string          `json:"id"`
	Status        JobState        `json:"status"`
	DelayTime     float64         `json:"delayTime"`     // ms
	ExecutionTime float64         `json:"executionTime"` // ms
	Output        json.RawMessage `json:"output"`
	Error         *JobFailure     `json:"error"`
	Retries       int             `json:"retries"`
	WorkerID      string          `json:"workerId"`
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// resultOf gives a report the caller's type.
func resultOf[Out any](op string, r *jobReport) (JobResult[Out], error) {
	result := JobResult[Out]{
		ID: r.ID, State: r.Status, Failure: r.Error, Retries: r.Retries, WorkerID: r.WorkerID,
		Delay: milliseconds(r.DelayTime), Execution: milliseconds(r.ExecutionTime),
	}
	if len(r.Output) == 0 || bytes.Equal(r.Output, []byte("null")) {
		return result, nil
	}
	if err := json.Unmarshal(r.Output, &result.Output); err != nil {
		return result, &Error{Op: op, JobID: r.ID, WorkerID: r.WorkerID, Body: capped(r.Output),
			Err: fmt.Errorf("the job's output is not of the type that was asked for, %T: %w", result.Output, err)}
	}
	return result, nil
}

// failed is the error of a job that has ended without success; nil where it has
// not.
func (r *jobReport) failed(op string) error {
	e := &Error{Op: op, JobID: r.ID, WorkerID: r.WorkerID}
	switch r.Status {
	case JobFailed:
		e.Kind = ErrJobFailed
	case JobCancelled:
		e.Kind = ErrJobCancelled
	case JobTimedOut:
		e.Kind, e.Advice = ErrJobTimedOut, "give it more time: JobRequest.ExecutionTimeout, or JobRequest.TTL if it was never started"
	default:
		return nil
	}
	if r.Error != nil {
		e.Err = r.Error
	}
	return e
}
