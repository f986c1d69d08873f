package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	runpod "github.com/gpuburst/runpod-go"
)

// ResultsOption sets one thing about [Fleet.Results].
type ResultsOption func(*reading) error

// From begins behind the result whose [Result.Pos] is pos. Default: at the first
// result. A reader that keeps the Pos of the last result it has dealt with goes
// on from there after a restart.
func From(pos uint64) ResultsOption {
	return func(r *reading) error { r.pos = pos; return nil }
}

// Follow goes on until the context ends, instead of ending with the last job.
func Follow() ResultsOption {
	return func(r *reading) error { r.follow = true; return nil }
}

// Save writes the result of each job whose Spec has a SaveTo into the folder dir,
// before it is yielded: the job's Output from the volume, by client, or without
// an Output the answer. A file is there whole or not at all; one that is there is
// replaced. Nothing is written outside of dir, whatever a SaveTo says and whatever
// symbolic links there are. The folder is made if it is not there.
func Save(client *runpod.Client, dir string) ResultsOption {
	return func(r *reading) error {
		if client == nil || dir == "" {
			return errors.New("Save: it needs a client and a folder")
		}
		r.saver = &saver{client: client, dir: dir}
		return nil
	}
}

// reading is one Results under way.
type reading struct {
	f      *Fleet
	pos    uint64
	follow bool
	saver  *saver
}

// Results yields the jobs' results in the order in which they were committed,
// each with the error that the job ended in, an *[Error], or the one that [Save]
// met. It ends when every job that was submitted before it began has its result,
// or with [Follow] when ctx ends. Results are kept until [Fleet.Delete], so that
// several readers may read them all. A job that is retried loses its old result
// and gets another.
//
// If reading itself fails, the last round has that error, with a Result whose ID
// is "". While the server does not answer, Results waits for it as long as ctx
// does.
func (f *Fleet) Results(ctx context.Context, opts ...ResultsOption) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		r := reading{f: f}
		err := r.run(ctx, opts, yield)
		if err != nil && !(r.follow && ctx.Err() != nil) {
			yield(Result{}, fmt.Errorf("fleet %s: results: %w", f.name, err))
		}
	}
}

func (r *reading) run(ctx context.Context, opts []ResultsOption, yield func(Result, error) bool) error {
	for _, opt := range opts {
		if err := opt(r); err != nil {
			return err
		}
	}
	op, done, err := r.f.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if r.saver != nil {
		if err := r.saver.open(); err != nil {
			return err
		}
		defer r.saver.close()
	}
	var last uint64
	if err := persist(op, func(ctx context.Context) (err error) {
		_, last, err = r.f.jobs.count(ctx)
		return err
	}); err != nil {
		return err
	}
	return r.read(op, last, yield)
}

// read yields what comes until all jobs up to the number last of JOBS have their
// results and these were read.
func (r *reading) read(ctx context.Context, last uint64, yield func(Result, error) bool) error {
	l := r.f.results.tailFrom(r.pos)
	stopped, complete := false, last == 0
	each := func(e entry) bool {
		stopped = !yield(r.result(ctx, e))
		return !stopped && ctx.Err() == nil
	}
	for fails, limit := 0, time.Duration(0); ; {
		n, err := l.read(ctx, limit, each)
		switch {
		case stopped:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && permanent(err):
			return err
		case err != nil:
			if wait(ctx, pause(fails)) != nil {
				return context.Cause(ctx)
			}
			fails++
			continue
		}
		fails, limit = 0, 0
		if n == tailBatch {
			continue
		}
		if !r.follow {
			if complete {
				return nil // and was read once more since
			}
			if complete, err = r.complete(ctx, last); err != nil {
				return err
			}
			if complete {
				continue
			}
		}
		limit = readLimit
	}
}

// readLimit is how long a reader waits for results before it looks whether more
// are to come.
const readLimit = 250 * time.Millisecond

// complete reports whether all jobs up to the number last have their results.
// Jobs are acknowledged after their results are there, so that what was
// acknowledged without a gap is complete; and so are all jobs if there are as many
// results, some of cancelled jobs whose turn has not come.
func (r *reading) complete(ctx context.Context, last uint64) (complete bool, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		results, _, err := r.f.results.count(ctx) // before the jobs, which may become more
		if err != nil {
			return err
		}
		jobs, _, err := r.f.jobs.count(ctx)
		if err != nil {
			return err
		}
		queue, err := r.f.jobs.stream.Consumer(ctx, "work")
		if err != nil {
			return err
		}
		info := queue.CachedInfo()
		complete = results >= jobs || info.AckFloor.Stream >= last || idle(info)
		return nil
	})
	return complete, err
}

// idle reports whether a consumer has nothing left.
func idle(c *jetstream.ConsumerInfo) bool { return c.NumPending == 0 && c.NumAckPending == 0 }

func (r *reading) result(ctx context.Context, e entry) (Result, error) {
	one, err := readResult(e)
	if err != nil || r.saver == nil || one.SaveTo == "" {
		return one, err
	}
	if err := r.saver.save(ctx, &one); err != nil {
		return one, fmt.Errorf("fleet: job %q: save %s: %w", one.ID, quoted(one.SaveTo), err)
	}
	return one, nil
}
