package runpod

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// batch is one RunAll under way.
type batch struct {
	runner   *runner
	op       *operation
	room     *line.Gate // a job's place, from before it is read until its result is taken
	outcomes chan outcome
	running  sync.WaitGroup
	broke    error // how the sequence ended; read once outcomes is closed
}

type outcome struct {
	Result
	err error
}

// runAll is [Client.RunAll].
func (r *runner) runAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		b, err := r.newBatch(ctx, jobs)
		if err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		defer b.stop()
		go line.Guard(func() error { return b.start(jobs) }, b.finish)
		for out := range b.outcomes {
			b.room.Release()
			if !yield(out.Result, out.err) {
				return
			}
		}
	}
}

func (r *runner) newBatch(ctx context.Context, jobs iter.Seq[Job]) (*batch, error) {
	const op = "run all"
	if jobs == nil {
		return nil, refuse(op, "jobs", "it is nil")
	}
	o, err := r.life.follow(ctx, op)
	if err != nil {
		return nil, err
	}
	b := &batch{runner: r, op: o, outcomes: make(chan outcome)}
	r.mu.Lock()
	defer r.mu.Unlock()
	b.room = line.NewGate(r.most)
	if r.batches == nil {
		r.batches = map[*batch]struct{}{}
	}
	r.batches[b] = struct{}{}
	return b, nil
}

// resize sets how many jobs are under way to what fills an endpoint with so many
// requests in flight and the S3 pool: more jobs could use nothing.
func (r *runner) resize(inFlight int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = inFlight + r.conns
	for b := range r.batches {
		b.room.SetLimit(r.most)
	}
}

func (r *runner) forget(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.batches, b)
}

// start reads the jobs and starts each when there is room.
func (b *batch) start(jobs iter.Seq[Job]) error {
	if err := b.room.Acquire(b.op); err != nil {
		return err
	}
	index := 0
	for job := range jobs {
		b.begin(job, index)
		index++
		if err := b.room.Acquire(b.op); err != nil {
			return err
		}
		if b.runner.life.isEnding() {
			return nil
		}
	}
	return nil
}

// begin runs a job on a goroutine of its own, and reports it whatever its
// functions do. A report waits until the loop takes it: that holds nothing up,
// since the job has given back all it had.
func (b *batch) begin(job Job, index int) {
	t := b.runner.newTrip(job, index)
	b.running.Go(func() {
		line.Guard(func() error { return t.run(b.op) }, func(err error) {
			b.outcomes <- outcome{t.result, named(err, t.job.ID)}
		})
	})
}

// finish closes outcomes when all jobs have ended. It keeps what the sequence
// itself has done that is no error.
func (b *batch) finish(err error) {
	b.running.Wait()
	b.broke = err
	close(b.outcomes)
}

// stop ends what is in flight and waits for it. If the sequence has panicked,
// or ended its goroutine, so does the loop that read it, as with iter.Pull.
func (b *batch) stop() {
	b.op.cancel(context.Canceled)
	for range b.outcomes {
	}
	b.op.end()
	b.runner.forget(b)
	if p, ok := b.broke.(*line.Panic); ok {
		panic(p)
	}
	if b.broke == line.ErrGoexit {
		runtime.Goexit()
	}
}
