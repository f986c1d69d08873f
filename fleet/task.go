package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	runpod "github.com/gpuburst/runpod-go"
)

// task is a job that was handed to this machine.
type task struct {
	m       *machine
	msg     jetstream.Msg
	key     string
	take    string // names this attempt of the machine's
	job     job
	broken  error  // why the job's record cannot be used
	claimed uint64 // the claim's number; 0: it is not ours
	before  uint64 // the number of the result that this one replaces; 0: none
}

// do does a job that was handed to this machine: claim, call, result, acknowledge.
// A job for which it can do nothing, since the lease is lost or another machine
// has it, is left: the server hands it out again when its time is over.
func (m *machine) do(msg jetstream.Msg) {
	t := task{m: m, msg: msg, key: strings.TrimPrefix(msg.Subject(), m.f.jobs.prefix), take: nuid.Next()}
	t.job, t.broken = readJob(t.key, msg.Data())
	m.mu.Lock()
	m.running[t.take] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.running, t.take)
		m.mu.Unlock()
	}()
	ctx, end := t.signal()
	defer end()
	what, err := t.claim(m.ctx)
	if err != nil {
		return
	}
	r := wireResult{Run: t.job.Run, Take: t.take, SaveTo: t.job.SaveTo, Machine: m.name, Begun: time.Now().UnixMilli()}
	switch what {
	case stepLeave:
		// Again soon: its machine may have died a moment ago, with a lease that has
		// not run out yet. If it lives, its next signal puts this off.
		_ = t.msg.NakWithDelay(m.f.lease / 10)
		return
	case stepSkip:
		t.finish(nil)
		return
	case stepLost:
		r.fail(fmt.Errorf("its machine was lost while it had the job: %w", ErrMayHaveRun))
	case stepRun:
		if !t.run(ctx, &r) {
			return
		}
	}
	t.commit(&r)
}

// runs reports whether one of this machine's attempts is under way.
func (m *machine) runs(take string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[take]
}

// signal tells the server, until end is called, that the job is under way, and
// looks whether it was cancelled. The context is the call's: it ends with the
// lease and when the job has its result from elsewhere.
func (t *task) signal() (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(t.m.ctx)
	var behind sync.WaitGroup
	behind.Go(func() {
		for wait(ctx, t.m.f.lease/renewals) == nil {
			_ = t.msg.InProgress() // if it is lost, the job is handed out again, and the claim is in its way
			try, stop := context.WithTimeout(ctx, tryLimit)
			e, err := t.m.f.results.get(try, t.key)
			stop()
			var r wireResult
			if err == nil && e.seq > 0 && unmarshal(e.data, &r) && r.Run >= t.job.Run && r.Take != t.take {
				cancel(ErrCancelled)
			}
		}
	})
	return ctx, func() { cancel(nil); behind.Wait() }
}

// run calls the endpoint and reports whether there is a result to commit.
func (t *task) run(ctx context.Context, r *wireResult) bool {
	err := t.broken
	if err == nil {
		err = t.call(ctx, r)
	}
	if err == nil {
		return true
	}
	switch afterwards(err, context.Cause(ctx), t.job.twice()) {
	case leaveIt:
		return false
	case giveBack:
		t.giveBack()
		if unfit(err) {
			t.m.halt(err) // the calls that are open may be good
		}
		return false
	case skipIt:
		t.finish(nil)
		return false
	}
	r.fail(err)
	return true
}

// What to do after a call that failed.
type after int

const (
	commitIt after = iota // the job has failed
	giveBack              // another machine may have it at once
	skipIt                // it has its result
	leaveIt               // nothing is known of it any more: whoever gets it next finds the claim
)

// afterwards judges a failed call: cause is why its context ended, nil if it has
// not, twice whether the job may run twice.
func afterwards(err, cause error, twice bool) after {
	mayHaveRun := true // what is not package runpod's may be anything
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		mayHaveRun = e.MayHaveRun
	}
	switch {
	case errors.Is(cause, errLeaseLost):
		return leaveIt
	case errors.Is(cause, ErrCancelled):
		return skipIt
	case (cause != nil || unfit(err)) && (twice || !mayHaveRun):
		return giveBack
	}
	return commitIt
}

// unfit reports an error that this machine's client would have with any job.
func unfit(err error) bool {
	if errors.Is(err, runpod.ErrUnauthorized) || errors.Is(err, runpod.ErrClosed) {
		return true
	}
	e, ok := errors.AsType[*runpod.Error](err)
	return ok && (e.Field == "endpoint" || e.Field == "API key")
}

// call makes the job's call and fills in the record.
func (t *task) call(ctx context.Context, r *wireResult) (err error) {
	if tracer := t.m.f.tracer; tracer != nil {
		var end func(error)
		ctx, end = tracer.Start(ctx, t.job.ID, t.msg.Headers().Get(traceparent))
		defer func() { end(err) }()
	}
	method := t.job.Method
	if method == "" {
		method = "POST"
	}
	var opts []runpod.CallOption
	if t.job.twice() {
		opts = append(opts, runpod.Idempotent())
	}
	var answer []byte
	resp, err := t.m.client.Call(ctx, method, t.job.Path, t.job.body(), &answer, opts...)
	r.took(resp)
	if err != nil {
		if errors.Is(err, runpod.ErrNoWorkers) {
			t.m.mu.Lock()
			t.m.gaveUp = time.Now()
			t.m.mu.Unlock()
		}
		return err
	}
	return t.keep(ctx, r, answer)
}

// keep puts the answer into the record, or on the volume if it is long.
func (t *task) keep(ctx context.Context, r *wireResult, answer []byte) (err error) {
	if t.job.Output != "" {
		if r.OutputKey, err = t.job.output(answer); err != nil {
			return fmt.Errorf("%w (the job has run)", err)
		}
	}
	if len(answer) <= longestAnswer {
		r.setAnswer(answer)
		return nil
	}
	key := fmt.Sprintf("%sanswers/%s-%d", t.m.f.folder(), token(t.job.ID), t.job.Run)
	// First, so that Delete knows that there is something on the volume.
	err = persist(ctx, func(ctx context.Context) error { return t.m.f.book.set(ctx, "upload.answers", 1) })
	if err == nil {
		_, err = t.m.client.Upload(ctx, key, runpod.Bytes("answer", answer))
	}
	if err != nil {
		return fmt.Errorf("the job has run, and its answer of %d bytes, which is too long for a message, could not be put on the volume: %w", len(answer), err)
	}
	r.AnswerKey = key
	return nil
}

// giveBack leaves a job that has not run, or may run twice, to another machine.
func (t *task) giveBack() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.m.ctx), tryLimit)
	defer cancel()
	if persist(ctx, func(ctx context.Context) error { return t.m.f.claims.remove(ctx, t.claimed) }) == nil {
		_ = t.msg.Nak()
	}
}

// commit writes the result, unless the job has one. The first that is written
// stands. When the machine is being closed there is a moment for it, when its
// lease is lost there is none.
func (t *task) commit(r *wireResult) {
	ctx, cancel := t.m.last()
	defer cancel()
	r.Ended = time.Now().UnixMilli()
	for {
		err := persist(ctx, func(ctx context.Context) error {
			_, err := t.m.f.results.put(ctx, t.key, r, t.before)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errConflict) {
			return
		}
		there, err := t.result(ctx)
		if err != nil {
			return
		}
		if there != nil && there.Run >= t.job.Run {
			if there.Take != t.take {
				r = nil
			}
			break
		}
	}
	if r != nil {
		t.m.saw(r)
	}
	t.finish(r)
}

// last is a context for writing down what is done: the machine's, or after its
// closing a moment more.
func (m *machine) last() (context.Context, context.CancelFunc) {
	if errors.Is(context.Cause(m.ctx), errLeaseLost) {
		return context.WithCancel(m.ctx)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(m.ctx))
	stop := context.AfterFunc(m.ctx, func() {
		if errors.Is(context.Cause(m.ctx), errLeaseLost) {
			cancel(errLeaseLost)
			return
		}
		time.AfterFunc(tryLimit, func() { cancel(context.Cause(m.ctx)) })
	})
	return ctx, func() { stop(); cancel(nil) }
}

// finish lists a failure, takes the claim back and acknowledges the job, in this
// order: if the machine dies in between, the job is handed out again, and whoever
// gets it finishes it. r is nil for a job whose result is another's.
func (t *task) finish(r *wireResult) {
	ctx, cancel := t.m.last()
	defer cancel()
	if !t.clearUp(ctx, r) {
		return
	}
	// Beside the next job. A server that was restarted may not remember that it
	// has handed the job out, and then confirms nothing; it does so again, and
	// whoever gets the job finds its result.
	t.m.places.Go(func() {
		ctx, cancel := t.m.last()
		defer cancel()
		ctx, stop := context.WithTimeout(ctx, t.m.f.lease/2)
		defer stop()
		_ = persist(ctx, t.msg.DoubleAck)
	})
}

// clearUp does what comes before the acknowledgement.
func (t *task) clearUp(ctx context.Context, r *wireResult) bool {
	if r == nil {
		there, err := t.result(ctx)
		if err != nil || there == nil {
			return false
		}
		r = there
	}
	if r.Failed != "" && r.Run == t.job.Run {
		if persist(ctx, func(ctx context.Context) error { return t.m.f.failed.set(ctx, t.key, r.Run) }) != nil {
			return false
		}
	}
	return t.claimed == 0 || persist(ctx, func(ctx context.Context) error { return t.m.f.claims.remove(ctx, t.claimed) }) == nil
}
