package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// claim says who runs a job. It is written before the job's call goes out.
type claim struct {
	Machine string    `json:"machine"` // its id
	Name    string    `json:"name"`
	Take    string    `json:"take"` // this very attempt of the machine's
	Run     int       `json:"run"`
	Since   time.Time `json:"since"`
}

// step is what to do about a job that was handed to this machine.
type step int

const (
	stepLeave step = iota // another machine has it: it comes again if that dies
	stepSkip              // it has its result
	stepRun               // the claim is ours
	stepLost              // the claim is ours, and a machine that died may have run it
)

// meet judges a claim that is in the way of a run of a job: whether it is ours,
// may be taken over, or stands. Dead is what is known of its machine, or of that
// machine's attempt if it is this machine.
func meet(there claim, mine claim, dead bool) (ours, over bool) {
	switch {
	case there.Take == mine.Take:
		return true, false // the answer to our own write was lost
	case !dead:
		return false, false
	}
	return false, true
}

// next says what follows once the claim is ours: before is the claim that was
// taken over, if there was one, result the job's result, if there is one.
func next(j *job, before *claim, result *wireResult) step {
	switch {
	case result != nil && result.Run >= j.Run:
		return stepSkip
	case before != nil && before.Run >= j.Run && !j.twice():
		return stepLost
	}
	return stepRun
}

// claim writes the claim and looks whether the job has its result already. It
// returns the number of the claim, and of the result that the job's own will
// replace.
func (t *task) claim(ctx context.Context) (step, error) {
	mine := claim{Machine: t.m.id, Name: t.m.name, Take: t.take, Run: t.job.Run, Since: time.Now()}
	var before *claim
	expect := uint64(0)
	for t.claimed == 0 {
		err := persist(ctx, func(ctx context.Context) (err error) {
			t.claimed, err = t.m.f.claims.put(ctx, t.key, mine, expect)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errConflict) {
			return stepLeave, err
		}
		there, seq, dead, err := t.inTheWay(ctx)
		if err != nil {
			return stepLeave, err
		}
		expect = seq
		if seq == 0 {
			continue // gone meanwhile
		}
		ours, over := meet(there, mine, dead)
		if ours {
			t.claimed = seq
		} else if !over {
			return stepLeave, nil
		} else {
			before = &there
		}
	}
	result, err := t.result(ctx)
	if err != nil {
		return stepLeave, err
	}
	return next(&t.job, before, result), nil
}

// inTheWay reads the claim that is there, and whether who made it is dead.
func (t *task) inTheWay(ctx context.Context) (there claim, seq uint64, dead bool, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		e, err := t.m.f.claims.get(ctx, t.key)
		if err != nil || e.seq == 0 {
			seq = 0
			return err
		}
		seq = e.seq
		if json.Unmarshal(e.data, &there) != nil {
			there, dead = claim{Run: t.job.Run}, true // a broken claim is nobody's, and may have been anybody's
			return nil
		}
		if there.Machine == t.m.id {
			dead = !t.m.runs(there.Take)
			return nil
		}
		dead, err = t.m.dead(there.Machine)
		return err
	})
	return there, seq, dead, err
}

// result reads the job's result, nil if there is none, and remembers its number.
func (t *task) result(ctx context.Context) (r *wireResult, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		e, err := t.m.f.results.get(ctx, t.key)
		if err != nil {
			return err
		}
		t.before, r = e.seq, nil
		if e.seq > 0 {
			r = &wireResult{}
			if json.Unmarshal(e.data, r) != nil {
				*r = wireResult{} // broken: it is replaced
			}
		}
		return nil
	})
	return r, err
}

func unmarshal(data []byte, to any) bool { return json.Unmarshal(data, to) == nil }
