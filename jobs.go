package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
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

// The most that a request may have (Runpod docs: 10 and 20 MB).
const (
	maxRun     = 10_000_000
	maxRunSync = 20_000_000
)

// RunJob queues a job and returns at once. The service keeps its result for 30
// minutes after the job has ended. A request that gets no answer is not sent
// again where it may have been queued already: the error then says so.
//
// The job API belongs to queue-based endpoints. Its rate limits are kept to by
// waiting.
func RunJob[Out any](ctx context.Context, c *Client, r JobRequest) (*JobHandle[Out], error) {
	const op = "POST /run"
	body, err := r.encode(op, maxRun)
	if err != nil {
		return nil, err
	}
	var report jobReport
	if err := c.callJobs(ctx, http.MethodPost, "/run", body, &report); err != nil {
		return nil, err
	}
	if report.ID == "" {
		return nil, &Error{Op: op, Err: errors.New("the answer has no job id"), MayHaveRun: true}
	}
	return &JobHandle[Out]{ID: report.ID, c: c}, nil
}

// RunSync runs a job and waits for its end, in one request for as long as the
// service holds that, and then like [JobHandle.Wait]. The service keeps the
// result for 1 minute. Where ctx ends first the job goes on: one that is to be
// found again, or cancelled, is better begun with [RunJob].
func RunSync[Out any](ctx context.Context, c *Client, r JobRequest) (JobResult[Out], error) {
	const op = "POST /runsync"
	body, err := r.encode(op, maxRunSync)
	if err != nil {
		return JobResult[Out]{}, err
	}
	path := "/runsync"
	if r.Wait > 0 {
		path += "?wait=" + strconv.FormatInt(r.Wait.Milliseconds(), 10)
	}
	var report jobReport
	if err := c.callJobs(ctx, http.MethodPost, path, body, &report); err != nil {
		return JobResult[Out]{}, err
	}
	if !report.Status.Final() && report.ID != "" {
		return OpenJob[Out](c, report.ID).Wait(ctx)
	}
	return ending[Out](op, &report)
}

// ending is the result of a job that has ended, with an error if it did not end
// well.
func ending[Out any](op string, report *jobReport) (JobResult[Out], error) {
	result, err := resultOf[Out](op, report)
	if failed := report.failed(op); failed != nil {
		err = failed
	}
	return result, err
}

// JobHandle is a job of the job API. It is safe for concurrent use.
type JobHandle[Out any] struct {
	ID string
	c  *Client
}

// OpenJob gives a handle on a job that was queued earlier, or by somebody else.
// Nothing is sent.
func OpenJob[Out any](c *Client, id string) *JobHandle[Out] { return &JobHandle[Out]{ID: id, c: c} }

// path is a call's path about the job.
func (j *JobHandle[Out]) path(call string) string { return "/" + call + "/" + url.PathEscape(j.ID) }

// call makes a call about the job. That there is no such job is [ErrJobExpired].
func (j *JobHandle[Out]) call(ctx context.Context, method, call string, out any, opts ...CallOption) error {
	if j.ID == "" {
		return refuse(method+" /"+call, "job id", "it is empty")
	}
	err := j.c.callJobs(ctx, method, j.path(call), nil, out, opts...)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrNotFound {
		e.Kind, e.Advice = ErrJobExpired, "look sooner, or give the job a webhook"
	}
	return aboutJob(err, j.ID)
}

// Status asks how the job is. That it failed is no error here: see its State.
func (j *JobHandle[Out]) Status(ctx context.Context) (JobResult[Out], error) {
	var report jobReport
	if err := j.call(ctx, http.MethodGet, "status", &report); err != nil {
		return JobResult[Out]{ID: j.ID}, err
	}
	return resultOf[Out]("GET "+j.path("status"), &report)
}

// Wait looks at the job until it ends, first after 0.5 s, then less and less
// often, at last every 5 s (see [RetryPolicy]: half of BaseBackoff, a quarter of
// MaxBackoff). A job that did not end well is an error: [ErrJobFailed],
// [ErrJobCancelled], [ErrJobTimedOut], or [ErrJobExpired] where the result is
// gone. Where ctx ends first the job goes on.
func (j *JobHandle[Out]) Wait(ctx context.Context) (JobResult[Out], error) {
	op := "wait for " + j.path("status")
	for looks := 0; ; looks++ {
		var report jobReport
		if err := j.call(ctx, http.MethodGet, "status", &report); err != nil {
			return JobResult[Out]{ID: j.ID}, err
		}
		if report.Status.Final() {
			return ending[Out](op, &report)
		}
		if err := j.pause(ctx, op, looks); err != nil {
			return JobResult[Out]{ID: j.ID, State: report.Status}, err
		}
	}
}

// pause waits until the job is to be looked at again.
func (j *JobHandle[Out]) pause(ctx context.Context, op string, looks int) error {
	return j.c.pausePolling(ctx, op, j.ID, looks)
}

// pausePolling waits between two looks at a job or a batch.
func (c *Client) pausePolling(ctx context.Context, op, id string, looks int) error {
	o, err := c.life.begin(ctx, op)
	if err == nil {
		defer o.end()
		if sleep(o, c.config.policy.pollPause(looks)) == nil {
			return nil
		}
		err = ended(o, op)
	}
	return aboutJob(err, id)
}

// aboutJob names the job, or the batch, in an error.
func aboutJob(err error, id string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.JobID = id
	}
	return err
}

// Cancel stops the job, whether it waits or runs. One that has ended stays as it
// is.
func (j *JobHandle[Out]) Cancel(ctx context.Context) error {
	return j.call(ctx, http.MethodPost, "cancel", nil, Idempotent())
}

// Retry queues the job once more, under its id and with its input. The service
// allows it for FAILED and TIMED_OUT jobs whose result it still has.
func (j *JobHandle[Out]) Retry(ctx context.Context) error {
	return j.call(ctx, http.MethodPost, "retry", nil)
}

// StreamJob gives the parts of a job's output as its worker hands them out, and
// ends when the job has ended. The last round has the error, if there is one:
// see [JobHandle.Wait]. Each part is given to one reader only, by the service:
// where an answer with parts is lost on its way, so are they, and the stream
// ends with an error that says so. A slow loop makes it ask less often.
func StreamJob[Part any](ctx context.Context, c *Client, id string) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		j := OpenJob[Part](c, id)
		for looks := 0; ; looks++ {
			news, err := j.news(ctx)
			for i := 0; err == nil && i < len(news.Stream); i++ {
				var part JobResult[Part]
				looks = -1
				part, err = resultOf[Part]("GET "+j.path("stream"), &jobReport{ID: id, Output: news.Stream[i].Output})
				if err == nil && !yield(part.Output, nil) {
					return
				}
			}
			switch final := news.Status.Final(); {
			case err != nil:
			case !final:
				err = j.pause(ctx, "GET "+j.path("stream"), max(looks, 0))
			case len(news.Stream) == 0:
				if err = news.failed("GET " + j.path("stream")); err == nil {
					return
				}
			}
			if err != nil {
				var none Part
				yield(none, err)
				return
			}
		}
	}
}

// jobNews is what has come of a job's output since it was last asked for.
type jobNews struct {
	jobReport
	Stream []struct {
		Output json.RawMessage `json:"output"`
	} `json:"stream"`
}

// UnmarshalJSON takes the form that Runpod's SDKs read and that which its docs
// show, the parts alone.
func (n *jobNews) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return json.Unmarshal(data, &n.Stream)
	}
	type plain jobNews
	return json.Unmarshal(data, (*plain)(n))
}

// news asks for the parts of the output that nobody has had yet, and for the
// job's state.
func (j *JobHandle[Out]) news(ctx context.Context) (news jobNews, err error) {
	once := func(o *callOptions) { o.idempotent = false } // what was given is gone
	if err := j.call(ctx, http.MethodGet, "stream", &news, once); err != nil {
		return news, err
	}
	if news.Status == "" && len(news.Stream) == 0 {
		err = j.call(ctx, http.MethodGet, "status", &news.jobReport)
	}
	news.ID = j.ID
	return news, err
}
