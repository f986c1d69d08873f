package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	runpod "github.com/gpuburst/runpod-go"
)

const (
	submitWindow = 256 // records on their way to the server at once
	submitFiles  = 8   // jobs whose files are read or uploaded at once, as WithS3Conns
)

// Submit puts jobs into the fleet and returns how many of them are new: a job
// that is there already, by its ID and with the same content, is left as it is.
// It returns when the server has them all on its disk. Files are uploaded by
// client first, which may be nil if no job has any.
//
// The first Spec that is wrong ends it, with an error that names the job and the
// field; so does an ID that is there with another content, and a failed upload.
// What was submitted until then stays, and submitting the whole sequence again
// adds the rest. While the server does not answer, Submit waits for it, as long
// as ctx does. The sequence is read as it is needed and not kept.
func (f *Fleet) Submit(ctx context.Context, client *runpod.Client, specs iter.Seq[Spec]) (n int, err error) {
	op, done, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	f.remember(client)
	s := submission{f: f, by: nuid.Next(), inputs: newInputs(f, client), sent: make(chan sending, submitWindow)}
	s.ctx, s.fail = context.WithCancelCause(op)
	defer s.fail(nil)
	if f.tracer != nil {
		s.parent = f.tracer.Traceparent(ctx)
	}
	s.run(specs)
	if err := context.Cause(s.ctx); err != nil {
		return s.added, fmt.Errorf("fleet %s: submit: %w", f.name, err)
	}
	return s.added, nil
}

// submission is one Submit under way.
type submission struct {
	f      *Fleet
	by     string
	parent string // the traceparent of the submitter's span
	ctx    context.Context
	fail   context.CancelCauseFunc
	inputs *inputs
	sent   chan sending
	added  int // the collector's
}

// sending is a record on its way.
type sending struct {
	key string
	msg *nats.Msg
	ack jetstream.PubAckFuture // nil: it could not be sent
}

// run reads the sequence on the caller's goroutine. Jobs with files go their own
// ways until these are uploaded; a collector takes the server's answers.
func (s *submission) run(specs iter.Seq[Spec]) {
	var files, collector sync.WaitGroup
	collector.Go(s.collect)
	room := make(chan struct{}, submitFiles)
	place := 0
	for spec := range specs {
		if s.ctx.Err() != nil {
			break
		}
		if err := s.prepare(&spec, place); err != nil {
			s.fail(err)
			break
		}
		place++
		if len(spec.Files) == 0 {
			s.send(spec)
			continue
		}
		room <- struct{}{}
		files.Go(func() {
			defer func() { <-room }()
			keys, err := s.inputs.upload(s.ctx, spec.Files)
			if err != nil {
				s.fail(fmt.Errorf("job %s: files: %w", quoted(spec.ID), err))
				return
			}
			spec.Files, spec.Keys = nil, append(keys, spec.Keys...)
			s.send(spec)
		})
	}
	files.Wait()
	close(s.sent)
	collector.Wait()
}

// prepare checks a job and names it.
func (s *submission) prepare(spec *Spec, place int) (err error) {
	if err := spec.check(); err != nil {
		return fmt.Errorf("job %s (number %d): %w", quoted(spec.ID), place+1, err)
	}
	if spec.ID == "" {
		spec.ID, err = spec.madeID(place)
	}
	return err
}

// send publishes a job's record and leaves its answer to the collector.
func (s *submission) send(spec Spec) {
	if s.ctx.Err() != nil {
		return
	}
	x := sending{key: token(spec.ID)}
	var err error
	if x.msg, err = s.f.jobs.message(x.key, job{Spec: spec, Run: 1, By: s.by}, s.parent); err != nil {
		s.fail(fmt.Errorf("job %s: body: %w", quoted(spec.ID), err))
		return
	}
	if len(x.msg.Data) > longestSpec {
		s.fail(fmt.Errorf("job %s: it has %d bytes as JSON: at most %d; put what is large into a file", quoted(spec.ID), len(x.msg.Data), longestSpec))
		return
	}
	// An error here is met again by the collector, which sends anew.
	x.ack, _ = s.f.js.PublishMsgAsync(x.msg, jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithStallWait(tryLimit))
	s.sent <- x
}

func (s *submission) collect() {
	for x := range s.sent {
		added, err := s.settle(x)
		if err != nil {
			s.fail(err)
		} else if added {
			s.added++
		}
	}
}

// settle waits for a record's acknowledgement and reports whether the job is new.
func (s *submission) settle(x sending) (added bool, err error) {
	if x.ack != nil {
		select {
		case <-x.ack.Ok():
			return true, nil
		case err := <-x.ack.Err():
			if errors.Is(conflict(err), errConflict) {
				return false, s.known(x)
			}
		case <-s.ctx.Done():
			return false, nil
		}
	}
	// No answer, so that it may be there or not.
	err = persist(s.ctx, func(ctx context.Context) error {
		_, err := s.f.js.PublishMsg(ctx, x.msg, jetstream.WithExpectLastSequencePerSubject(0))
		return conflict(err)
	})
	if errors.Is(err, errConflict) {
		var e entry
		if e, err = s.stored(x.key); err != nil {
			return false, err
		}
		var there job
		if json.Unmarshal(e.data, &there) == nil && there.By == s.by {
			return true, nil
		}
		return false, s.known(x)
	}
	return err == nil, err
}

func (s *submission) stored(key string) (e entry, err error) {
	err = persist(s.ctx, func(ctx context.Context) error {
		e, err = s.f.jobs.get(ctx, key)
		return err
	})
	return e, err
}

// known checks that the job that is there is this one.
func (s *submission) known(x sending) error {
	e, err := s.stored(x.key)
	if err != nil {
		return err
	}
	there, err := readJob(x.key, e.data)
	if err != nil {
		return fmt.Errorf("job %s is there already, with a broken record: %w", quoted(there.ID), err)
	}
	sent, err := readJob(x.key, x.msg.Data)
	if err == nil && !there.same(&sent) {
		err = fmt.Errorf("job %s is there already with another content: give this one another id", quoted(there.ID))
	}
	return err
}
