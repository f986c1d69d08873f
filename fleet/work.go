package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	runpod "github.com/gpuburst/runpod-go"
)

// WorkOption sets one thing about [Fleet.Work].
type WorkOption func(*worker) error

// Slots sets how many calls Work has open at once at most. Default 16, as
// [runpod.WithMaxInFlight]. The fleet's limit is shared by its machines as evenly
// as their slots allow, so that one may get fewer.
func Slots(n int) WorkOption {
	return func(w *worker) error {
		if n < 1 || n > mostInFlight {
			return fmt.Errorf("Slots: %d: want 1 to %d", n, mostInFlight)
		}
		w.slots = n
		return nil
	}
}

// MachineName sets how [Fleet.Status] and results name this machine. Default:
// the host's name and the process's number.
func MachineName(name string) WorkOption {
	return func(w *worker) error {
		if name == "" || len(name) > longestID || !printable(name) {
			return fmt.Errorf("MachineName: %s: want 1 to %d printable bytes", quoted(name), longestID)
		}
		w.name = name
		return nil
	}
}

// Work does the fleet's jobs with client until ctx ends. It may run on any number
// of machines, and several times in one process. When ctx ends it takes no
// further job, finishes the calls that are open, which may take minutes, and
// returns nil. Most callers end ctx by signal.NotifyContext. [Fleet.Close] does
// not wait for the calls.
//
// An outage of the server ends nothing by itself: if it is over within three
// quarters of [Config.Lease], calls go on; otherwise they are ended, and Work
// goes on when the server is back.
//
// Work returns an error if the client cannot work at all: its key was refused, it
// lacks settings, or it was closed. The jobs it had then are left to others. What
// concerns one job only is in that job's [Result].
func (f *Fleet) Work(ctx context.Context, client *runpod.Client, opts ...WorkOption) error {
	w := worker{f: f, client: client, drain: ctx, slots: defaultInFlight}
	if host, err := os.Hostname(); err == nil {
		w.name = host + "-" + strconv.Itoa(os.Getpid())
	}
	for _, opt := range opts {
		if err := opt(&w); err != nil {
			return fmt.Errorf("fleet %s: work: %w", f.name, err)
		}
	}
	if client == nil {
		return fmt.Errorf("fleet %s: work: the client is nil", f.name)
	}
	op, done, err := f.begin(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer done()
	f.remember(client)
	for {
		// With a new id each time: under the old one, others would take the jobs
		// that were lost with the lease for running.
		err := w.machine(op)
		if ctx.Err() != nil && errors.Is(err, errLeaseLost) {
			return nil
		}
		if err == nil || !errors.Is(err, errLeaseLost) {
			return wrap(err, f.name)
		}
	}
}

func wrap(err error, name string) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("fleet %s: work: %w", name, err)
}

// worker is one Work.
type worker struct {
	f      *Fleet
	client *runpod.Client
	drain  context.Context
	slots  int
	name   string
}

// machine is a worker under one lease.
type machine struct {
	*worker
	id    string
	board *board
	lease *lease
	ctx   context.Context // ends with the lease, and with Close: calls end with it
	stop  context.CancelCauseFunc
	drain context.Context // ends with the worker's, and if the client is unfit: no job is begun
	halt  context.CancelCauseFunc

	mu      sync.Mutex
	want    int          // how many places it should have
	limit   int          // of the fleet
	held    map[int]bool // places it has
	running map[string]bool
	gaveUp  time.Time
	places  sync.WaitGroup
}

// machine works under a lease until that is lost or the worker is drained.
func (w *worker) machine(op context.Context) error {
	m := &machine{worker: w, id: nuid.Next(), board: newBoard(w.f.lease), held: map[int]bool{}, running: map[string]bool{}}
	m.ctx, m.stop = context.WithCancelCause(op)
	defer m.stop(nil)
	m.drain, m.halt = context.WithCancelCause(w.drain)
	defer m.halt(nil)
	m.lease = &lease{t: w.f.live, id: m.id, term: w.f.lease, poke: make(chan struct{}, 1)}
	m.lease.card = card{Name: w.name, Slots: w.slots, Since: time.Now(), Sight: look(time.Now(), w.client.Stats(), 0, time.Time{})}
	var from time.Time
	if err := m.join(&from); err != nil {
		return err
	}
	var behind sync.WaitGroup
	behind.Go(func() {
		if err := m.lease.keep(m.ctx, from); err != nil {
			m.stop(err)
		}
	})
	behind.Go(func() { w.f.live.tailOf(">").follow(m.ctx, m.board.live) })
	behind.Go(func() { w.f.book.tailOf("set.>").follow(m.ctx, m.board.book) })
	behind.Go(func() { w.f.book.tailOf("place.>").follow(m.ctx, m.board.book) })
	m.manage()
	m.places.Wait()
	cause := context.Cause(m.ctx)
	if !errors.Is(cause, errLeaseLost) {
		m.leave()
	}
	m.stop(nil)
	behind.Wait()
	if cause == nil && w.drain.Err() == nil {
		cause = context.Cause(m.drain)
	}
	return cause
}

// join takes the lease.
func (m *machine) join(from *time.Time) error {
	ctx, cancel := context.WithCancel(m.ctx)
	defer context.AfterFunc(m.drain, cancel)()
	defer cancel()
	err := persist(ctx, func(ctx context.Context) error {
		*from = time.Now()
		return m.lease.renew(ctx)
	})
	if err != nil && m.drain.Err() != nil && m.ctx.Err() == nil {
		return fmt.Errorf("%w (%w)", errLeaseLost, err) // it was told to end before it began
	}
	return err
}

// leave tells the others that the machine is gone, so that they need not wait.
func (m *machine) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), tryLimit)
	defer cancel()
	m.lease.change(false, func(c *card) { c.Gone = true })
	_ = m.lease.renew(ctx) // otherwise its lease runs out
}

// manage takes places as the machine's share says, until the worker is drained
// or the machine's context ends. Those that are too many end by themselves.
func (m *machine) manage() {
	look := time.NewTicker(min(time.Second, m.f.lease/10))
	defer look.Stop()
	for {
		m.observe()
		p := m.board.plan(m.id, time.Now())
		m.mu.Lock()
		m.want, m.limit = p.want, p.limit
		missing := m.want - len(m.held)
		m.mu.Unlock()
		if missing > 0 {
			m.acquire(p, missing)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.drain.Done():
			m.mu.Lock()
			m.want = 0
			m.mu.Unlock()
			m.lease.change(true, func(c *card) { c.Slots = 0 })
			return
		case <-m.board.changed:
		case <-look.C:
		}
	}
}

// observe tells the others what the client has met.
func (m *machine) observe() {
	m.mu.Lock()
	gaveUp := m.gaveUp
	m.mu.Unlock()
	m.lease.mu.Lock()
	before := m.lease.card.Sight
	m.lease.mu.Unlock()
	now := look(time.Now(), m.client.Stats(), before.Full, gaveUp)
	m.lease.change(now.news(before), func(c *card) { c.Sight = now })
}

// acquire takes up to n places that are free, or whose owner is dead.
func (m *machine) acquire(p plan, n int) {
	for i, one := range p.free {
		if n == 0 || m.ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		mine := m.held[i]
		m.mu.Unlock()
		if mine {
			continue
		}
		if dead, err := m.dead(one.Owner); err != nil || !dead {
			continue
		}
		seq, err := m.f.book.put(m.ctx, "place."+strconv.Itoa(i), place{Owner: m.id}, one.seq)
		if err != nil {
			continue // somebody was faster, or the server is not there: the board will say
		}
		n--
		m.mu.Lock()
		m.held[i] = true
		m.mu.Unlock()
		m.places.Go(func() { m.serve(i, seq) })
	}
}

// dead reports whether a machine has left or let its lease run out. Nobody's
// places count as a dead machine's.
func (m *machine) dead(id string) (bool, error) {
	if id == "" {
		return true, nil
	}
	var c struct{ Gone bool }
	e, err := m.f.live.get(m.ctx, id)
	if err != nil {
		return false, err
	}
	return e.seq == 0 || unmarshal(e.data, &c) && c.Gone, nil
}

// serve does jobs, one after the other, as long as the machine should have the
// place, and gives it back.
func (m *machine) serve(i int, seq uint64) {
	for fails := 0; m.keeps(i); {
		if err := m.next(i); err != nil && wait(m.ctx, pause(fails)) == nil {
			fails++
		} else if err == nil {
			fails = 0
		}
	}
	if errors.Is(context.Cause(m.ctx), errLeaseLost) {
		return // it is not this machine's any more
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), tryLimit)
	defer cancel()
	// Otherwise the others find that its owner is gone.
	_, _ = m.f.book.put(ctx, "place."+strconv.Itoa(i), place{}, seq)
}

// keeps reports whether the machine goes on with a place, and if not, counts it
// out.
func (m *machine) keeps(i int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() == nil && m.drain.Err() == nil && i < m.limit && len(m.held) <= m.want {
		return true
	}
	delete(m.held, i)
	return false
}

// next asks for one job and does it. It asks for no more, since a job that waits
// in a buffer runs out of its time there.
func (m *machine) next(i int) error {
	batch, err := m.f.queue.Fetch(1, jetstream.FetchMaxWait(min(time.Second, m.f.lease/4)))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		m.mu.Lock()
		keeps := m.ctx.Err() == nil && m.drain.Err() == nil && i < m.limit && len(m.held) <= m.want
		m.mu.Unlock()
		if !keeps {
			return msg.Nak() // to another machine, at once
		}
		m.do(msg)
	}
	return batch.Error()
}

// saw notes what a job came to, and which of the endpoint's workers answered.
func (m *machine) saw(r *wireResult) {
	m.lease.change(false, func(c *card) {
		if r.Failed == "" {
			c.Done++
		} else {
			c.Failed++
		}
		if r.WorkerID == "" || slices.Contains(c.Workers, r.WorkerID) {
			return
		}
		const most = 16
		c.Workers = append(c.Workers, r.WorkerID)
		c.Workers = c.Workers[max(0, len(c.Workers)-most):]
	})
}
