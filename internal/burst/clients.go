package burst

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	runpod "github.com/gpuburst/runpod-go"
)

// client does jobs. It is safe for concurrent use.
type client interface {
	// do does one job and notes what happens in its record.
	do(ctx context.Context, j *job) error
	close()
}

// Names of the clients, in the order that comparisons read best.
var Names = []string{"naive", "docs", "library"}

// open makes a client by its name.
func open(name string, s *session) (client, error) {
	switch name {
	case "naive":
		return openPlain(s, plainOptions{tries: 1}), nil
	case "docs":
		return openPlain(s, plainOptions{tries: 3, pause: 7.5, s3Tries: 10}), nil
	case "library":
		return openLibrary(s)
	}
	return nil, fmt.Errorf("there is no client %q: want naive, docs or library", name)
}

// library is package runpod with its defaults.
type library struct {
	s      *session
	client *runpod.Client
}

func openLibrary(s *session) (client, error) {
	l := &library{s: s}
	t := s.target
	options := []runpod.Option{
		runpod.WithEndpoint(t.EndpointURL), runpod.WithAPIKey(t.APIKey),
		runpod.WithS3Endpoint(t.S3URL, t.Region, t.Bucket), runpod.WithS3Credentials(t.AccessKeyID, t.SecretAccessKey),
		runpod.WithDialContext(s.dials.DialContext), runpod.WithMaxInFlight(s.settings.Concurrency),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1 / t.Speed)),
		runpod.WithObserver(runpod.Observer{AttemptStart: l.begun, AttemptEnd: l.ended}),
	}
	if s.settings.Warm > 0 {
		options = append(options, runpod.WithWarmup(s.settings.Warm))
	}
	var err error
	l.client, err = runpod.New(options...)
	return l, err
}

func (l *library) begun(ctx context.Context, _ runpod.AttemptInfo) context.Context {
	l.s.progress.AtEndpoint.Add(1)
	return ctx
}

func (l *library) ended(_ context.Context, _ runpod.AttemptInfo, a runpod.Attempt) {
	l.s.progress.AtEndpoint.Add(-1)
	l.s.progress.answer(a.Status, a.WorkerID)
}

func (l *library) close() { l.client.Close() }

func (l *library) do(ctx context.Context, j *job) error {
	r, err := l.client.Run(ctx, l.job(j))
	attempts := r.Attempts
	e, isError := errors.AsType[*runpod.Error](err)
	if isError && len(attempts) == 0 {
		attempts = e.Attempts
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rec.MayHaveRun = isError && e.MayHaveRun
	for _, a := range attempts {
		one := Attempt{Start: j.clock.at(a.Start), End: j.clock.at(a.Start.Add(a.Duration)), Status: a.Status,
			Worker: a.WorkerID, Verdict: a.Verdict.String(), Reason: a.Reason}
		if a.Err != nil {
			one.Reason += ": " + a.Err.Error()
		}
		j.rec.Attempts = append(j.rec.Attempts, one)
	}
	for _, o := range r.Inputs {
		j.rec.BytesUp += o.Size
	}
	j.rec.Output = r.Output.Key
	if err == nil && j.work.SaveTo != "" {
		j.rec.BytesDown = r.Output.Size
	}
	return err
}

func (l *library) job(j *job) runpod.Job {
	w := &j.work
	out := runpod.Job{
		ID: w.ID, Method: w.Method, Path: l.s.target.path(w), SaveTo: w.SaveTo, Idempotent: w.Idempotent,
		Body: func(in []runpod.Object) (any, error) {
			j.uploaded()
			paths := make([]string, len(in))
			for i, o := range in {
				paths[i] = o.WorkerPath()
				l.s.progress.BytesUp.Add(o.Size)
			}
			return fill(w.Body, paths), nil
		},
	}
	for _, f := range w.Files {
		out.Inputs = append(out.Inputs, runpod.JobInput{Input: f.input()})
	}
	if w.Output != "" {
		out.Output = func(r *runpod.Response) (string, error) {
			j.answered(r.Body)
			return w.output(r.Body)
		}
	}
	return out
}

// Progress is how a run stands. It is safe for concurrent use.
type Progress struct {
	Jobs                              int // 0: not known
	Running, Done, Lost, AtEndpoint   atomic.Int64
	Cold, BytesUp, BytesDown, Workers atomic.Int64

	seen syncSet
}

// answer notes an attempt's end.
func (p *Progress) answer(status int, worker string) {
	if status == 400 && worker == "" {
		p.Cold.Add(1)
	}
	if worker != "" && p.seen.add(worker) {
		p.Workers.Add(1)
	}
}
