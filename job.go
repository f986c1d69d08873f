package runpod

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// Job is one round trip: upload the inputs, call the endpoint with them, fetch
// the result, delete the inputs. Most jobs set Inputs, Path, Body, Output and
// SaveTo. A Job without inputs, body and output is a plain POST to Path.
type Job struct {
	// ID names the job in its Result and in errors. Default "": its index.
	ID string
	// Inputs are uploaded at the same time, as far as the S3 pool has room.
	// Default: none.
	Inputs []JobInput
	// Method is the request's HTTP method. Default "": POST.
	Method string
	// Path is where on the endpoint the request goes, such as /api/v1/tryon.
	Path string
	// Body makes what is sent as the request's JSON, from the uploaded inputs
	// in their order; [Object.WorkerPath] is where the worker finds one. Its
	// error ends the job. Default nil: no body.
	Body func([]Object) (any, error)
	// Output returns which object is the result, as a key or as a path under
	// /runpod-volume. Its error ends the job. Default nil: the response is the
	// result.
	Output func(*Response) (key string, err error)
	// SaveTo is the file that the result is written to, whole or not at all. Its
	// folder must exist; a file that is there is replaced. Default "": the
	// result is not fetched, unless Save is set.
	SaveTo string
	// Save is written what SaveTo would have: every byte once and in order, as by
	// [Client.Download]. If the job fails it may have got the beginning. Default
	// nil. A job with both is refused.
	Save io.Writer
	// OnState is told how far the job is: each phase as it begins, and a few times
	// a second what has changed. It is called one at a time, in order, and never
	// after Run has returned, which waits for it: it should be quick. A panic in it
	// is the job's error. Default nil.
	OnState func(JobProgress)
	// Idempotent says that the request may run twice; see [Idempotent].
	Idempotent bool
	// Options are those of the job's call, as [Client.Call] takes them. Default:
	// none.
	Options []CallOption
	// KeepInputs leaves the uploaded inputs on the volume. Default false: they
	// are deleted when the job ends, however it ends. Set it if jobs share keys.
	KeepInputs bool
}

// JobInput is one input of a job and the key to upload it under.
type JobInput struct {
	// Key is the object's key. Default "": a unique input-<random>-<name>, which leaves no
	// folder behind.
	Key string
	// Input is the content: [File], [Bytes] or [Reader].
	Input Input
}

// runner does jobs: it has what round trips need of a Client. It is safe for
// concurrent use.
type runner struct {
	life    *lifetime
	volume  *volume
	calls   *caller
	all     observers
	missing func(op string) error // what is not set of the volume, if anything
	logger  *slog.Logger
	cleanup time.Duration // what deleting a job's inputs may take
}

// trip is one job under way. It belongs to one goroutine.
type trip struct {
	*runner
	job    Job
	made   map[string]bool // the keys that were made up
	state  *teller         // nil: nobody is told
	result Result

	movedFrom string // the endpoint of a Group at which the job was before; "": none
}

func (r *runner) newTrip(job Job, index int) *trip {
	job.ID = jobID(job, index)
	return &trip{runner: r, job: job, result: Result{JobID: job.ID, Index: index}}
}

// jobID is the job's ID, or its index as text if it has none.
func jobID(job Job, index int) string { return cmp.Or(job.ID, strconv.Itoa(index)) }

// run is [Client.Run].
func (r *runner) run(ctx context.Context, job Job) (Result, error) {
	t := r.newTrip(job, 0)
	err := t.run(ctx)
	return t.result, named(err, t.job.ID)
}

// named puts a job's name on its error.
func named(err error, id string) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Op: "run", Err: err}
	}
	own := *e
	own.JobID = id
	return &own
}

// run is the whole round trip, for the observers too.
func (t *trip) run(ctx context.Context) (err error) {
	if len(t.all) == 0 {
		return t.roundTrip(ctx)
	}
	info := JobInfo{ID: t.job.ID, Index: t.result.Index, Inputs: len(t.job.Inputs), Endpoint: t.calls.ep.host(), MovedFrom: t.movedFrom}
	ctx, seen := openSpan(ctx, t.all, info, func(o *Observer) func(context.Context, JobInfo) context.Context { return o.JobStart })
	err = errors.New("one of the job's functions did not return") // unless it does
	defer func() {
		closeSpan(seen, t.all, info, func(o *Observer) func(context.Context, JobInfo) {
			if o.JobEnd == nil {
				return nil
			}
			return func(ctx context.Context, info JobInfo) { o.JobEnd(ctx, info, t.result, named(err, t.job.ID)) }
		})
	}()
	err = t.roundTrip(ctx)
	return err
}

func (t *trip) roundTrip(ctx context.Context) (err error) {
	if err := t.check(); err != nil {
		return err
	}
	o, err := t.life.begin(ctx, "run")
	if err != nil {
		return err
	}
	defer o.end()
	defer t.cleanUp(o)
	t.state = newTeller(t.job.OnState, o.cancel)
	defer func() {
		if failed := t.state.finish(); failed != nil {
			err = failed
		}
	}()
	var coming *lease
	if len(t.job.Inputs) > 0 {
		coming = t.calls.wake.lease()
		defer coming.lapse()
	}
	if err := t.upload(o); err != nil {
		return err
	}
	if err := t.call(o, coming); err != nil {
		return err
	}
	return t.fetch(o)
}

// check refuses a job that cannot work, before any traffic. Nothing is checked
// again after it.
func (t *trip) check() error {
	const op = "run"
	job := &t.job
	job.Method = cmp.Or(job.Method, http.MethodPost)
	if err := t.calls.missing(job.Method, job.Path); err != nil {
		return err
	}
	if len(job.Inputs) > 0 || job.Output != nil && t.saves() {
		if err := t.missing(op); err != nil {
			return err
		}
	}
	if _, err := parsePath(job.Path); err != nil {
		return refuse(op, "Path", "%w", err)
	}
	if !isToken(job.Method) {
		return refuse(op, "Method", "%q is not an HTTP method", job.Method)
	}
	if err := job.checkTarget(op); err != nil {
		return err
	}
	return t.checkInputs(op)
}

// checkTarget refuses a result that could not be saved.
func (job *Job) checkTarget(op string) error {
	switch {
	case job.SaveTo != "" && job.Save != nil:
		return refuse(op, "Save", "SaveTo is set too: want one of them")
	case job.SaveTo != "":
		if err := checkTarget(job.SaveTo); err != nil {
			return refuse(op, "SaveTo", "%w", err)
		}
	}
	return nil
}

// saves reports whether the result is wanted here.
func (t *trip) saves() bool { return t.job.SaveTo != "" || t.job.Save != nil }

// checkInputs checks inputs and keys, and makes up the keys that are "". The
// caller's slice is not changed.
func (t *trip) checkInputs(op string) error {
	t.made = make(map[string]bool, len(t.job.Inputs))
	first := make(map[string]int, len(t.job.Inputs))
	inputs := make([]JobInput, len(t.job.Inputs))
	for i, in := range t.job.Inputs {
		field := fmt.Sprintf("Inputs[%d]", i)
		if err := in.Input.usable(); err != nil {
			return refuse(op, field+".Input", "%w", err)
		}
		if in.Key == "" {
			in.Key = uniqueKey(in.Input)
			t.made[in.Key] = true
		}
		if err := checkKey(in.Key); err != nil {
			return refuse(op, field+".Key", "%w", err)
		}
		if j, taken := first[in.Key]; taken {
			return refuse(op, field+".Key", "%q is the key of Inputs[%d] too", in.Key, j)
		}
		first[in.Key], inputs[i] = i, in
	}
	t.job.Inputs = inputs
	return nil
}

// upload uploads the inputs side by side. The first failure ends the others. It
// returns when none is under way any more; what was not uploaded has no Key.
func (t *trip) upload(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.result.Inputs = make([]Object, len(t.job.Inputs))
	if t.state != nil && len(t.job.Inputs) > 0 {
		moved := new(Progress)
		ctx = withJobProgress(ctx, moved)
		t.state.tell(jobState{JobProgress: JobProgress{Phase: JobUploading}, moved: moved})
	}
	var first sync.Once
	var failed error
	var wg sync.WaitGroup
	for i, in := range t.job.Inputs {
		wg.Go(func() {
			line.Guard(func() (err error) {
				t.result.Inputs[i], err = t.volume.upload(ctx, opOn("upload", in.Key), in.Key, in.Input)
				return err
			}, func(err error) {
				if err != nil {
					first.Do(func() { failed = asError(opOn("upload", in.Key), err); cancel() })
				}
			})
		})
	}
	wg.Wait()
	return failed
}

// call calls the endpoint with the uploaded inputs. The job's lease ends as the
// call is sent.
func (t *trip) call(ctx context.Context, coming *lease) (err error) {
	var in any
	if t.job.Body != nil {
		if in, err = t.job.Body(t.result.Inputs); err != nil {
			return &Error{Op: "make the request", Field: "Body", Kind: ErrBadRequest, Err: err}
		}
	}
	opts := append([]CallOption{beforeSend(coming.lapse), partOf(t.job.ID)}, t.job.Options...)
	if t.state != nil {
		opts = append(opts, watched(t.state.tell))
	}
	if t.job.Idempotent {
		opts = append(opts, Idempotent())
	}
	t.result.Response, err = t.calls.within(ctx, t.job.Method, t.job.Path, in, nil, opts)
	if e, ok := errors.AsType[*Error](err); ok && e.Field == "in" {
		e.Field = "Body" // that made it
	}
	if t.result.Response != nil {
		t.result.Attempts = t.result.Response.Attempts
	} else if e, ok := errors.AsType[*Error](err); ok {
		t.result.Attempts = e.Attempts
	}
	return err
}

// fetch brings the result back.
func (t *trip) fetch(ctx context.Context) error {
	if t.job.Output == nil {
		return t.saveAnswer()
	}
	r := t.result.Response
	path, err := t.job.Output(r)
	if err == nil {
		t.result.Output.Key, err = KeyFromWorkerPath(path)
	}
	if err != nil {
		return &Error{Op: "find the result in the answer", Status: r.Status, WorkerID: r.WorkerID,
			Attempts: r.Attempts, Body: r.secrets.Head(r.Body, peekLimit), Err: without(r.secrets, err)}
	}
	if !t.saves() {
		return nil
	}
	obj, err := t.download(ctx, t.result.Output.Key)
	if err == nil {
		t.result.Output = obj
	}
	return err
}

func (t *trip) download(ctx context.Context, key string) (Object, error) {
	if t.state != nil {
		moved := new(Progress)
		ctx = withJobProgress(ctx, moved)
		t.state.tell(jobState{JobProgress: JobProgress{Phase: JobFetching}, moved: moved})
	}
	if t.job.Save != nil {
		return t.volume.download(ctx, opOn("download", key), key, t.job.Save)
	}
	return t.volume.downloadFile(ctx, opOn("download", key), key, t.job.SaveTo)
}

// saveAnswer saves the answer itself, if it is wanted.
func (t *trip) saveAnswer() error {
	write := func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(t.result.Response.Body))
		return err
	}
	field, err := "SaveTo", error(nil)
	switch {
	case t.job.Save != nil:
		field, err = "Save", write(t.job.Save)
	case t.job.SaveTo != "":
		err = writeWhole(t.job.SaveTo, write)
	}
	if err != nil {
		return &Error{Op: "save the answer", Field: field, Attempts: t.result.Attempts, Err: err}
	}
	return nil
}

// cleanUp deletes the inputs that the job uploaded, also when its context has
// ended. An upload that failed may still have been stored, so a key that was
// made up for it is deleted all the same. A caller's own key is not, since what
// is there may be older, and neither is what was there before. What cannot be
// deleted is logged: the job's outcome stands.
func (t *trip) cleanUp(ctx context.Context) {
	if t.job.KeepInputs {
		return
	}
	t.volume.uploads.tidy.do(ctx, t.cleanup, t.deleteInputs)
}

func (t *trip) deleteInputs(ctx context.Context) {
	var wg sync.WaitGroup
	for i, obj := range t.result.Inputs {
		key := t.job.Inputs[i].Key
		if obj.Key == "" && !t.made[key] || obj.Existed {
			continue
		}
		wg.Go(func() {
			line.Guard(func() error { return t.volume.delete(ctx, opOn("delete", key), key) }, func(err error) {
				if err != nil {
					t.logger.LogAttrs(ctx, slog.LevelWarn, "input left on the volume",
						slog.String("job", t.job.ID), slog.String("key", key), slog.String("error", err.Error()))
				}
			})
		})
	}
	wg.Wait()
}
