package runpod

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Group is several endpoints used as one, so that no free GPU in one data center
// is not an outage. Each keeps its own Client, with its volume, limits and
// retries; the Group chooses among them for each job and call, and moves what is
// stuck. It is safe for concurrent use. Make one with [NewGroup].
//
// By default it is thrifty: the first endpoint gets everything until its workers
// are busy and another's are not, or until it refuses. While no endpoint has a
// worker, requests stay together at the first, since its autoscaler starts workers
// for what it sees. A job that was refused for want of a worker goes to the next
// endpoint: its inputs are uploaded to that one's volume, and its result comes
// from there. An endpoint that refused is tried again later by one job at a time. A
// request that may have run is never sent to a second endpoint unless it is
// idempotent.
type Group struct {
	members []*groupMember
	eager   int
	life    *lifetime
	wakes   sync.WaitGroup

	mu     sync.Mutex
	sticky map[string]int // where calls with a key go
	waking context.CancelFunc
}

// GroupOption changes how a Group chooses.
type GroupOption func(*groupConfig)

type groupConfig struct {
	eager   int
	weights []float64
}

// Eager has the Group wake n workers at each of the other endpoints as soon as the
// first one has none, in place of waiting for its refusal, and let go of those
// that are not needed when a worker of the first answers. It costs their idle
// time. Default 0: thrifty.
func Eager(n int) GroupOption { return func(c *groupConfig) { c.eager = n } }

// Weights has the Group spread jobs and calls by these weights, one for each
// endpoint, in place of preferring the first. An endpoint that refuses gets nothing
// while another does not. Default: no weights.
func Weights(w ...float64) GroupOption {
	return func(c *groupConfig) { c.weights = w }
}

// Sticky has calls of a Group that have the same key go to the same endpoint, and
// never move: for sessions, whose state is in one place. The Group remembers the
// last 10,000 keys.
func Sticky(key string) CallOption { return func(o *callOptions) { o.sticky = key } }

// stickyKey is the key that options say; "" if there is none.
func stickyKey(opts []CallOption) string {
	var o callOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o.sticky
}

func newGroup(members []*groupMember, opts []GroupOption) (*Group, error) {
	const op = "new group"
	var c groupConfig
	for _, opt := range opts {
		if opt == nil {
			return nil, refuse(op, "opts", "one is nil")
		}
		opt(&c)
	}
	if len(members) == 0 {
		return nil, refuse(op, "clients", "there is none")
	}
	if c.eager < 0 || c.eager > maxWarm {
		return nil, refuse(op, "Eager", "%d: want 0 to %d workers", c.eager, maxWarm)
	}
	if c.weights != nil && len(c.weights) != len(members) {
		return nil, refuse(op, "Weights", "%d weights for %d clients", len(c.weights), len(members))
	}
	for i, w := range c.weights {
		if !(w > 0) {
			return nil, refuse(op, "Weights", "weight %d is %v: want more than 0", i, w)
		}
		members[i].weight = w
	}
	return &Group{members: members, eager: c.eager, life: newLifetime(), sticky: map[string]int{}}, nil
}

// Run does one job on one of the endpoints; see [Client.Run]. Its Result has the
// attempts at all of them. A job with an input that can be read only once stays at
// the endpoint where it began.
func (g *Group) Run(ctx context.Context, job Job) (Result, error) {
	var result Result
	err := g.run(ctx, job, 0, &result)
	return result, err
}

func (g *Group) run(ctx context.Context, job Job, index int, result *Result) error {
	*result = Result{JobID: jobID(job, index), Index: index}
	var attempts []Attempt
	err := g.place(ctx, "run", "", func(ctx context.Context, m *groupMember, from string, hooks []CallOption) error {
		own := job
		own.Options = append(slices.Clip(job.Options), hooks...)
		t := m.runner.newTrip(own, index)
		t.movedFrom = from
		defer func() {
			attempts = append(attempts, t.result.Attempts...)
			*result = t.result
			result.Attempts = attempts
		}()
		return t.run(ctx)
	})
	return named(err, result.JobID)
}

// RunAll does jobs side by side; see [Client.RunAll]. It reads ahead as far as all
// the endpoints together have room.
func (g *Group) RunAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		if err := g.made("run all"); err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		room := 0
		for _, m := range g.members {
			room += m.room
		}
		b, err := newBatch(ctx, g.life, jobs, room, g.run)
		if err != nil {
			yield(Result{Index: -1}, err)
			return
		}
		b.loop(jobs, yield)
	}
}

// Call calls one of the endpoints; see [Client.Call].
func (g *Group) Call(ctx context.Context, method, path string, in, out any, opts ...CallOption) (*Response, error) {
	var resp *Response
	err := g.place(ctx, operationName(method, path), stickyKey(opts), func(ctx context.Context, m *groupMember, _ string, hooks []CallOption) (err error) {
		resp, err = m.calls.call(ctx, method, path, in, out, append(slices.Clip(opts), hooks...))
		return err
	})
	return resp, err
}

// Do sends a request to one of the endpoints; see [Client.Do]. Its URL is a path
// alone. A request with a body that has no GetBody stays at the endpoint where it
// began.
func (g *Group) Do(req *http.Request) (*http.Response, error) { return g.send(req, false) }

// HTTPClient returns an HTTP client that sends each request, whose URL is a path
// alone, to one of the endpoints; see [Client.HTTPClient].
func (g *Group) HTTPClient() *http.Client {
	return &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) { return g.send(req, true) })}
}

func (g *Group) send(req *http.Request, foreign bool) (*http.Response, error) {
	if req == nil || req.URL == nil {
		return nil, refuse("send a request", "req", "it or its URL is nil")
	}
	op := operationName(req.Method, req.URL.Path)
	if req.URL.Host != "" {
		closeBody(req)
		return nil, refuse(op, "req.URL", "its host is %s: a group's requests have a path alone", req.URL.Host)
	}
	opts := callOptionsIn(req.Context())
	once := req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
	var resp *http.Response
	err := g.place(req.Context(), op, stickyKey(opts), func(ctx context.Context, m *groupMember, from string, hooks []CallOption) (err error) {
		if once {
			hooks = hooks[:1] // without the one that moves it
		}
		own := req.WithContext(WithCallOptions(ctx, append(slices.Clip(opts), hooks...)...))
		if from != "" && req.GetBody != nil {
			if own.Body, err = req.GetBody(); err != nil {
				return err
			}
		}
		resp, err = m.calls.send(own, foreign)
		return err
	})
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// place does a job or a call at the endpoint that is chosen, and again at
// another one if nothing has run and that helps.
func (g *Group) place(ctx context.Context, op, sticky string, do func(ctx context.Context, m *groupMember, from string, hooks []CallOption) error) error {
	o, err := g.open(ctx, op)
	if err != nil {
		return err
	}
	defer o.end()
	from, except := "", -1
	been := make([]bool, len(g.members))
	for {
		for _, m := range g.members {
			g.lookAt(o, m)
		}
		at := g.pick(sticky, except)
		m := g.members[at]
		been[at] = true
		err := m.hosting(func() error { return do(o, m, from, g.hooks(o, at, been, sticky != "")) })
		switch {
		case err == nil, sticky != "", o.Err() != nil:
			return err
		case errors.Is(err, errMoved):
		case isForGood(err) && !mayHaveRun(err):
			m.setAside(o, err, time.Now())
			if g.othersAside(at) {
				return err
			}
		default:
			return err
		}
		from, except = m.name, at
	}
}

func mayHaveRun(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.MayHaveRun
}

// hooks are the call options by which the group learns of each answer, and moves
// what is stuck. The one that moves is the last. A request that failed does not
// return to a member where it has been: it may be what makes it fail.
func (g *Group) hooks(ctx context.Context, at int, been []bool, stays bool) []CallOption {
	m := g.members[at]
	hooks := []CallOption{afterAnswer(func(worker string) {
		m.answered(worker, time.Now())
		if at == 0 {
			g.letGo()
		}
	})}
	if stays || len(g.members) == 1 {
		return hooks
	}
	return append(hooks, elsewhere(func(sent, cold bool) bool {
		if sent {
			g.lookAt(ctx, m)
			m.troubled(cold, time.Now())
		}
		to := shouldMove(g.views(), at, !sent)
		return to >= 0 && !(sent && !cold && been[to])
	}))
}

// How long a job waits for what the control plane says, and for how long it is not
// asked after it took longer.
const (
	lookFor   = 2 * time.Second
	lookAgain = time.Minute
)

// lookAt asks the control plane, if the member has one, which workers its endpoint
// has, and whether it may have any. The answer is at most 5 s old.
func (g *Group) lookAt(ctx context.Context, m *groupMember) {
	if m.isBlind(time.Now()) {
		return
	}
	look, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	r, err := m.ready(look)
	if look.Err() != nil && ctx.Err() == nil {
		m.blindUntil(time.Now().Add(lookAgain))
	}
	if !r.Listed {
		return
	}
	m.list(r)
	if errors.Is(err, ErrNoWorkers) {
		m.setAside(ctx, err, time.Now())
	}
}

func (g *Group) views() []memberView {
	now := time.Now()
	views := make([]memberView, len(g.members))
	for i, m := range g.members {
		views[i] = m.view(now)
	}
	return views
}

func (g *Group) othersAside(at int) bool {
	for i, v := range g.views() {
		if i != at && !v.aside {
			return false
		}
	}
	return true
}

// maxSticky bounds how many keys are remembered.
const maxSticky = 10_000

// pick chooses an endpoint.
func (g *Group) pick(sticky string, except int) int {
	views := g.views()
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, ok := g.sticky[sticky]; sticky != "" && ok {
		return at
	}
	at := choose(views, except)
	if at < 0 {
		at = 0
	}
	if sticky != "" {
		if len(g.sticky) >= maxSticky {
			for key := range g.sticky {
				delete(g.sticky, key)
				break
			}
		}
		g.sticky[sticky] = at
	}
	if g.eager > 0 && g.waking == nil && !views[0].warm {
		g.wakeOthers()
	}
	return at
}

// wakeOthers wakes workers at all endpoints but the first. The caller holds the
// lock.
func (g *Group) wakeOthers() {
	ctx, cancel := context.WithCancel(g.life.ctx)
	g.waking = cancel
	for _, m := range g.members[1:] {
		g.wakes.Go(func() { m.warmer.warmWhile(ctx, g.eager) })
	}
}

// letGo lets the workers go that Eager has woken. They are woken again when the
// first endpoint is cold again.
func (g *Group) letGo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waking != nil {
		g.waking()
		g.waking = nil
	}
}

func (g *Group) open(ctx context.Context, op string) (*operation, error) {
	if err := g.made(op); err != nil {
		return nil, err
	}
	return g.life.begin(ctx, op)
}

// made reports that NewGroup has not made the group.
func (g *Group) made(op string) error {
	if g == nil || g.life == nil {
		return refuse(op, "Group", "it is nil or a zero value: make one with NewGroup")
	}
	return nil
}

// Stats returns those of each Client, in the order in which they were given.
func (g *Group) Stats() []Stats {
	if g == nil {
		return nil
	}
	all := make([]Stats, len(g.members))
	for i, m := range g.members {
		all[i] = m.stats()
	}
	return all
}

// Ready returns what is known about each endpoint, in the order of the Clients; see
// [Client.Ready]. The error is nil if one of them can take calls; otherwise it
// names every endpoint with what keeps it from that. An endpoint that the Group has
// set aside has that among its Warnings.
func (g *Group) Ready(ctx context.Context) ([]Readiness, error) {
	if err := g.made("ready"); err != nil {
		return nil, err
	}
	all := make([]Readiness, len(g.members))
	errs := make([]error, 0, len(g.members))
	for i, m := range g.members {
		r, err := m.ready(ctx)
		if err == nil {
			if err = m.asideWhy(time.Now()); err != nil {
				r.Warnings = append(slices.Clip(r.Warnings), fmt.Sprintf("set aside: %v", err))
			}
		}
		if all[i] = r; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	if len(errs) < len(g.members) {
		return all, nil
	}
	return all, errors.Join(errs...)
}

// Shutdown is [Client.Shutdown] for all Clients at once. Jobs in flight may still
// move from one to another.
func (g *Group) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return refuse("shut down", "ctx", "it is nil")
	}
	if g != nil && g.life != nil {
		g.life.drain()
		g.life.drained(ctx)
	}
	return g.endAll(func(m *groupMember) error { return m.drain(ctx) })
}

// Close is [Client.Close] for all Clients at once.
func (g *Group) Close() error {
	return g.endAll(func(m *groupMember) error { return m.close() })
}

func (g *Group) endAll(how func(*groupMember) error) error {
	if g == nil || g.life == nil {
		return nil
	}
	g.life.drain()
	errs := make([]error, len(g.members))
	var wg sync.WaitGroup
	for i, m := range g.members {
		wg.Go(func() { errs[i] = how(m) })
	}
	wg.Wait()
	g.life.close()
	g.life.settle()
	g.wakes.Wait()
	return errors.Join(errs...)
}
