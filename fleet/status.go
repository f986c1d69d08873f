package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is how a fleet stands.
type Status struct {
	Name     string
	InFlight int    // the limit of calls, 0 while the fleet is drained
	Jobs     uint64 // submitted; the sum of the four below
	Waiting  uint64
	Running  []Running // the longest first
	Done     uint64    // ended well
	Failed   uint64    // ended otherwise, cancelled ones included
	Machines []Machine // that work for the fleet
	// Workers are the endpoint's workers that answered lately, as the machines
	// have seen them.
	Workers []string
	// Endpoint says how the endpoint looks to the machines together, Room how
	// many calls they have open because of that, InFlight at most.
	Endpoint Outlook
	Room     int
}

// Running is a job that a machine has.
type Running struct {
	ID      string
	Machine string // its name
	Since   time.Time
	// Lost: its machine is gone. If the job is idempotent it goes to another one
	// within [Config.Lease], else it ends as one that may have run.
	Lost bool
}

// Machine is one [Fleet.Work].
type Machine struct {
	ID, Name     string
	Slots        int // 0: it finishes what it has and leaves
	Since        time.Time
	Done, Failed int
	Limit        int // how many calls its client lets through at once
}

// Status looks at the fleet. Its figures are of about the same moment.
func (f *Fleet) Status(ctx context.Context) (Status, error) {
	op, done, err := f.begin(ctx)
	if err != nil {
		return Status{}, err
	}
	defer done()
	st, err := f.status(op)
	if err != nil {
		return Status{}, fmt.Errorf("fleet %s: status: %w", f.name, err)
	}
	return st, nil
}

func (f *Fleet) status(ctx context.Context) (st Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 6*tryLimit)
	defer cancel()
	st.Name = f.name
	cards := map[string]card{}
	if err := f.live.tailOf(">").all(ctx, func(e entry) {
		var c card
		if json.Unmarshal(e.data, &c) == nil && !c.Gone {
			cards[e.key] = c
		}
	}); err != nil {
		return st, err
	}
	if err := f.claims.tailOf(">").all(ctx, func(e entry) { st.addRunning(e, cards) }); err != nil {
		return st, err
	}
	if st.InFlight, err = f.limit(ctx); err != nil {
		return st, err
	}
	if err := f.addCounts(ctx, &st); err != nil {
		return st, err
	}
	st.addMachines(cards)
	slices.SortFunc(st.Running, func(a, b Running) int { return a.Since.Compare(b.Since) })
	return st, nil
}

func (f *Fleet) limit(ctx context.Context) (n int, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		e, err := f.book.get(ctx, "set.limit")
		if err != nil {
			return err
		}
		var ok bool
		if n, ok = limitOf(e.data); !ok {
			return fmt.Errorf("the record of the limit is broken: %s", quoted(string(e.data)))
		}
		return nil
	})
	return n, err
}

func (st *Status) addRunning(e entry, cards map[string]card) {
	var c claim
	if json.Unmarshal(e.data, &c) != nil {
		return
	}
	id, err := idOf(e.key)
	if err != nil {
		id = e.key
	}
	_, living := cards[c.Machine]
	st.Running = append(st.Running, Running{ID: id, Machine: c.Name, Since: c.Since, Lost: !living})
}

func (st *Status) addMachines(cards map[string]card) {
	var sights []sight
	for id, c := range cards {
		if c.Slots > 0 {
			sights = append(sights, c.Sight)
		}
		st.Machines = append(st.Machines, Machine{ID: id, Name: c.Name, Slots: c.Slots, Since: c.Since, Done: c.Done, Failed: c.Failed, Limit: c.Sight.Limit})
		st.Workers = append(st.Workers, c.Workers...)
	}
	st.Endpoint, st.Room = judge(st.InFlight, sights)
	slices.Sort(st.Workers)
	st.Workers = slices.Compact(st.Workers)
	slices.SortFunc(st.Machines, func(a, b Machine) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
}

// addCounts counts the jobs. Those that end meanwhile are counted as running.
func (f *Fleet) addCounts(ctx context.Context, st *Status) error {
	var results uint64
	err := persist(ctx, func(ctx context.Context) (err error) {
		if st.Failed, _, err = f.failed.count(ctx); err != nil {
			return err
		}
		if results, _, err = f.results.count(ctx); err != nil {
			return err
		}
		st.Jobs, _, err = f.jobs.count(ctx)
		return err
	})
	st.Done = results - min(st.Failed, results)
	st.Waiting = st.Jobs - min(st.Jobs, results+uint64(len(st.Running)))
	return err
}
