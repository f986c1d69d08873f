package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// SetInFlight changes how many calls all machines together have open at most.
// Machines learn of it within a second. Calls that are open above a lower limit
// are not ended, and no new one begins until enough have ended.
func (f *Fleet) SetInFlight(ctx context.Context, n int) error {
	if n < 1 || n > mostInFlight {
		return fmt.Errorf("fleet %s: set in flight: %d: want 1 to %d", f.name, n, mostInFlight)
	}
	return f.setLimit(ctx, "set in flight", n)
}

func (f *Fleet) setLimit(ctx context.Context, op string, n int) error {
	o, done, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := persist(o, func(ctx context.Context) error { return f.book.set(ctx, "set.limit", strconv.Itoa(n)) }); err != nil {
		return fmt.Errorf("fleet %s: %s: %w", f.name, op, err)
	}
	return nil
}

// Drain has the machines begin no further job, and returns when none runs. It
// sets the limit to 0: SetInFlight has the fleet go on. Machines stay.
func (f *Fleet) Drain(ctx context.Context) error {
	if err := f.setLimit(ctx, "drain", 0); err != nil {
		return err
	}
	for {
		st, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if len(st.Running) == 0 {
			return nil
		}
		if err := wait(ctx, time.Second); err != nil {
			return fmt.Errorf("fleet %s: drain: %d jobs still run: %w", f.name, len(st.Running), err)
		}
	}
}

// Cancel ends jobs: each that has no result gets one that is an [ErrCancelled].
// The call of a job that runs is ended within a quarter of [Config.Lease]; the
// endpoint may finish it. Jobs that have ended stay as they are. The error joins
// those of the ids for which it failed, such as one that names no job.
func (f *Fleet) Cancel(ctx context.Context, ids ...string) error {
	return f.each(ctx, "cancel", ids, f.cancel)
}

func (f *Fleet) cancel(ctx context.Context, j *job, _ entry) error {
	key := token(j.ID)
	for {
		var e entry
		err := persist(ctx, func(ctx context.Context) (err error) {
			e, err = f.results.get(ctx, key)
			return err
		})
		if err != nil {
			return err
		}
		var there wireResult
		if e.seq > 0 && json.Unmarshal(e.data, &there) == nil && there.Run >= j.Run {
			return nil
		}
		r := wireResult{Run: j.Run, SaveTo: j.SaveTo, Ended: time.Now().UnixMilli()}
		r.fail(ErrCancelled)
		err = persist(ctx, func(ctx context.Context) error {
			_, err := f.results.put(ctx, key, r, e.seq)
			return err
		})
		if err == nil {
			return persist(ctx, func(ctx context.Context) error { return f.failed.set(ctx, key, j.Run) })
		}
		if !errors.Is(err, errConflict) {
			return err
		}
	}
}

// Retry runs jobs once more that have failed, were cancelled or may have run. A
// job that ended well, or has not ended, is an error; the error joins those of
// all such ids. Without ids it does nothing: see [Fleet.Failed] for all of them.
func (f *Fleet) Retry(ctx context.Context, ids ...string) error {
	return f.each(ctx, "retry", ids, f.retry)
}

// retry writes the job's record anew: that one write queues it. The rest clears
// up behind it, and whoever runs the job does without.
func (f *Fleet) retry(ctx context.Context, j *job, record entry) error {
	key := token(j.ID)
	var old, mark entry
	err := persist(ctx, func(ctx context.Context) (err error) {
		if old, err = f.results.get(ctx, key); err == nil {
			mark, err = f.failed.get(ctx, key)
		}
		return err
	})
	if err != nil {
		return err
	}
	var there wireResult
	switch {
	case old.seq == 0 || json.Unmarshal(old.data, &there) == nil && there.Run < j.Run:
		return errors.New("it has not ended yet")
	case there.Failed == "":
		return errors.New("it has ended well")
	}
	j.Run++
	err = persist(ctx, func(ctx context.Context) error {
		_, err := f.jobs.put(ctx, key, j, record.seq, record.head.Get(traceparent))
		return err
	})
	if errors.Is(err, errConflict) {
		return errors.New("it is being retried by somebody else")
	}
	if err != nil {
		return err
	}
	return persist(ctx, func(ctx context.Context) error {
		if mark.seq > 0 {
			if err := f.failed.remove(ctx, mark.seq); err != nil {
				return err
			}
		}
		return f.results.remove(ctx, old.seq)
	})
}

// Failed yields the ids of the jobs that have failed, for Retry. The last round
// has the error, if there is one.
func (f *Fleet) Failed(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		op, done, err := f.begin(ctx)
		if err == nil {
			defer done()
			err = f.eachFailed(op, func(id string) bool { return yield(id, nil) })
		}
		if err != nil {
			yield("", fmt.Errorf("fleet %s: failed: %w", f.name, err))
		}
	}
}

func (f *Fleet) eachFailed(ctx context.Context, do func(id string) bool) error {
	_, last, err := f.failed.count(ctx)
	if err != nil {
		return err
	}
	l, on := f.failed.tailFrom(0), true
	for on {
		n, err := l.read(ctx, 0, func(e entry) bool {
			if id, err := idOf(e.key); err == nil && e.seq <= last {
				on = do(id)
			}
			return on
		})
		if err != nil {
			return err
		}
		if n < tailBatch {
			return nil
		}
	}
	return nil
}

// each does something with the records of jobs.
func (f *Fleet) each(ctx context.Context, op string, ids []string, do func(context.Context, *job, entry) error) error {
	o, done, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	var failed []error
	for _, id := range ids {
		if err := f.one(o, id, do); err != nil {
			failed = append(failed, fmt.Errorf("fleet %s: %s: job %s: %w", f.name, op, quoted(id), err))
		}
		if o.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func (f *Fleet) one(ctx context.Context, id string, do func(context.Context, *job, entry) error) error {
	if id == "" || len(id) > longestID {
		return errors.New("it is no id")
	}
	var e entry
	err := persist(ctx, func(ctx context.Context) (err error) {
		e, err = f.jobs.get(ctx, token(id))
		return err
	})
	if err != nil {
		return err
	}
	if e.seq == 0 {
		return errors.New("there is none")
	}
	j, err := readJob(token(id), e.data)
	if err != nil {
		return err
	}
	return do(ctx, &j, e)
}
