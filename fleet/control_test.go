package fleet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestCancel(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{InFlight: 1}), e.client(t)
	release := e.holding("running")
	defer release()
	submit(t, f, client, job("running", work{}))
	stop := working(t, f, client)
	eventually(t, "the job runs", func() bool { return e.ran("running") == 1 })
	submit(t, f, client, job("waiting", work{}), job("other", work{}))
	if err := f.Cancel(t.Context(), "running", "waiting", "none"); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("the error: %v", err)
	}
	all := results(t, f)
	for _, id := range []string{"running", "waiting"} {
		if !errors.Is(all[id].err, fleet.ErrCancelled) {
			t.Errorf("%s: %v", id, all[id].err)
		}
	}
	if len(all) != 3 || all["other"].err != nil || e.ran("waiting") != 0 {
		t.Errorf("%+v", all)
	}
	stop()
	if err := f.Cancel(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	st, err := f.Status(t.Context())
	if err != nil || st.Done != 1 || st.Failed != 2 || st.Jobs != 3 {
		t.Errorf("%+v %v", st, err)
	}
	var failed []string
	for id, err := range f.Failed(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		failed = append(failed, id)
	}
	if slices.Sort(failed); !slices.Equal(failed, []string{"running", "waiting"}) {
		t.Errorf("failed: %v", failed)
	}
	release()
	if err := f.Retry(t.Context(), failed...); err != nil {
		t.Fatal(err)
	}
	working(t, f, client)
	if all := results(t, f); len(all) != 3 || all["waiting"].err != nil || all["running"].err != nil {
		t.Errorf("%+v", all)
	}
}

// Results of cancelled jobs need no machine.
func TestCancelWithoutMachines(t *testing.T) {
	srv := newEngine(t)
	f := open(t, srv, fleet.Config{})
	submit(t, f, nil, job("a", work{}), job("b", work{}))
	if err := f.Cancel(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if all := results(t, f); len(all) != 2 {
		t.Errorf("%+v", all)
	}
}

func TestDrain(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{InFlight: 2}), e.client(t)
	if _, err := f.Submit(t.Context(), client, jobs(30, numbered(work{MS: 50}))); err != nil {
		t.Fatal(err)
	}
	working(t, f, client)
	<-e.begun
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := f.Status(t.Context())
	if err != nil || st.Waiting == 0 || len(st.Running) != 0 || st.InFlight != 0 || st.Done == 0 || len(st.Machines) != 1 {
		t.Errorf("%+v %v", st, err)
	}
	if err := f.SetInFlight(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	if all := results(t, f); len(all) != 30 {
		t.Errorf("%d results", len(all))
	}
}

// Close ends calls: an idempotent job goes to another machine, the other may
// have run.
func TestCloseEndsCalls(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{Lease: time.Minute}), e.client(t)
	again, once := e.holding("again"), e.holding("once")
	defer again()
	defer once()
	submit(t, f, client, idempotent(job("again", work{})), job("once", work{}))
	ended := make(chan error, 1)
	go func() { ended <- f.Work(context.Background(), client) }()
	eventually(t, "both run", func() bool { return e.ran("again") == 1 && e.ran("once") == 1 })
	f.Close()
	if err := <-ended; !errors.Is(err, fleet.ErrClosed) {
		t.Errorf("Work: %v", err)
	}
	again()
	g := open(t, srv, fleet.Config{})
	working(t, g, client)
	all := results(t, g)
	if all["again"].err != nil || e.ran("again") != 2 || !errors.Is(all["once"].err, fleet.ErrMayHaveRun) || e.ran("once") != 1 {
		t.Errorf("%+v", all)
	}
	if _, err := f.Status(t.Context()); !errors.Is(err, fleet.ErrClosed) {
		t.Errorf("a closed fleet: %v", err)
	}
}

// A machine whose key is refused leaves the jobs to others.
func TestAnUnfitMachineLeavesTheJobs(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f := open(t, srv, fleet.Config{})
	submit(t, f, nil, job("a", work{}))
	if err := f.Work(t.Context(), e.client(t, runpod.WithAPIKey("wrong"))); !errors.Is(err, runpod.ErrUnauthorized) {
		t.Fatalf("Work: %v", err)
	} else if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the key stands in %v", err)
	}
	working(t, f, e.client(t))
	if all := results(t, f); all["a"].err != nil {
		t.Error(all["a"].err)
	}
}

func TestFilesAreUploadedOnceAndDeleted(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{}), e.client(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	shirt, same := write("shirt.png", "shirt"), write("same.png", "shirt")
	person := write("person.png", "person")
	specs := func(i int) fleet.Spec {
		return fleet.Spec{Path: "/do", Body: map[string]any{"id": "{{0}} {{1}} {{2}}"}, Keys: []string{"there.png"},
			Files: []string{[]string{shirt, same}[i%2], person}}
	}
	if n, err := f.Submit(t.Context(), client, jobs(20, specs)); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := open(t, srv, fleet.Config{}).Submit(t.Context(), client, jobs(20, specs)); n != 0 || err != nil {
		t.Errorf("the same files and jobs again: %d new, %v", n, err)
	}
	if s := client.Stats(); s.Uploads != 2 {
		t.Errorf("%d uploads of 2 contents", s.Uploads)
	}
	stop := working(t, f, client)
	results(t, f)
	stop()
	e.mu.Lock()
	for id := range e.runs {
		if strings.Count(id, "/runpod-volume/fleet/test/inputs/") != 2 || !strings.HasSuffix(id, " /runpod-volume/there.png") {
			t.Errorf("the body was filled as %q", id)
		}
	}
	e.mu.Unlock()
	if err := f.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for o, err := range client.List(t.Context(), "") {
		if err != nil || !strings.HasSuffix(o.Key, "/") { // the gateway lists empty folders too
			t.Errorf("on the volume: %s %v", o.Key, err)
		}
	}
	if _, err := fleet.Open(t.Context(), srv.Conn(), fleet.Config{Name: "test"}); err != nil {
		t.Error(err)
	}
}

func TestDeleteWantsAClientForUploads(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{}), e.client(t)
	name := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(name, []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	submit(t, f, client, fleet.Spec{ID: "a", Path: "/do", Files: []string{name}})
	g := open(t, srv, fleet.Config{})
	if err := g.Delete(t.Context()); err == nil || !strings.Contains(err.Error(), "Config.Client") {
		t.Errorf("%v", err)
	}
	if err := open(t, srv, fleet.Config{Client: client}).Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSave(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{}), e.client(t)
	if _, err := client.Upload(t.Context(), "results/a.png", runpod.Bytes("a", []byte("picture"))); err != nil {
		t.Fatal(err)
	}
	answer, output, long, linked := job("answer", work{}), job("/runpod-volume/results/a.png", work{}), job("long", work{Bytes: 90_000}), job("linked", work{})
	answer.SaveTo, long.SaveTo, linked.SaveTo = "a/b/answer.json", "long.json", "link/x.json"
	output.ID, output.Output, output.SaveTo = "output", "done", "a/out.png"
	submit(t, f, client, answer, output, long, linked)
	working(t, f, client)
	dir, elsewhere := filepath.Join(t.TempDir(), "out"), t.TempDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	all := results(t, f, fleet.Save(client, dir))
	for name, want := range map[string]string{"a/b/answer.json": `{"done":"answer"}`, "a/out.png": "picture"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "long.json")); err != nil || info.Size() < 90_000 || all["long"].Saved != "long.json" {
		t.Errorf("the long answer: %v", err)
	}
	if there, err := os.ReadDir(elsewhere); err != nil || len(there) > 0 || all["linked"].err == nil {
		t.Errorf("outside of the folder: %v, %v; %v", there, err, all["linked"].err)
	}
}

// tracer notes what is linked.
type tracer struct {
	mu    sync.Mutex
	begun map[string]string
	ended int
}

func (tr *tracer) Traceparent(ctx context.Context) string { return "00-trace-span-01" }

func (tr *tracer) Start(ctx context.Context, id, parent string) (context.Context, func(error)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.begun[id] = parent
	return ctx, func(error) { tr.mu.Lock(); tr.ended++; tr.mu.Unlock() }
}

func TestTracerLinksAJobToItsSubmitter(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	tr := &tracer{begun: map[string]string{}}
	f, client := open(t, srv, fleet.Config{Tracer: tr}), e.client(t)
	submit(t, f, client, job("a", work{}), job("b", work{Fail: true}))
	working(t, f, client)
	results(t, f)
	if err := f.Retry(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	results(t, f)
	if tr.begun["a"] != "00-trace-span-01" || tr.begun["b"] != "00-trace-span-01" || tr.ended != 3 {
		t.Errorf("%+v", tr)
	}
}

func TestResultsFollowAndGoOn(t *testing.T) {
	e, srv := newEndpoint(t, runpodtest.Config{}), newEngine(t)
	f, client := open(t, srv, fleet.Config{}), e.client(t)
	if all := results(t, f); len(all) != 0 {
		t.Errorf("an empty fleet has results: %v", all)
	}
	working(t, f, client)
	submit(t, f, client, job("a", work{}), job("b", work{}))
	pos := uint64(0)
	for r, err := range f.Results(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		pos = r.Pos
		break
	}
	if all := results(t, f, fleet.From(pos)); len(all) != 1 {
		t.Errorf("behind the first result: %v", all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for r, err := range f.Results(ctx, fleet.Follow()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			submit(t, f, client, job("c", work{}))
		}
		if r.ID == "c" {
			cancel()
		}
	}
	if n != 3 {
		t.Errorf("%d results were followed", n)
	}
}
