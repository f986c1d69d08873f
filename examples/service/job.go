package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// state is what a page shows of a job.
type state struct {
	ID      int       `json:"id"`    // of the event: it only grows
	Phase   string    `json:"phase"` // the library's phases, and failed or canceled
	Bytes   int64     `json:"bytes,omitzero"`
	Total   int64     `json:"total,omitzero"`
	Ahead   int       `json:"ahead,omitzero"`
	Attempt int       `json:"attempt,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	Next    time.Time `json:"next,omitzero"`
	Error   string    `json:"error,omitzero"`
	Result  string    `json:"result,omitzero"` // the picture's key on the volume; pages get an address instead
}

const (
	phaseDone     = "done"
	phaseFailed   = "failed"
	phaseCanceled = "canceled"
)

// ended reports whether nothing comes after it.
func (s state) ended() bool {
	return s.Phase == phaseDone || s.Phase == phaseFailed || s.Phase == phaseCanceled
}

// job is one try-on. It is safe for concurrent use.
type job struct {
	id     string
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	states  []state       // what has happened, one for each phase of each attempt
	changed chan struct{} // closed, and made anew, at each change
	ended   chan struct{} // closed when nothing comes any more
}

// mostStates bounds what is kept of a job; the oldest are forgotten.
const mostStates = 200

func newJob(id string, cancel context.CancelCauseFunc) *job {
	return &job{id: id, cancel: cancel, changed: make(chan struct{}), ended: make(chan struct{})}
}

// set notes a state. It takes the place of the one before if only its figures differ.
func (j *job) set(now state) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now.ID = 1
	if n := len(j.states); n > 0 {
		last := j.states[n-1]
		if now.ID = last.ID + 1; last.Phase == now.Phase && last.Attempt == now.Attempt {
			j.states = j.states[:n-1]
		} else if n == mostStates {
			j.states = append([]state(nil), j.states[1:]...)
		}
	}
	j.states = append(j.states, now)
	close(j.changed)
	j.changed = make(chan struct{})
	if now.ended() {
		close(j.ended)
	}
}

// since returns what has happened after the state with an id, and a channel that
// is closed when there is more.
func (j *job) since(id int) (news []state, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.states {
		if s.ID > id {
			news = append(news, s)
		}
	}
	return news, j.changed
}

// last returns the newest state.
func (j *job) last() state {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.states) == 0 {
		return state{}
	}
	return j.states[len(j.states)-1]
}

// progress is the job's OnState. That it is done is said when it is on record.
func (j *job) progress(p runpod.JobProgress) {
	if p.Phase != runpod.JobDone {
		j.set(state{Phase: string(p.Phase), Bytes: p.Bytes, Total: p.Total, Ahead: p.Ahead, Attempt: p.Attempt, Since: p.Since, Next: p.Next})
	}
}

var errCanceled = errors.New("canceled")

// run does a job to its end, and puts how it ended on record.
func (s *service) run(ctx context.Context, j *job, f *form) error {
	result, err := s.client.Run(ctx, f.job(j))
	last := state{Phase: phaseDone, Result: result.Output.Key}
	if err == nil {
		err = s.record(ctx, j, last)
	}
	switch {
	case err == nil:
	case context.Cause(ctx) == errCanceled:
		last = state{Phase: phaseCanceled}
		if key := result.Output.Key; key != "" {
			err = errors.Join(err, s.client.Delete(context.WithoutCancel(ctx), key))
		}
	default:
		last = state{Phase: phaseFailed, Error: why(err)}
		if f.stored { // or nobody has the id
			slog.Error("job failed", "job", j.id, "error", err)
			err = errors.Join(err, s.record(ctx, j, last))
		}
	}
	j.set(last)
	return err
}

// why says to a person who knows nothing of endpoints what went wrong.
func why(err error) string {
	e, _ := errors.AsType[*runpod.Error](err)
	switch {
	case errors.Is(err, runpod.ErrNoWorkers), errors.Is(err, runpod.ErrRateLimited):
		return "No machine was free for it. Try again later."
	case errors.Is(err, runpod.ErrBadRequest) && e != nil && e.WorkerID != "":
		return "The photographs could not be used. Try others."
	case errors.Is(err, runpod.ErrClosed):
		return "The service was stopped. Try again."
	}
	return "Something went wrong. Try again."
}

// Records are objects on the volume beside the pictures: with them every process
// on the volume can give back what any of them has made, after a restart too.
// What nobody deletes stays there: delete records and pictures by their age.
const recordFolder = "service-jobs/"

func (s *service) record(ctx context.Context, j *job, last state) error {
	last.ID = j.last().ID + 1
	text, err := json.Marshal(last)
	if err == nil {
		_, err = s.client.Upload(ctx, recordFolder+j.id, runpod.Bytes("record", text))
	}
	return err
}

// recorded returns a job that has ended.
func (s *service) recorded(ctx context.Context, id string) (*job, error) {
	var text bounded
	if _, err := s.client.Download(ctx, recordFolder+id, &text); err != nil {
		return nil, err
	}
	var last state
	if err := json.Unmarshal(text.Bytes(), &last); err != nil {
		return nil, err
	}
	j := newJob(id, func(error) {})
	j.states = []state{last}
	close(j.ended)
	return j, nil
}

// bounded keeps a record, which others who use the volume may have changed.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > 4096 {
		return 0, errors.New("too long for a record")
	}
	return b.Buffer.Write(p)
}
