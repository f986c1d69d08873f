package runpod

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// batches are the RunAlls of a Client. It is safe for concurrent use.
type batches struct {
	runner *runner
	conns  int // of the S3 pool

	mu       sync.Mutex
	most     int // jobs that a RunAll has under way at once
	underWay map[*batch]struct{}
}

func newBatches(r *runner, inFlight, conns int) *batches {
	all := &batches{runner: r, conns: conns, underWay: map[*batch]struct{}{}}
	all.makeRoom(inFlight)
	return all
}

// batch is one RunAll under way.
type batch struct {
	run      func(ctx context.Context, job Job, index int, r *Result) error // does one job; r is set whatever it does
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
func (all *batches) runAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		b, err := all.newBatch(ctx, jobs)
		if err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		defer all.forget(b)
		b.loop(jobs, yield)
	}
}

// loop does the jobs and yields what becomes of each.
func (b *batch) loop(jobs iter.Seq[Job], yield func(Result, error) bool) {
	defer b.stop()
	go line.Guard(func() error { return b.start(jobs) }, b.complete)
	for out := range b.outcomes {
		b.room.Release()
		if !yield(out.Result, out.err) {
			return
		}
	}
}

func (all *batches) newBatch(ctx context.Context, jobs iter.Seq[Job]) (*batch, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	b, err := newBatch(ctx, all.runner.life, jobs, all.most, all.runner.runInto)
	if err == nil {
		all.underWay[b] = struct{}{}
	}
	return b, err
}

// newBatch begins a RunAll that has at most so many jobs under way.
func newBatch(ctx context.Context, life *lifetime, jobs iter.Seq[Job], most int, run func(context.Context, Job, int, *Result) error) (*batch, error) {
	const op = "run all"
	if jobs == nil {
		return nil, refuse(op, "jobs", "it is nil")
	}
	o, err := life.follow(ctx, op)
	if err != nil {
		return nil, err
	}
	return &batch{run: run, op: o, outcomes: make(chan outcome), room: line.NewGate(most)}, nil
}

func (r *runner) runInto(ctx context.Context, job Job, index int, result *Result) error {
	t := r.newTrip(job, index)
	defer func() { *result = t.result }()
	return t.run(ctx)
}

// makeRoom sets how many jobs are under way to what fills an endpoint with so
// many requests in flight and the S3 pool: more jobs could use nothing.
func (all *batches) makeRoom(inFlight int) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.most = inFlight + all.conns
	for b := range all.underWay {
		b.room.SetLimit(all.most)
	}
}

func (all *batches) forget(b *batch) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.underWay, b)
}

// start reads the jobs and starts each when there is room.
func (b *batch) start(jobs iter.Seq[Job]) error {
	if err := b.room.Acquire(b.op); err != nil {
		return err
	}
	index := 0
	for job := range jobs {
		b.launch(job, index)
		index++
		if err := b.room.Acquire(b.op); err != nil {
			return err
		}
		if b.op.life.isEnding() {
			return nil
		}
	}
	return nil
}

// launch runs a job on a goroutine of its own, and reports it whatever its
// functions do. A report waits until the loop takes it: that holds nothing up,
// since the job has given back all it had.
func (b *batch) launch(job Job, index int) {
	b.running.Go(func() {
		r := Result{Index: index, JobID: jobID(job, index)}
		line.Guard(func() error { return b.run(b.op, job, index, &r) }, func(err error) {
			b.outcomes <- outcome{r, named(err, r.JobID)}
		})
	})
}

// complete closes outcomes when all jobs have ended. It keeps what the sequence
// itself has done that is no error.
func (b *batch) complete(err error) {
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
	if p, ok := b.broke.(*line.Panic); ok {
		panic(p)
	}
	if b.broke == line.ErrGoexit {
		runtime.Goexit()
	}
}
