package fleet_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// loopback is an endpoint and an engine that other processes reach.
func loopback(t *testing.T, cfg runpodtest.Config) (*endpoint, *embedded.Server, fleettest.Role) {
	cfg.Loopback = true
	e, srv := newEndpoint(t, cfg), newEngine(t)
	return e, srv, fleettest.Role{URL: srv.URL(), Token: srv.Token(), Endpoint: e.EndpointURL, APIKey: e.APIKey, Name: "victim", Slots: 2}
}

func idempotent(s fleet.Spec) fleet.Spec { s.Idempotent = true; return s }

// Promise 1: nothing is lost, nothing is done twice in silence.
func TestPromise1NothingIsLostNothingTwiceInSilence(t *testing.T) {
	e, srv, victim := loopback(t, runpodtest.Config{})
	f, client := open(t, srv, fleet.Config{}), e.client(t)
	again, once := e.holding("again"), e.holding("once")
	defer again()
	defer once()
	p := victim.Start(t)
	submit(t, f, client, idempotent(job("again", work{})), job("once", work{}))
	eventually(t, "both jobs run", func() bool { return e.ran("again") == 1 && e.ran("once") == 1 })
	st, err := f.Status(t.Context())
	if err != nil || len(st.Running) != 2 || st.Running[0].Machine != "victim" || st.Running[0].Lost || time.Since(st.Running[0].Since) > time.Minute {
		t.Errorf("%+v %v", st, err)
	}
	p.Kill()
	again() // from now on it answers
	working(t, f, client)
	all := results(t, f)
	if len(all) != 2 || all["again"].err != nil || e.ran("again") != 2 {
		t.Errorf("the idempotent job: %+v, run %d times", all["again"], e.ran("again"))
	}
	lost, _ := errors.AsType[*fleet.Error](all["once"].err)
	if lost == nil || !lost.MayHaveRun || !errors.Is(lost, fleet.ErrMayHaveRun) || e.ran("once") != 1 {
		t.Errorf("the other job: %v, run %d times", all["once"].err, e.ran("once"))
	}
	once()
	if err := f.Retry(t.Context(), "once"); err != nil {
		t.Fatal(err)
	}
	if again := results(t, f)["once"]; again.err != nil || again.Run != 2 || e.ran("once") != 2 {
		t.Errorf("retried: %+v, run %d times", again, e.ran("once"))
	}
	if err := f.Retry(t.Context(), "once", "again", "none"); err == nil {
		t.Error("jobs that ended well were retried")
	}
}

// Promise 1: the same ID is one job, however often it is sent and whoever sends
// it, also when it has ended long ago.
func TestPromise1AnIDIsOneJob(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, g, client := open(t, srv, fleet.Config{}), open(t, srv, fleet.Config{}), e.client(t)
	counts := make(chan int)
	for _, one := range []*fleet.Fleet{f, g} {
		go func() {
			n, err := one.Submit(t.Context(), client, jobs(300, numbered(work{})))
			if err != nil {
				t.Error(err)
			}
			counts <- n
		}()
	}
	if n := <-counts + <-counts; n != 300 {
		t.Errorf("two submitters added %d jobs of 300", n)
	}
	working(t, f, client)
	working(t, g, client)
	if all := results(t, f); len(all) != 300 {
		t.Errorf("%d results", len(all))
	}
	if n, err := g.Submit(t.Context(), client, jobs(300, numbered(work{}))); n != 0 || err != nil {
		t.Errorf("after their end %d are new: %v", n, err)
	}
	for i := range 300 {
		if id := fmt.Sprintf("job-%d", i); e.ran(id) != 1 {
			t.Errorf("%s ran %d times", id, e.ran(id))
		}
	}
}
