package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"testing"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// shortLease makes dead machines show in seconds.
const shortLease = 2 * time.Second

// endpoint is a simulated endpoint that notes which jobs run on it.
type endpoint struct {
	*runpodtest.Server

	mu      sync.Mutex
	runs    map[string]int // calls that a worker began, by the job's id
	open    map[string]int // of those, the ones whose client is still there
	overlap map[string]bool
	most    int // calls open at once
	now     int
	hold    map[string]chan struct{} // a job that is to wait for it
	begun   chan string              // every id that begins
}

// newEndpoint starts an endpoint whose workers take a job's "ms" each. With a
// concurrency as high as this a call is never kept waiting.
func newEndpoint(t testing.TB, cfg runpodtest.Config) *endpoint {
	t.Helper()
	e := &endpoint{runs: map[string]int{}, open: map[string]int{}, overlap: map[string]bool{}, hold: map[string]chan struct{}{}, begun: make(chan string, 100_000)}
	cfg.Handler = func(runpodtest.Worker) http.Handler { return http.HandlerFunc(e.serve) }
	if cfg.MinWorkers == 0 && cfg.MaxWorkers == 0 {
		cfg.MinWorkers, cfg.MaxWorkers, cfg.Concurrency = 1, 1, 1000
	}
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.Server = srv
	t.Cleanup(func() { srv.Close() })
	return e
}

// work is the body of a test's job.
type work struct {
	ID    string `json:"id"`
	MS    int    `json:"ms,omitempty"`
	Fail  bool   `json:"fail,omitempty"`
	Bytes int    `json:"bytes,omitempty"` // the answer's
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) {
	var in work
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	defer e.begin(in.ID)()
	e.mu.Lock()
	hold := e.hold[in.ID]
	e.mu.Unlock()
	if in.MS > 0 {
		hold = make(chan struct{})
		defer time.AfterFunc(time.Duration(in.MS)*time.Millisecond, func() { close(hold) }).Stop()
	}
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case in.Fail:
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":"no such picture"}`)
	case in.Bytes > 0:
		fmt.Fprintf(w, `{"long":%q}`, make([]byte, in.Bytes))
	default:
		fmt.Fprintf(w, `{"done":%q}`, in.ID)
	}
}

func (e *endpoint) begin(id string) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[id]++
	e.open[id]++
	e.overlap[id] = e.overlap[id] || e.open[id] > 1
	e.now++
	e.most = max(e.most, e.now)
	e.begun <- id
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open[id]--
		e.now--
	}
}

// holding has a job wait until the returned function is called.
func (e *endpoint) holding(id string) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := make(chan struct{})
	e.hold[id] = c
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		close(c)
		delete(e.hold, id)
	})
}

func (e *endpoint) ran(id string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

// client is one process's client.
func (e *endpoint) client(t testing.TB, opts ...runpod.Option) *runpod.Client {
	t.Helper()
	c, err := runpod.New(append([]runpod.Option{
		runpod.WithEndpoint(e.EndpointURL), runpod.WithAPIKey(e.APIKey), runpod.WithDialContext(e.DialContext),
		runpod.WithS3Endpoint(e.S3URL, e.Region, e.Bucket), runpod.WithS3Credentials(e.AccessKeyID, e.SecretAccessKey),
		runpod.WithMaxInFlight(64),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newEngine(t testing.TB, opts ...embedded.Option) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(t.TempDir(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

func open(t testing.TB, srv *embedded.Server, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	if cfg.Lease == 0 {
		cfg.Lease = shortLease
	}
	f, err := fleet.Open(t.Context(), srv.Conn(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func jobs(n int, of func(i int) fleet.Spec) iter.Seq[fleet.Spec] {
	return func(yield func(fleet.Spec) bool) {
		for i := range n {
			if !yield(of(i)) {
				return
			}
		}
	}
}

// job is a job of an id.
func job(id string, w work) fleet.Spec {
	w.ID = id
	return fleet.Spec{ID: id, Path: "/do", Body: w}
}

func numbered(w work) func(int) fleet.Spec {
	return func(i int) fleet.Spec { return job(fmt.Sprintf("job-%d", i), w) }
}

func submit(t testing.TB, f *fleet.Fleet, c *runpod.Client, specs ...fleet.Spec) {
	t.Helper()
	n, err := f.Submit(t.Context(), c, jobs(len(specs), func(i int) fleet.Spec { return specs[i] }))
	if err != nil || n != len(specs) {
		t.Fatalf("submitted %d of %d: %v", n, len(specs), err)
	}
}

// working runs a machine until stop, which drains it and checks that Work went
// well, or until the test's end, which closes its fleet.
func working(t testing.TB, f *fleet.Fleet, c *runpod.Client, opts ...fleet.WorkOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Work(ctx, c, opts...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, fleet.ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		f.Close()
		stop()
	})
	return stop
}

type ended struct {
	fleet.Result
	err error
}

// results reads all results there will be, by their ids. A job with two is an
// error.
func results(t testing.TB, f *fleet.Fleet, opts ...fleet.ResultsOption) map[string]ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	all := map[string]ended{}
	for r, err := range f.Results(ctx, opts...) {
		if r.ID == "" {
			t.Fatal(err)
		}
		if _, twice := all[r.ID]; twice {
			t.Errorf("job %s has two results", r.ID)
		}
		all[r.ID] = ended{r, err}
	}
	return all
}

// eventually waits for a state that other processes bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came: %s", what)
		}
	}
}
