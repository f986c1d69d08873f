package fleet_test

import (
	"context"
	"sync"
	"testing"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// journal notes when a client's attempts begin and end.
type journal struct {
	mu     sync.Mutex
	begins []string
	last   time.Time // the last end
}

func (j *journal) observer() runpod.Option {
	return runpod.WithObserver(runpod.Observer{
		AttemptStart: func(ctx context.Context, info runpod.AttemptInfo) context.Context {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.begins = append(j.begins, info.Op)
			return ctx
		},
		AttemptEnd: func(context.Context, runpod.AttemptInfo, runpod.Attempt) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.last = time.Now()
		},
	})
}

func (j *journal) sent() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.begins)
}

// Promise 2: the limit is everybody's, and may change while they run.
func TestPromise2TheLimitIsEverybodys(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{InFlight: 6}), e.client(t)
	if _, err := f.Submit(t.Context(), client, jobs(400, numbered(work{MS: 50}))); err != nil {
		t.Fatal(err)
	}
	var clients []*journal
	for range 3 {
		j := &journal{}
		clients = append(clients, j)
		working(t, open(t, srv, fleet.Config{InFlight: 99}), e.client(t, j.observer()), fleet.Slots(8))
	}
	eventually(t, "six calls open", func() bool { return e.highest(true) == 6 })
	eventually(t, "everybody works", func() bool { return clients[0].sent() > 3 && clients[1].sent() > 3 && clients[2].sent() > 3 })
	if most := e.highest(false); most != 6 {
		t.Errorf("%d calls were open under a limit of 6", most)
	}
	if err := f.SetInFlight(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ten calls open", func() bool { return e.highest(true) == 10 })
	if err := f.SetInFlight(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two calls open", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.now <= 2 })
	e.mu.Lock()
	over := e.most
	e.most = 0
	e.mu.Unlock()
	if over > 10 {
		t.Errorf("%d calls were open under a limit of 10", over)
	}
	eventually(t, "it goes on", func() bool { return e.highest(false) == 2 })
	if err := f.SetInFlight(t.Context(), 24); err != nil {
		t.Fatal(err)
	}
	if all := results(t, f); len(all) != 400 {
		t.Errorf("%d results", len(all))
	}
}

// highest is the most calls there were at once, or are there now.
func (e *endpoint) highest(now bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now {
		return e.now
	}
	return e.most
}

// Promise 2: a machine that loses its lease ends its call before another one
// starts that job.
func TestPromise2ALostLeaseEndsTheCallFirst(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	client := e.client(t)
	release := e.holding("job-0")
	defer release()
	w := fleettest.NewWire(t, srv.URL(), nil)
	far, err := fleet.Open(t.Context(), w.Connect(t, srv.Token()), fleet.Config{Name: "test", Lease: shortLease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	first, second := &journal{}, &journal{}
	working(t, far, e.client(t, first.observer()))
	f := open(t, srv, fleet.Config{})
	submit(t, f, client, idempotent(job("job-0", work{})))
	eventually(t, "the job runs", func() bool { return e.ran("job-0") == 1 })
	working(t, f, e.client(t, second.observer()))
	w.Cut(true)
	eventually(t, "another machine starts the job", func() bool { return second.sent() > 0 })
	began := time.Now()
	first.mu.Lock()
	ended := first.last
	first.mu.Unlock()
	if ended.IsZero() || ended.After(began) {
		t.Errorf("the first call ended at %v, the second began at %v", ended, began)
	}
	release()
	if all := results(t, f); all["job-0"].err != nil || e.ran("job-0") != 2 {
		t.Errorf("%+v, run %d times", all["job-0"], e.ran("job-0"))
	}
	w.Cut(false)
	submit(t, f, client, job("job-1", work{}))
	results(t, f)
	eventually(t, "the machine is back", func() bool {
		st, err := f.Status(t.Context())
		return err == nil && len(st.Machines) == 2
	})
}

// Promise 2: what one machine learns of the endpoint the others know within
// seconds, and act on.
func TestPromise2WhatOneLearnsAllKnow(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{InFlight: 16}), e.client(t)
	if _, err := f.Submit(t.Context(), client, jobs(60, numbered(work{}))); err != nil {
		t.Fatal(err)
	}
	refusing := e.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(400, `{"error":"no workers available"}`)})
	patient := runpod.RetryPolicy{BaseBackoff: 50 * time.Millisecond, MaxBackoff: time.Second}
	working(t, f, e.client(t, runpod.WithMaxInFlight(16), runpod.WithRetryPolicy(patient)), fleet.Slots(16))
	eventually(t, "the first machine learns", func() bool {
		st, err := f.Status(t.Context())
		return err == nil && st.Endpoint == fleet.Refusing && st.Room < 8
	})
	before, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	working(t, open(t, srv, fleet.Config{}), e.client(t, j.observer(), runpod.WithMaxInFlight(16), runpod.WithRetryPolicy(patient)), fleet.Slots(16), fleet.MachineName("second"))
	eventually(t, "the second machine has joined", func() bool {
		st, err := f.Status(t.Context())
		return err == nil && len(st.Machines) == 2
	})
	time.Sleep(2 * time.Second) // long enough to take all the places that it might
	st, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seconds := 0
	for _, r := range st.Running {
		if r.Machine == "second" {
			seconds++
		}
	}
	if seconds > 4 { // its share of the limit is 8
		t.Errorf("the second machine has begun %d jobs at an endpoint that refuses (room %d, then %d)", seconds, before.Room, st.Room)
	}
	refusing.Remove()
	if all := results(t, f); len(all) != 60 {
		t.Errorf("%d results", len(all))
	}
	eventually(t, "the endpoint answers", func() bool {
		st, err := f.Status(t.Context())
		return err == nil && st.Endpoint == fleet.Answering && st.Room == 16
	})
}
