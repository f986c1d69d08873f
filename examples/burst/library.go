package main

import (
	"context"
	"iter"
	"slices"
	"strconv"

	runpod "github.com/gpuburst/runpod-go"
)

// library is the same burst through one runpod.Client: everything but the
// job's description is the library's business.
type library struct {
	t      target
	client *runpod.Client
}

func openLibrary(t target, b burst) (client, error) {
	opts := append(slices.Clone(t.options), runpod.WithMaxInFlight(b.concurrency))
	if b.warm > 0 {
		opts = append(opts, runpod.WithWarmup(b.warm))
	}
	c, err := runpod.New(opts...)
	return &library{t, c}, err
}

func (l *library) connections() (opened, peak int) {
	s := l.client.Stats()
	return s.S3ConnsOpened, s.S3ConnsPeak
}

func (l *library) close() { l.client.Close() }

// run bursts the jobs and returns the outcome of each one that was begun.
func (l *library) run(ctx context.Context, b burst, m *meter) []outcome {
	var outcomes []outcome
	traces := make([]trace, b.requests)
	for result, err := range l.client.RunAll(ctx, l.jobs(b, traces, m)) {
		if result.Index < 0 {
			break // ended before any job was begun
		}
		o := traces[result.Index].outcome(result, err)
		o.Stopped = err != nil && ctx.Err() != nil
		if err == nil {
			o.Picture = b.picture(result.Index)
		}
		m.end(o)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// jobs describes the burst; a job is made when the library asks for it.
func (l *library) jobs(b burst, traces []trace, m *meter) iter.Seq[runpod.Job] {
	return func(yield func(runpod.Job) bool) {
		for i := range b.requests {
			traces[i].clock = l.t.clock()
			m.begin()
			if !yield(tryOnJob(b, i, &traces[i])) {
				return
			}
		}
	}
}

func tryOnJob(b burst, i int, t *trace) runpod.Job {
	person, garment := b.album.pick(i)
	return runpod.Job{
		ID:     strconv.Itoa(i + 1),
		Inputs: []runpod.JobInput{{Input: person.input()}, {Input: garment.input()}},
		Path:   tryonPath,
		Body: func(in []runpod.Object) (any, error) {
			t.uploaded = t.clock.now()
			return tryonRequest{Person: in[0].WorkerPath(), Garment: in[1].WorkerPath()}, nil
		},
		Output: func(resp *runpod.Response) (string, error) {
			t.answered = t.clock.now()
			if err := resp.JSON(&t.answer); err != nil {
				return "", err
			}
			return runpod.KeyFromWorkerPath(t.answer.Result)
		},
		SaveTo: b.picture(i),
	}
}

// trace is what one job's callbacks saw, in the job's own time.
type trace struct {
	clock              stopwatch
	uploaded, answered seconds
	answer             tryonAnswer
}

func (t *trace) outcome(r runpod.Result, err error) outcome {
	o := outcome{Job: r.Index + 1, Attempts: len(r.Attempts), Upload: t.uploaded, Total: t.clock.now(), Err: err}
	if r.Response != nil {
		o.Worker = r.Response.WorkerID
	}
	if t.uploaded == 0 {
		o.Upload = o.Total
		return o
	}
	call := t.answered - t.uploaded
	if t.answered == 0 {
		call = o.Total - t.uploaded
	}
	o.split(call, t.answer.Work)
	return o
}
