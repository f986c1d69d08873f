package runpod

import (
	"context"
	"iter"
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
}

type outcome struct {
	Result
	err error
}

// runAll is [Client.RunAll].
func (r *runner) runAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		o, err := r.life.begin(ctx, "run all")
		if err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		b := &batch{runner: r, op: o, room: line.NewGate(r.most), outcomes: make(chan outcome, r.most)}
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
		at := index
		b.running.Go(func() {
			result, err := b.runner.run(b.op, job, at)
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
