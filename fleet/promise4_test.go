package fleet_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// half has every second job idempotent.
func half(w work) func(int) fleet.Spec {
	return func(i int) fleet.Spec {
		s := numbered(w)(i)
		s.Idempotent = i%2 == 0
		return s
	}
}

// Promise 4: the server is killed and started again in the middle. Its outage is
// shorter than a lease, so that every call goes on and every job runs once.
func TestPromise4TheServerIsKilled(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{Loopback: true})
	engine := fleettest.Role{Engine: t.TempDir(), Listen: fleettest.FreePort(t), Token: "secret-of-the-test"}
	p := engine.Start(t)
	connect := func() *fleet.Fleet {
		conn, err := nats.Connect("nats://"+engine.Listen, nats.Token(engine.Token))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		f, err := fleet.Open(t.Context(), conn, fleet.Config{Name: "test", InFlight: 6, Lease: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f, client := connect(), e.client(t)
	working(t, f, client, fleet.Slots(4))
	working(t, connect(), e.client(t), fleet.Slots(4))
	submitted := make(chan error, 1)
	go func() {
		n, err := f.Submit(t.Context(), client, jobs(120, half(work{MS: 150})))
		if err == nil && n != 120 {
			err = fmt.Errorf("%d jobs are new", n)
		}
		submitted <- err
	}()
	for kill := range 2 {
		for range 20 {
			<-e.begun
		}
		p.Kill()
		p = engine.Start(t)
		t.Logf("killed %d times", kill+1)
	}
	if err := <-submitted; err != nil {
		t.Fatal(err)
	}
	onceEach(t, e, results(t, f), 120)
}

// onceEach checks that every job ended well and ran once.
func onceEach(t *testing.T, e *endpoint, all map[string]ended, n int) {
	t.Helper()
	if len(all) != n {
		t.Errorf("%d results of %d", len(all), n)
	}
	for id, r := range all {
		if r.err != nil || e.ran(id) != 1 {
			t.Errorf("%s: run %d times: %v", id, e.ran(id), r.err)
		}
	}
}

// newCluster starts three servers that know each other.
func newCluster(t *testing.T) (all []*server.Server, urls string) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		u, err := url.Parse("nats://" + fleettest.FreePort(t))
		if err != nil {
			t.Fatal(err)
		}
		var port int
		fmt.Sscanf(u.Port(), "%d", &port)
		routes, ports = append(routes, u), append(ports, port)
	}
	for i := range 3 {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	eventually(t, "the cluster has a leader", func() bool {
		return all[0].JetStreamIsLeader() || all[1].JetStreamIsLeader() || all[2].JetStreamIsLeader()
	})
	for _, s := range all {
		eventually(t, "a server is current", s.JetStreamIsCurrent)
		urls += "," + s.ClientURL()
	}
	return all, urls[1:]
}

// Promise 4: of a cluster of three one is killed.
func TestPromise4OneOfThreeIsKilled(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{})
	servers, urls := newCluster(t)
	connect := func() *fleet.Fleet {
		conn, err := nats.Connect(urls)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		f, err := fleet.Open(t.Context(), conn, fleet.Config{Name: "test", InFlight: 6, Replicas: 3, Lease: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f, client := connect(), e.client(t)
	working(t, f, client, fleet.Slots(4))
	working(t, connect(), e.client(t), fleet.Slots(4))
	if n, err := f.Submit(t.Context(), client, jobs(120, half(work{MS: 100}))); err != nil || n != 120 {
		t.Fatalf("%d jobs: %v", n, err)
	}
	for range 20 {
		<-e.begun
	}
	for _, s := range servers {
		if s.JetStreamIsLeader() {
			s.Shutdown()
			break
		}
	}
	onceEach(t, e, results(t, f), 120)
}

// Promise 4: one worker is cut off, for longer than its lease, and comes back.
func TestPromise4APartitionOfOneWorker(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{InFlight: 6}), e.client(t)
	w := fleettest.NewWire(t, srv.URL(), nil)
	far, err := fleet.Open(t.Context(), w.Connect(t, srv.Token()), fleet.Config{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	working(t, far, e.client(t), fleet.Slots(4), fleet.MachineName("far"))
	working(t, f, client, fleet.Slots(4))
	if _, err := f.Submit(t.Context(), client, jobs(80, half(work{MS: 400}))); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		<-e.begun
	}
	w.Cut(true)
	time.AfterFunc(2*shortLease, func() { w.Cut(false) })
	all := results(t, f)
	if len(all) != 80 {
		t.Errorf("%d results", len(all))
	}
	lost := 0
	for i := range 80 {
		spec := half(work{})(i)
		r := all[spec.ID]
		switch {
		case e.overlap[spec.ID]:
			t.Errorf("%s ran twice at the same time", spec.ID)
		case r.err == nil && (spec.Idempotent || e.ran(spec.ID) == 1):
		case !spec.Idempotent && errors.Is(r.err, fleet.ErrMayHaveRun) && e.ran(spec.ID) <= 1:
			lost++
		default:
			t.Errorf("%s: run %d times: %v", spec.ID, e.ran(spec.ID), r.err)
		}
	}
	if lost > 4 {
		t.Errorf("%d jobs may have run, of at most 4 that the machine had", lost)
	}
}
