package runpodtest

import (
	"container/list"
	"time"
)

// waiter is a request that waits for a worker.
type waiter struct {
	since    time.Time
	affinity affinity
	place    int  // in line; see the function place
	free     bool // does not count as demand
	released bool // its place on its worker is free again
	entry    *list.Element
	verdict  chan verdict // buffered: the balancer never waits
}

// verdict is how a wait ended.
type verdict struct {
	worker *worker // nil: the one that the request insisted on is gone
}

// line is the requests that wait, in the order in which they are served. The
// balancer's lock guards it.
type line struct {
	waiters list.List // of *waiter
	queued  int       // of these, how many count as demand
	strict  int       // of these, how many insist on one worker
}

// add puts a request in its place in line.
func (l *line) add(wt *waiter) {
	e := l.waiters.Back()
	for e != nil && wt.place < e.Value.(*waiter).place {
		e = e.Prev()
	}
	if e == nil {
		wt.entry = l.waiters.PushFront(wt)
	} else {
		wt.entry = l.waiters.InsertAfter(wt, e)
	}
	l.count(wt, 1)
}

// drop takes a request out of the line.
func (l *line) drop(wt *waiter) {
	l.waiters.Remove(wt.entry)
	wt.entry = nil
	l.count(wt, -1)
}

func (l *line) count(wt *waiter, by int) {
	if !wt.free {
		l.queued += by
	}
	if wt.affinity.strict {
		l.strict += by
	}
}

// overdue returns how many requests have waited for patience, and when the next
// one will have (zero: none waits).
func (l *line) overdue(patience time.Duration) (n int, next time.Time) {
	now := time.Now()
	for e := l.waiters.Front(); e != nil; e = e.Next() {
		wt := e.Value.(*waiter)
		due := wt.since.Add(patience)
		switch {
		case wt.free:
		case !due.After(now):
			n++
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	return n, next
}
