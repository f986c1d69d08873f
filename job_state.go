package runpod

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// JobPhase is what a job is doing; see [JobProgress].
type JobPhase string

// The phases of a job, in the order in which they come. A job is in waiting, sent
// and cold once for each attempt.
const (
	JobUploading JobPhase = "uploading" // its inputs go to the volume
	JobWaiting   JobPhase = "waiting"   // for a place in flight, or for the next attempt
	JobSent      JobPhase = "sent"      // the request is at the endpoint
	JobCold      JobPhase = "cold"      // the endpoint had no worker, another attempt follows
	JobFetching  JobPhase = "fetching"  // the result comes from the volume
	JobDone      JobPhase = "done"      // it has ended, well or not
)

// JobProgress is how far a job is, for a person who waits for it. See
// Job.OnState.
type JobProgress struct {
	// Phase is what the job is doing.
	Phase JobPhase
	// Bytes of Total have moved, while it uploads or fetches. Total grows until
	// all sizes are known.
	Bytes, Total int64
	// Ahead is how many calls of the Client stand in front, while it waits for a
	// place.
	Ahead int
	// Attempt is the number of the attempt that it waits for or has sent, from 1;
	// while it is cold, how often it was refused.
	Attempt int
	// Since is when the phase began.
	Since time.Time
	// Next is when the next attempt follows, while it is cold or waits for that;
	// zero if it is not known.
	Next time.Time
}

// jobState is a JobProgress and what changes in it while its phase lasts.
type jobState struct {
	JobProgress
	moved *Progress  // of bytes; nil: none move
	ahead func() int // nil: nobody can be
}

// now returns the state as it is now.
func (s jobState) now() JobProgress {
	p := s.JobProgress
	if s.moved != nil {
		at := s.moved.Now()
		p.Bytes, p.Total = at.BytesDone, at.Bytes
	}
	if s.ahead != nil {
		p.Ahead = s.ahead()
	}
	return p
}

// statePeriod is how often bytes and the calls ahead are looked at: as often as a
// person can follow.
const statePeriod = 250 * time.Millisecond

// teller calls a job's OnState, on a goroutine of its own so that the job does
// not wait for it. A nil teller tells nobody.
type teller struct {
	f      func(JobProgress)
	cancel context.CancelCauseFunc // ends the job if f fails
	kick   chan struct{}           // there is news
	done   chan struct{}           // closed when f is not called any more
	err    error                   // f's panic; read once done is closed

	mu   sync.Mutex
	news []jobState
	over bool // no more news
}

func newTeller(f func(JobProgress), cancel context.CancelCauseFunc) *teller {
	if f == nil {
		return nil
	}
	t := &teller{f: f, cancel: cancel, kick: make(chan struct{}, 1), done: make(chan struct{})}
	go line.Guard(t.loop, func(err error) {
		if err != nil {
			t.err = &Error{Op: "run", Field: "OnState", Err: fmt.Errorf("telling how far the job is: %w", err)}
			cancel(t.err)
		}
		close(t.done)
	})
	return t
}

// tell takes note of a new phase. It does not wait.
func (t *teller) tell(s jobState) {
	if t == nil {
		return
	}
	if s.Since.IsZero() {
		s.Since = time.Now()
	}
	t.mu.Lock()
	t.news = append(t.news, s)
	t.over = s.Phase == JobDone
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// finish tells that the job is done, and returns when everything was told.
func (t *teller) finish() error {
	if t == nil {
		return nil
	}
	t.tell(jobState{JobProgress: JobProgress{Phase: JobDone}})
	<-t.done
	return t.err
}

// loop tells what is new, and what has changed while a phase lasts.
func (t *teller) loop() error {
	tick := time.NewTicker(statePeriod)
	defer tick.Stop()
	var state jobState
	var told JobProgress
	for {
		news, over := t.take()
		for i, s := range news {
			if state = s; s.Phase == JobWaiting && i < len(news)-1 {
				continue // it did not wait
			}
			told = s.now()
			t.f(told)
		}
		if over {
			return nil
		}
		select {
		case <-t.kick:
		case <-tick.C:
			if now := state.now(); now != told {
				told = now
				t.f(told)
			}
		}
	}
}

func (t *teller) take() (news []jobState, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news, t.news = t.news, nil
	return news, t.over
}
