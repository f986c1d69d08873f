package runpod

import (
	"sync"
	"time"
)

// deadlines ends attempts that take longer than limit. All have the same limit,
// so they end in the order in which they began, and one timer serves them all:
// a timer for each would cost more than anything else that is done for a call.
// It is safe for concurrent use.
type deadlines struct {
	limit time.Duration

	mu          sync.Mutex
	timer       *time.Timer // nil: none is running
	first, last *deadline
	closed      bool
}

// deadline is an attempt's place among the deadlines.
type deadline struct {
	at         time.Time
	owner      expirer
	in         bool
	prev, next *deadline
}

// expirer is told when its deadline has come. It must not wait for anything.
type expirer interface{ expire() }

// add begins a deadline: its owner is told when limit has passed since now.
func (ds *deadlines) add(d *deadline, now time.Time, owner expirer) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.at, d.owner, d.in = now.Add(ds.limit), owner, true
	d.prev, d.next = ds.last, nil
	if ds.last == nil {
		ds.first = d
	} else {
		ds.last.next = d
	}
	ds.last = d
	ds.arm(now)
}

// remove ends a deadline, if it has not come. It may be called again.
func (ds *deadlines) remove(d *deadline) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.unlink(d)
}

func (ds *deadlines) unlink(d *deadline) {
	if !d.in {
		return
	}
	d.in = false
	if d.prev == nil {
		ds.first = d.next
	} else {
		d.prev.next = d.next
	}
	if d.next == nil {
		ds.last = d.prev
	} else {
		d.next.prev = d.prev
	}
}

// arm sees to it that a timer runs while there is a deadline. It is left to run
// out when the first deadline is removed: stopping it for each call is what
// this type is there to avoid. The caller holds the lock.
func (ds *deadlines) arm(now time.Time) {
	if ds.timer == nil && ds.first != nil && !ds.closed {
		ds.timer = time.AfterFunc(ds.first.at.Sub(now), ds.run)
	}
}

// run expires what is due.
func (ds *deadlines) run() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.timer = nil
	now := time.Now()
	for ds.first != nil && !ds.first.at.After(now) {
		d := ds.first
		ds.unlink(d)
		d.owner.expire()
	}
	ds.arm(now)
}

// close stops the timer.
func (ds *deadlines) close() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.closed = true
	if ds.timer != nil {
		ds.timer.Stop()
	}
}
