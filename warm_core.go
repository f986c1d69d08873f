package runpod

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// warmCore decides how many workers are wanted and what is sent to get and keep
// them. It is pure: it is told the time and what is at the endpoint, and it
// returns orders. The wake sends, cancels and locks around it.
type warmCore struct {
	config warmConfig
	policy RetryPolicy
	most   time.Duration // the cap, for the error's text

	running  bool
	closed   bool // no wake begins any more
	capped   bool // nor is one paid for any more
	asks     []*ask
	leases   int       // jobs that are uploading
	leased   time.Time // when the first of them began
	kept     int       // workers that are kept for the calls that follow Warm
	keptFrom time.Time
	workers  map[string]sighting
	pings    []ping    // light requests under way, oldest first
	failed   error     // why the endpoint refuses for good
	progress time.Time // when a worker was last seen for the first time
	pressed  time.Time // when missing light requests were last sent
	looked   time.Time // when account was last called
	listed   time.Time // when the control plane was last asked for the workers
	lastCall time.Time // when a call was last under way
	scaling  Scaling   // zero: not known
	learnt   time.Time // when the control plane was last asked for it
	level    int       // how many requests, calls included, are to be at the endpoint
	idle     time.Duration
	sent     int64
}

// sighting is what is known about a worker.
type sighting struct {
	at    time.Time
	ready bool // it answers; otherwise it is there, and loading
}

func newWarmCore(config warmConfig, policy RetryPolicy, most time.Duration) warmCore {
	return warmCore{config: config, policy: policy, most: most, workers: map[string]sighting{}}
}

// renewal is how often workers get a light request to keep them from idling out.
func (c *warmCore) renewal() time.Duration { return max(c.policy.IdleTimeout*3/5, 1) }

// start begins a wake, and reports false if one is under way or none may begin.
func (c *warmCore) start(now time.Time) bool {
	if c.running || c.closed || c.capped {
		return false
	}
	c.running, c.looked, c.pressed = true, now, time.Time{}
	return true
}

// join adds a caller of Warm to the wake.
func (c *warmCore) join(now time.Time, a *ask) (o orders) {
	if !c.running {
		c.forget(now, c.policy.IdleTimeout)
		c.failed = nil // another try
	}
	c.asks = append(c.asks, a)
	c.settle(now, &o)
	return o
}

// lend adds a job that is uploading.
func (c *warmCore) lend(now time.Time) {
	if c.leases == 0 {
		c.failed, c.leased = nil, now // another burst, another try
	}
	c.leases++
}

// withdraw forgets an ask. What was kept for calls that were to follow is kept no
// longer if no other ask is left.
func (c *warmCore) withdraw(a *ask) {
	c.asks = slices.DeleteFunc(c.asks, func(other *ask) bool { return other == a })
	if len(c.asks) == 0 {
		c.kept = 0
	}
}

// account is the idle worker-time since it was last called, and how many workers
// are idle now.
func (c *warmCore) account(now time.Time, at traffic) (d time.Duration, idle int) {
	idle = max(0, c.up()-at.calls)
	d = now.Sub(c.looked) * time.Duration(idle)
	c.looked = now
	c.idle += d
	return d, idle
}

// step does what is due now.
func (c *warmCore) step(now time.Time, at traffic) (o orders) {
	if at.calls+at.waiting > 0 {
		c.lastCall = now
		c.forget(now, c.policy.ProcessingLimit+2*c.policy.IdleTimeout) // no request takes longer
	} else {
		c.forget(now, 2*c.policy.IdleTimeout)
	}
	c.settle(now, &o)
	want := c.wanted(now, at)
	if want == 0 || c.closed {
		c.halt(&o)
		return o
	}
	o.want = want
	c.level = pressure(want, c.perWorker())
	c.trim(at.calls, &o)
	switch {
	case now.Sub(c.pressed) >= c.renewal() || c.pressed.IsZero():
		c.pressed = now
		c.renew(now, want, at.calls, &o)
		c.press(want, at.calls, &o)
		if c.up() < want && now.Sub(c.listed) >= 2*c.renewal() {
			c.listed, o.list = now, true
		}
	case c.up() < want && len(c.pings) > 0: // more are wanted than a moment ago
		c.press(want, at.calls, &o)
	}
	return o
}

// halt ends the wake and its light requests. Callers that still wait are told
// that the Client is closed: nothing else ends a wake that has some.
func (c *warmCore) halt(o *orders) {
	c.running, c.kept, o.over = false, 0, true
	for _, p := range c.pings {
		o.cancel = append(o.cancel, p.id)
	}
	for _, a := range c.asks {
		a.end(c.up(), &Error{Kind: ErrClosed}, o)
	}
	c.pings, c.asks = nil, nil
}

// found takes in what a light request has shown.
func (c *warmCore) found(now time.Time, at traffic, id int64, f finding) (o orders) {
	i := slices.IndexFunc(c.pings, func(p ping) bool { return p.id == id })
	if i < 0 || !c.running {
		return o // withdrawn
	}
	c.pings = slices.Delete(c.pings, i, i+1)
	switch {
	case f.answered:
		c.sight(f.worker, f.ready, now)
	case f.refused != nil:
		return c.fail(now, f.refused)
	}
	c.settle(now, &o)
	if want := c.wanted(now, at); f.inVain {
		c.press(want, at.calls, &o) // the next one takes its place
	}
	return o
}

// fail notes that the endpoint refuses for good.
func (c *warmCore) fail(now time.Time, err error) (o orders) {
	c.failed = err
	c.settle(now, &o)
	c.kept = 0
	return o
}

// saw notes that a worker has answered a call.
func (c *warmCore) saw(now time.Time, worker string) {
	c.lastCall = now
	c.sight(worker, true, now)
}

// learn takes in how the endpoint scales.
func (c *warmCore) learn(now time.Time, s Scaling) (o orders) {
	switch {
	case !s.LoadBalancing:
		return c.fail(now, &Error{Kind: ErrBadRequest, Err: errors.New("not a load-balancing endpoint"), Advice: queueAdvice})
	case s.MaxWorkers <= 0:
		return c.fail(now, &Error{Kind: ErrNoWorkers, Err: errors.New("the endpoint's maximum is 0 workers"), Advice: raiseMaximum})
	}
	c.scaling = s
	return o
}

// list takes in which workers the control plane lists.
func (c *warmCore) list(now time.Time, workers []WorkerState) (o orders) {
	for _, w := range workers {
		if w.Status.up() {
			c.sight(w.ID, true, now)
		}
	}
	c.settle(now, &o)
	return o
}

// wanted is how many workers are to be there; 0 ends the wake.
func (c *warmCore) wanted(now time.Time, at traffic) int {
	if c.capped {
		return 0
	}
	c.letGo(now)
	want := c.kept
	for _, a := range c.asks {
		want = max(want, a.n)
	}
	if c.leases > 0 && c.failed == nil && c.fresh(now) {
		want = max(want, c.config.n, 1)
		if c.config.n == 0 {
			want = max(want, c.coming(at))
		}
	}
	if c.config.keep > 0 && now.Sub(c.lastCall) < c.config.keep {
		want = max(want, len(c.workers))
	}
	return c.within(want)
}

// fresh reports whether the leases still count: uploads that go on and on
// without a call between them must not keep workers for ever.
func (c *warmCore) fresh(now time.Time) bool {
	patience := c.policy.WarmFor
	if c.up() == 0 {
		patience = c.policy.GiveUp
	}
	for _, event := range []time.Time{c.leased, c.progress, c.lastCall} {
		if now.Sub(event) < patience {
			return true
		}
	}
	return false
}

// coming is how many workers the jobs under way will ask for.
func (c *warmCore) coming(at traffic) int {
	n := min(c.leases+at.calls, at.limit)
	return (n + c.perWorker() - 1) / c.perWorker()
}

// keep keeps n workers for the calls that are to follow.
func (c *warmCore) keep(now time.Time, n int) { c.kept, c.keptFrom = max(c.kept, n), now }

// letGo keeps workers no longer if the calls have come and gone, or have not
// come for too long.
func (c *warmCore) letGo(now time.Time) {
	p := c.policy
	gone := c.lastCall.After(c.keptFrom) && now.Sub(c.lastCall) >= p.IdleTimeout && c.leases == 0
	if len(c.asks) == 0 && (gone || now.Sub(c.keptFrom) >= p.WarmFor) {
		c.kept = 0
	}
}

// within caps n at the endpoint's maximum, if that is known.
func (c *warmCore) within(n int) int {
	if c.scaling.MaxWorkers > 0 {
		n = min(n, c.scaling.MaxWorkers)
	}
	return n
}

// perWorker is how many requests ask for one worker.
func (c *warmCore) perWorker() int {
	switch {
	case c.scaling.MaxWorkers == 0: // not known
		return scalerValue
	case c.scaling.RequestsPerWorker <= 0:
		return 1 // every request that has waited asks for one
	}
	return min(c.scaling.RequestsPerWorker, maxPings)
}

// up is how many workers are known to answer.
func (c *warmCore) up() (n int) {
	for _, s := range c.workers {
		if s.ready {
			n++
		}
	}
	return n
}

// sight notes that a worker is there. Names come from outside: they are cut, and no
// more of them are kept than there can be workers.
func (c *warmCore) sight(worker string, ready bool, now time.Time) {
	worker = worker[:min(len(worker), maxWorkerName)]
	if _, known := c.workers[worker]; !known && len(c.workers) >= 2*maxWarm {
		return
	}
	if !c.workers[worker].ready && ready {
		c.progress = now
	}
	c.workers[worker] = sighting{at: now, ready: ready}
}

// forget drops workers that have not been seen for longer than after.
func (c *warmCore) forget(now time.Time, after time.Duration) {
	for id, s := range c.workers {
		if now.Sub(s.at) > after {
			delete(c.workers, id)
		}
	}
}

// pressure is how many requests make the autoscaler want n workers, of which
// one stands for every perWorker, or a part of it (Runpod docs, REQUEST_COUNT).
// It lies between the fewest and the most that do, so that one which leaves a
// moment early or comes a moment late changes nothing.
func pressure(n, perWorker int) int { return (n-1)*perWorker + 1 + min(2, (perWorker-1)/2) }

// press sends light requests until there are, with the calls, as many as make
// the autoscaler want all workers. It sends none if those are there already.
func (c *warmCore) press(want, calls int, o *orders) {
	if c.up() >= want || c.failed != nil {
		return
	}
	most := min(pressure(want, c.perWorker())-calls, maxPings)
	for missing := most - len(c.pings); missing > 0; missing-- {
		c.dispatch("", o)
	}
}

// dispatch orders one light request.
func (c *warmCore) dispatch(worker string, o *orders) {
	c.sent++
	p := ping{id: c.sent, worker: worker}
	c.pings = append(c.pings, p)
	o.send = append(o.send, p)
}

// trim withdraws the light requests that calls have taken the place of: those
// that still wait would be served before calls that come after them.
func (c *warmCore) trim(calls int, o *orders) {
	over := len(c.pings) - max(0, c.level-calls)
	if over <= 0 {
		return
	}
	for _, p := range c.pings[:over] {
		o.cancel = append(o.cancel, p.id)
	}
	c.pings = slices.Clone(c.pings[over:])
}

// renew keeps idle workers from scaling down: those seen last, and only as many
// as calls can have left idle. One that was seen within half a renewal can wait
// for the next.
func (c *warmCore) renew(now time.Time, want, calls int, o *orders) {
	if c.failed != nil {
		return
	}
	ids := make([]string, 0, len(c.workers))
	for id := range c.workers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(c.workers[b].at.Compare(c.workers[a].at), cmp.Compare(a, b))
	})
	for _, id := range ids[:max(0, min(want, len(ids))-calls)] {
		if now.Sub(c.workers[id].at) >= c.renewal()/2 && !c.pinging(id) {
			c.dispatch(id, o)
		}
	}
}

// pinging reports whether a light request to the worker is under way.
func (c *warmCore) pinging(worker string) bool {
	return slices.ContainsFunc(c.pings, func(p ping) bool { return p.worker == worker })
}

// settle ends the waits of Warm that are over.
func (c *warmCore) settle(now time.Time, o *orders) {
	c.asks = slices.DeleteFunc(c.asks, func(a *ask) bool {
		up, over, err := c.outcome(now, a)
		if over {
			a.end(up, err, o)
		}
		return over
	})
}

// outcome is what a caller of Warm gets, if its wait is over.
func (c *warmCore) outcome(now time.Time, a *ask) (up int, over bool, err error) {
	up, most, waited := c.up(), c.within(a.n), now.Sub(a.begun)
	switch {
	case c.capped:
		return up, true, capReached("warm", c.most)
	case up >= most && most > 0:
		if most < a.n {
			err = short(up, a.n, fmt.Sprintf("the endpoint's maximum is %d", most), "raise it: runpod-workers set -max "+fmt.Sprint(a.n))
		}
		c.keep(now, up)
		return up, true, err
	case c.failed != nil:
		return up, true, c.failed
	case up > 0 && now.Sub(c.progress) >= c.policy.QueueWait && waited >= c.policy.QueueWait:
		c.keep(now, up)
		return up, true, short(up, a.n, "no further one came for "+c.policy.QueueWait.String(), "check the endpoint's maximum workers and its capacity")
	case up == 0 && waited >= c.policy.GiveUp:
		return 0, true, short(0, a.n, "none came for "+c.policy.GiveUp.String(), "check that the endpoint's maximum workers is above 0 and that GPUs are to be had")
	}
	return up, false, nil
}
