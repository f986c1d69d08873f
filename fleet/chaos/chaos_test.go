// Package chaos kills a fleet's processes at random and looks whether every job
// ends once all the same:
//
//	go test ./chaos -run Chaos -kills 20
package chaos

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
	"github.com/gpuburst/runpod-go/runpodtest"
)

var (
	kills = flag.Int("kills", 5, "how many processes are killed")
	jobs  = flag.Int("jobs", 500, "how many jobs there are")
	seed  = flag.Uint64("seed", 0, "of the draws; 0: a new one, which is printed")
)

func TestMain(m *testing.M) { fleettest.Main(m) }

// counter counts the calls that workers began, by the job's id.
type counter struct {
	mu      sync.Mutex
	runs    map[string]int
	changed chan struct{}
}

func (c *counter) serve(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID string
		MS int
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.runs[in.ID]++
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	time.Sleep(time.Duration(in.MS) * time.Millisecond) // the work
	fmt.Fprint(w, `{"ok":true}`)
}

// reach waits until so many different jobs have begun.
func (c *counter) reach(t *testing.T, n int) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		c.mu.Lock()
		begun := len(c.runs)
		c.mu.Unlock()
		if begun >= n {
			return
		}
		select {
		case <-c.changed:
		case <-limit:
			t.Fatalf("%d jobs have begun, and no more come", begun)
		}
	}
}

// Half of the jobs are idempotent, and end well whatever is killed. Of the others
// none runs twice, and those whose machine was killed say that they may have run.
func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-kills %d -jobs %d -seed %d", *kills, *jobs, *seed)
	draw := rand.New(rand.NewPCG(*seed, 0))
	c := counter{runs: map[string]int{}, changed: make(chan struct{}, 1)}
	e, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, MinWorkers: 1, MaxWorkers: 1, Concurrency: 1000,
		Handler: func(runpodtest.Worker) http.Handler { return http.HandlerFunc(c.serve) }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	engine := fleettest.Role{Engine: t.TempDir(), Listen: fleettest.FreePort(t), Token: "token-of-the-test"}
	server := engine.Start(t)
	f := connect(t, engine)
	n, err := f.Submit(t.Context(), nil, func(yield func(fleet.Spec) bool) {
		for i := range *jobs {
			id := fmt.Sprintf("job-%d", i)
			body := map[string]any{"ID": id, "MS": 20 + draw.IntN(200)}
			if !yield(fleet.Spec{ID: id, Path: "/do", Body: body, Idempotent: i%2 == 0}) {
				return
			}
		}
	})
	if err != nil || n != *jobs {
		t.Fatalf("%d jobs: %v", n, err)
	}
	worker := func(i int) *fleettest.Process {
		return fleettest.Role{URL: "nats://" + engine.Listen, Token: engine.Token, Endpoint: e.EndpointURL, APIKey: e.APIKey, Name: fmt.Sprintf("worker-%d", i), Slots: 4}.Start(t)
	}
	var workers []*fleettest.Process
	for i := range 3 {
		workers = append(workers, worker(i))
	}
	servers := 0
	for k := range *kills {
		c.reach(t, (k+1)**jobs/(*kills+1))
		time.Sleep(time.Duration(draw.IntN(100)) * time.Millisecond) // anywhere within a job's way
		if i := draw.IntN(4); i < 3 {
			workers[i].Kill()
			workers[i] = worker(i)
		} else {
			server.Kill()
			server = engine.Start(t)
			servers++
		}
	}
	check(t, f, &c, servers)
}

func connect(t *testing.T, engine fleettest.Role) *fleet.Fleet {
	t.Helper()
	conn, err := nats.Connect("nats://"+engine.Listen, nats.Token(engine.Token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	f, err := fleet.Open(t.Context(), conn, fleet.Config{Name: "test", InFlight: 10, Lease: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func check(t *testing.T, f *fleet.Fleet, c *counter, servers int) {
	t.Helper()
	seen := map[string]bool{}
	again, may := 0, 0
	for r, err := range f.Results(t.Context()) {
		if r.ID == "" {
			t.Fatal(err)
		}
		if seen[r.ID] {
			t.Errorf("%s has two results", r.ID)
		}
		seen[r.ID] = true
		var i int
		fmt.Sscanf(r.ID, "job-%d", &i)
		c.mu.Lock()
		runs := c.runs[r.ID]
		c.mu.Unlock()
		switch {
		case i%2 == 0 && err == nil && runs >= 1:
			again += runs - 1
		case i%2 == 1 && err == nil && runs == 1:
		case i%2 == 1 && errors.Is(err, fleet.ErrMayHaveRun) && runs <= 1:
			may++
		default:
			t.Errorf("%s: run %d times: %v", r.ID, runs, err)
		}
	}
	if len(seen) != *jobs {
		t.Errorf("%d jobs of %d have a result", len(seen), *jobs)
	}
	t.Logf("%d kills, %d of them the server: %d of %d jobs have one result; %d idempotent calls were made again, %d of the others may have run and say so",
		*kills, servers, len(seen), *jobs, again, may)
}
