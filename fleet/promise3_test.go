package fleet_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Promise 3: a dead machine is noticed within 30 s, by the default lease too.
func TestPromise3ADeadMachineIsNoticed(t *testing.T) {
	lease := 20 * time.Second // the default
	if testing.Short() {
		lease = shortLease
	}
	e, srv, victim := loopback(t, runpodtest.Config{})
	f, client := open(t, srv, fleet.Config{Lease: lease}), e.client(t)
	release := e.holding("job-0")
	defer release()
	p := victim.Start(t)
	submit(t, f, client, idempotent(job("job-0", work{})))
	eventually(t, "the job runs", func() bool { return e.ran("job-0") == 1 })
	working(t, f, client)
	p.Kill()
	killed := time.Now()
	eventually(t, "another machine has the job", func() bool { return e.ran("job-0") == 2 })
	if took := time.Since(killed); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	release()
	if all := results(t, f); all["job-0"].err != nil {
		t.Error(all["job-0"].err)
	}
}

// Promise 3: a slow job is never taken for dead, however many leases it takes.
func TestPromise3ASlowJobIsNotDead(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{Lease: time.Second}), e.client(t)
	working(t, f, client)
	working(t, open(t, srv, fleet.Config{}), e.client(t))
	submit(t, f, client, idempotent(job("slow", work{MS: 6000})))
	if all := results(t, f); all["slow"].err != nil || e.ran("slow") != 1 {
		t.Errorf("%v, run %d times", all["slow"].err, e.ran("slow"))
	}
}

// Promise 3: a job whose signal is lost does not run twice in parallel. Here the
// server never gets a signal, so it hands the job out again and again; the claim
// is in the way, since the machine lives.
func TestPromise3ALostSignalDoesNotRunAJobTwice(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	client := e.client(t)
	lost := make(chan struct{}, 1000)
	w := fleettest.NewWire(t, srv.URL(), func(b []byte) []byte {
		if bytes.Contains(b, []byte("+WPI")) {
			lost <- struct{}{}
		}
		return bytes.ReplaceAll(b, []byte("+WPI"), []byte("+XXX"))
	})
	deaf, err := fleet.Open(t.Context(), w.Connect(t, srv.Token()), fleet.Config{Name: "test", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	working(t, deaf, client)
	submit(t, deaf, client, idempotent(job("slow", work{MS: 5000})))
	eventually(t, "the job runs", func() bool { return e.ran("slow") == 1 })
	f := open(t, srv, fleet.Config{})
	working(t, f, e.client(t))
	if all := results(t, f); all["slow"].err != nil || e.ran("slow") != 1 {
		t.Errorf("%v, run %d times", all["slow"].err, e.ran("slow"))
	}
	if len(lost) == 0 {
		t.Error("no signal was lost")
	}
}
