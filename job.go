package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// Job is one round trip: upload the inputs, call the endpoint with them, fetch
// the result, clean up. The zero value of every field means what it says.
type Job struct {
	ID     string     // names the job in results and errors; "": its index
	Inputs []JobInput // uploaded at the same time, as far as the pool has room

	Method string // "" means POST
	Path   string // on the endpoint, such as /api/v1/tryon

	// Body makes the request's JSON from the uploaded inputs, in their order;
	// nil: no body.
	Body func([]Object) (any, error)
	// Output says which object is the result, as a key or as a path under
	// /runpod-volume; nil: the response itself is.
	Output func(*Response) (key string, err error)
	// SaveTo is the file the result is written to, whole or not at all; "":
	// it is not fetched.
	SaveTo string
	// Idempotent says that the request may run twice, see [Idempotent].
	Idempotent bool
	// KeepInputs leaves the uploaded inputs on the volume. Otherwise they are
	// deleted when the job ends, however it ends. Keys that jobs share want it.
	KeepInputs bool
}

// JobInput is one input of a job and the key to upload it under.
type JobInput struct {
	Key   string // "": a unique inputs/<random>/<name>
	Input Input
}

// Result is what a job came to. With an error it holds what was reached.
type Result struct {
	JobID    string    // the job's ID, or its index where it had none
	Index    int       // the job's place in RunAll's sequence, from 0
	Inputs   []Object  // as uploaded; without KeepInputs they are gone again
	Response *Response // the endpoint's answer
	Output   Object    // the result on the volume, where the job has an Output
	Attempts []Attempt // the call's attempts
}

// Run does one job. The job is checked whole before any traffic; the error is
// an *Error that names it.
func (c *Client) Run(ctx context.Context, job Job) (Result, error) { return c.run(ctx, job, 0) }

func (c *Client) run(ctx context.Context, job Job, index int) (Result, error) {
	if job.ID == "" {
		job.ID = strconv.Itoa(index)
	}
	r := Result{JobID: job.ID, Index: index}
	err := c.roundTrip(ctx, &job, &r)
	if err == nil {
		return r, nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Op: "run", Err: err}
	}
	named := *e
	named.JobID = job.ID
	return r, &named
}

func (c *Client) roundTrip(ctx context.Context, job *Job, r *Result) (err error) {
	made, err := c.checkJob(job)
	if err != nil {
		return err
	}
	o, err := c.life.begin(ctx, "run")
	if err != nil {
		return err
	}
	defer o.end()
	defer func() { c.cleanUp(o, job, made, r) }()
	var coming *lease
	if len(job.Inputs) > 0 {
		coming = c.ep.wake.lease()
		defer coming.end()
	}
	if r.Inputs, err = c.uploadAll(o, job.Inputs); err != nil {
		return err
	}
	var in any
	if job.Body != nil {
		if in, err = job.Body(r.Inputs); err != nil {
			return &Error{Op: "make the request", Field: "Body", Kind: ErrBadRequest, Err: err}
		}
	}
	var opts []CallOption
	if job.Idempotent {
		opts = append(opts, Idempotent())
	}
	r.Response, err = c.Call(coming.carry(o), job.Method, job.Path, in, nil, opts...)
	if r.Response != nil {
		r.Attempts = r.Response.Attempts
	} else if e, ok := errors.AsType[*Error](err); ok {
		r.Attempts = e.Attempts
	}
	if err != nil {
		return err
	}
	return c.fetch(o, job, r)
}

// checkJob refuses a job that cannot work, before any traffic. It gives the
// keys that it made up.
func (c *Client) checkJob(job *Job) (made map[string]bool, err error) {
	const op = "run"
	if job.Method == "" {
		job.Method = "POST"
	}
	if err := c.config.missingForCalls(job.Method, job.Path); err != nil {
		return nil, err
	}
	if len(job.Inputs) > 0 || job.Output != nil && job.SaveTo != "" {
		if err := c.config.missingForS3(op); err != nil {
			return nil, err
		}
	}
	if _, err := parsePath(job.Path); err != nil {
		return nil, refuse(op, "Path", "%w", err)
	}
	if !isToken(job.Method) {
		return nil, refuse(op, "Method", "%q is not an HTTP method", job.Method)
	}
	if job.SaveTo != "" {
		if err := checkTarget(job.SaveTo); err != nil {
			return nil, refuse(op, "SaveTo", "%w", err)
		}
	}
	return job.checkInputs(op)
}

// checkInputs checks inputs and keys, and makes up the keys that are "". The
// caller's slice is not changed.
func (job *Job) checkInputs(op string) (made map[string]bool, err error) {
	made = make(map[string]bool, len(job.Inputs))
	first := make(map[string]int, len(job.Inputs))
	inputs := make([]JobInput, len(job.Inputs))
	for i, in := range job.Inputs {
		field := fmt.Sprintf("Inputs[%d]", i)
		if err := in.Input.check(); err != nil {
			return nil, refuse(op, field+".Input", "%w", err)
		}
		if in.Key == "" {
			in.Key = uniqueKey(in.Input)
			made[in.Key] = true
		}
		if err := checkKey(in.Key); err != nil {
			return nil, refuse(op, field+".Key", "%w", err)
		}
		if j, taken := first[in.Key]; taken {
			return nil, refuse(op, field+".Key", "%q is the key of Inputs[%d] too", in.Key, j)
		}
		first[in.Key], inputs[i] = i, in
	}
	job.Inputs = inputs
	return made, nil
}

// uploadAll uploads a job's inputs side by side. The first failure ends the
// others. It returns when none is under way any more; what was not uploaded
// has no Key.
func (c *Client) uploadAll(ctx context.Context, inputs []JobInput) ([]Object, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects := make([]Object, len(inputs))
	errs := make([]error, len(inputs))
	var first sync.Once
	var failed error
	var wg sync.WaitGroup
	for i, in := range inputs {
		wg.Go(func() {
			objects[i], errs[i] = c.Upload(ctx, in.Key, in.Input)
			if errs[i] != nil {
				first.Do(func() { failed = errs[i]; cancel() })
			}
		})
	}
	wg.Wait()
	return objects, failed
}

// fetch brings a job's result back.
func (c *Client) fetch(ctx context.Context, job *Job, r *Result) error {
	if job.Output == nil {
		if job.SaveTo == "" {
			return nil
		}
		err := writeWhole(job.SaveTo, func(w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader(r.Response.Body))
			return err
		})
		if err != nil {
			return &Error{Op: "save the answer", Field: "SaveTo", Attempts: r.Attempts, Err: err}
		}
		return nil
	}
	path, err := job.Output(r.Response)
	if err == nil {
		r.Output.Key, err = KeyFromWorkerPath(path)
	}
	if err != nil {
		return &Error{Op: "find the result in the answer", Status: r.Response.Status, WorkerID: r.Response.WorkerID,
			Attempts: r.Attempts, Body: capped(r.Response.Body), Err: err}
	}
	if job.SaveTo == "" {
		return nil
	}
	obj, err := c.DownloadFile(ctx, r.Output.Key, job.SaveTo)
	if err == nil {
		r.Output = obj
	}
	return err
}

// cleanUp deletes the inputs that a job uploaded, also when its context has
// ended. An upload that failed may still have been stored, so a key that was
// made up for it is deleted all the same; a caller's own key is not, since what
// is there may be older, and neither is what was there before. What cannot be deleted is logged: the job's outcome
// stands.
func (c *Client) cleanUp(ctx context.Context, job *Job, made map[string]bool, r *Result) {
	if job.KeepInputs {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.policy.Stall)
	defer cancel()
	var wg sync.WaitGroup
	for i, obj := range r.Inputs {
		key := job.Inputs[i].Key
		if obj.Key == "" && !made[key] || obj.Existed {
			continue
		}
		wg.Go(func() {
			if err := c.volume.delete(ctx, "delete "+key, key); err != nil {
				c.config.logger.LogAttrs(ctx, slog.LevelWarn, "input left on the volume",
					slog.String("job", job.ID), slog.String("key", key), slog.String("error", err.Error()))
			}
		})
	}
	wg.Wait()
}

// RunAll does jobs side by side and yields each result as it is there, with
// the error that the job ended in. Yield is called on the caller's goroutine.
//
// A RunAll that cannot begin, since the context has ended or the Client is
// closed, yields one error with a Result of Index -1.
//
// The sequence is read by one goroutine, never more than one job ahead of what
// the S3 pool and the endpoint can use together; a consumer that is slow to
// take results holds back new jobs, not running ones. Breaking out of the loop
// cancels what is in flight and returns when it has ended. When the context
// ends, or the Client is closed, no further job is read, and each job that had
// begun is reported once. A sequence that blocks must itself watch the context:
// RunAll returns only when the sequence has.
func (c *Client) RunAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		o, err := c.life.begin(ctx, "run all")
		if err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		b := newBatch(c, o)
		defer b.stop()
		go b.start(jobs)
		for out := range b.outcomes {
			b.room.Release()
			if !yield(out.Result, out.err) {
				return
			}
		}
	}
}

// batch is one RunAll under way.
type batch struct {
	c        *Client
	op       *operation
	room     *line.Gate // a job's place, from before it is read until its result is taken
	outcomes chan outcome
	running  sync.WaitGroup
}

type outcome struct {
	Result
	err error
}

func newBatch(c *Client, o *operation) *batch {
	// Full uploads beside a full endpoint: more jobs could use nothing.
	most := c.config.maxInFlight + c.config.s3Conns
	return &batch{c: c, op: o, room: line.NewGate(most), outcomes: make(chan outcome, most)}
}

// start reads the jobs and starts each when there is room. It closes outcomes
// when all have ended; it never blocks on a result, since every job has its
// place in the channel.
func (b *batch) start(jobs iter.Seq[Job]) {
	defer close(b.outcomes)
	defer b.running.Wait()
	if b.room.Acquire(b.op) != nil {
		return
	}
	index := 0
	for job := range jobs {
		if b.op.Err() != nil {
			return
		}
		at := index
		b.running.Go(func() {
			result, err := b.c.run(b.op, job, at)
			b.outcomes <- outcome{result, err}
		})
		index++
		if b.room.Acquire(b.op) != nil {
			return
		}
	}
}

// stop ends what is in flight and waits for it.
func (b *batch) stop() {
	b.op.cancel(context.Canceled)
	for range b.outcomes {
	}
	b.op.end()
}

// Stats is a snapshot of what a Client has done and is doing.
type Stats struct {
	// Calls are those begun by Call, Do and Run; CallsFailed those that ended
	// without a good answer. Attempts counts what was sent for them, ColdRefusals
	// the attempts for which the balancer had no worker, Troubles those retried
	// for another reason.
	Calls, CallsFailed, Attempts, ColdRefusals, Troubles int64
	// JobCalls, JobCallsFailed, JobAttempts and JobTroubles say the same of calls
	// of the job API, whose every look at a job is one. A job that failed is no
	// failed call.
	JobCalls, JobCallsFailed, JobAttempts, JobTroubles int64
	// InFlight requests are at the endpoint now, PeakInFlight is the most there
	// ever were, Waiting wait for a
	// place, of which there are Limit.
	InFlight, PeakInFlight, Waiting, Limit int
	// EndpointConnsOpened and EndpointConnsPeak count connections to the endpoint.
	EndpointConnsOpened, EndpointConnsPeak int
	// Uploads and Downloads are the whole objects moved, BytesUp and BytesDown
	// their sizes, S3Attempts the requests that it took, deletions included.
	Uploads, Downloads, BytesUp, BytesDown, S3Attempts int64
	// S3ConnsOpened and S3ConnsPeak count connections to the S3 gateway.
	S3ConnsOpened, S3ConnsPeak int
	// HeldWorkers are those that this Client's holds add to the endpoint's
	// minimum now, HeldWorkerSeconds is what they have come to, and are paid for,
	// whether calls used them or not.
	HeldWorkers       int
	HeldWorkerSeconds float64
	// WakePings are the light requests sent to start workers and to keep them;
	// WarmWorkerSeconds is, to within a few seconds for each worker, how long
	// workers stood idle because of them.
	WakePings         int64
	WarmWorkerSeconds float64
	// LastAnswer is when a worker last answered any call; zero: never.
	LastAnswer time.Time
}

// Stats tells what the Client has done so far. Its figures are each right,
// and of about the same moment.
func (c *Client) Stats() Stats {
	s := Stats{
		Calls:        c.ep.counts.calls.Load(),
		CallsFailed:  c.ep.counts.failed.Load(),
		Attempts:     c.ep.counts.attempts.Load(),
		ColdRefusals: c.ep.counts.cold.Load(),
		Troubles:     c.ep.counts.trouble.Load(),

		JobCalls:       c.jobs.ep.counts.calls.Load(),
		JobCallsFailed: c.jobs.ep.counts.failed.Load(),
		JobAttempts:    c.jobs.ep.counts.attempts.Load(),
		JobTroubles:    c.jobs.ep.counts.trouble.Load(),

		Uploads:    c.volume.done.uploads.Load(),
		Downloads:  c.volume.done.downloads.Load(),
		BytesUp:    c.volume.done.bytesUp.Load(),
		BytesDown:  c.volume.done.bytesDown.Load(),
		S3Attempts: c.volume.done.attempts.Load(),
	}
	s.HeldWorkers, s.HeldWorkerSeconds = c.holds.counts()
	s.WakePings, s.WarmWorkerSeconds = c.ep.wake.counts()
	s.InFlight, s.PeakInFlight, s.Waiting = c.ep.admission.gate.Counts()
	s.Limit = c.ep.admission.gate.Limit()
	s.EndpointConnsOpened, s.EndpointConnsPeak = c.ep.conns.counts()
	s.S3ConnsOpened, s.S3ConnsPeak = c.volume.conns.counts()
	if last := c.ep.lastAnswer.Load(); last != 0 {
		s.LastAnswer = time.Unix(0, last)
	}
	return s
}
