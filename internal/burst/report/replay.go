package report

import (
	"cmp"
	"slices"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// replay is a run's work done again on other workers: each job takes its place,
// uploads, waits in one line for the first free worker, works for as long as it
// did. It stands for "what if": nothing is refused, workers do not stop.
type replay struct {
	due, upload, work []seconds // by job, in the order they came to the endpoint
	places            int
	ready             []seconds // workers, when each is ready
}

// newReplay takes the times of work from a run of which they are known.
func newReplay(l *burst.Log) (*replay, bool) {
	r := &replay{places: max(1, l.Run.Concurrency)}
	came := slices.SortedFunc(slices.Values(l.Jobs), func(a, b burst.Job) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.Uploaded, a.End), cmp.Or(b.Uploaded, b.End)), a.Index-b.Index)
	})
	var sum seconds
	for i := range came {
		j := &came[i]
		if n := len(j.Attempts); n > 0 && j.Attempts[n-1].Taken > 0 {
			r.work = append(r.work, j.Attempts[n-1].End-j.Attempts[n-1].Taken)
			sum += r.work[len(r.work)-1]
		} else {
			r.work = append(r.work, -1)
		}
		r.due = append(r.due, j.Due)
		r.upload = append(r.upload, max(0, j.Uploaded-j.Begin))
	}
	known := len(r.work) - countOf(r.work, -1)
	if known == 0 {
		return nil, false
	}
	for i, w := range r.work { // one that no worker had would have taken as long as the others
		if w < 0 {
			r.work[i] = sum / seconds(known)
		}
	}
	for _, w := range l.Workers {
		if w.Ready > 0 || w.Served > 0 {
			r.ready = append(r.ready, max(0, w.Ready))
		}
	}
	slices.Sort(r.ready)
	return r, len(r.ready) > 0
}

func countOf(all []seconds, v seconds) (n int) {
	for _, one := range all {
		if one == v {
			n++
		}
	}
	return n
}

// run does the work with workers ready at these times, and returns when the last
// job has ended and how long a job took on the average.
func (r *replay) run(ready []seconds) (end, mean seconds) {
	free := slices.Clone(ready)
	places := make([]seconds, r.places)
	if r.due[len(r.due)-1] > 0 {
		copy(places, r.due)
	}
	for i := range r.work {
		p := earliest(places)
		begin := max(places[p], r.at(i))
		arrive := begin + r.upload[i]
		w := earliest(free)
		free[w] = max(free[w], arrive) + r.work[i]
		places[p] = free[w]
		end = max(end, free[w])
		mean += (free[w] - begin) / seconds(len(r.work))
	}
	return end, mean
}

// at is when job i was to come by itself: jobs of a burst wait only for places.
func (r *replay) at(i int) seconds {
	if i < r.places {
		return r.due[i]
	}
	return 0
}

func earliest(all []seconds) (at int) {
	for i, v := range all {
		if v < all[at] {
			at = i
		}
	}
	return at
}

// warm is the ready times with so many workers ready from the start.
func (r *replay) warm(n int) []seconds {
	ready := slices.Clone(r.ready)
	for len(ready) < n {
		ready = append(ready, 0)
	}
	for i := range min(n, len(ready)) {
		ready[i] = 0
	}
	return ready
}

// more is the ready times with so many workers more, as slow to start as the
// slowest.
func (r *replay) more(n int) []seconds {
	ready := slices.Clone(r.ready)
	for range n {
		ready = append(ready, ready[len(r.ready)-1])
	}
	return ready
}
