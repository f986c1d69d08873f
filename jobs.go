package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

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
		return nil, hideSecrets(err, r)
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
		return JobResult[Out]{}, hideSecrets(err, r)
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

// path is a call's path about the job. The call may have a query.
func (j *JobHandle[Out]) path(call string) string {
	name, query, asks := strings.Cut(call, "?")
	path := "/" + name + "/" + url.PathEscape(j.ID)
	if asks {
		path += "?" + query
	}
	return path
}

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
