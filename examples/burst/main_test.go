package main

import (
	"context"
	"encoding/json"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/report"
	"github.com/gpuburst/runpod-go/internal/worker"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// program runs the whole of it on the simulated endpoint, some seconds long,
// and returns its exit status and what it printed.
func program(t *testing.T, ctx context.Context, d demo, args ...string) (status int, stdout string) {
	t.Helper()
	if d.endpoint.Config.Speed == 0 {
		d.endpoint = twin()
	}
	var out, progress strings.Builder
	status = d.run(ctx, args, &out, &progress)
	t.Logf("status %d\n%s\n%s", status, progress.String(), out.String())
	return status, out.String()
}

func TestBurstBringsThePicturesHome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	status, stdout := program(t, t.Context(), demo{requests: 6, concurrency: 5}, "-out", dir, "-json", file)
	if status != exitDone || !strings.Contains(stdout, "6 of 6 (100.0 %)") || !strings.Contains(stdout, "Pictures: "+dir) {
		t.Errorf("status %d, or the output names neither the success nor the folder", status)
	}
	var d document
	if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &d) != nil {
		t.Fatalf("%s (%v)", text, err)
	}
	for name, s := range map[string]*report.Detail{"naive": d.Naive, "client": d.Client} {
		if s == nil || s.Requests != 6 || s.Succeeded+s.Failed != 6 || s.Workers < 2 || s.S3Opened < 1 || s.Attempts < 6 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, row := range d.Client.Jobs {
		f, err := os.Open(row.Picture)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jpeg.Decode(f); err != nil {
			t.Errorf("%s: %v", row.Picture, err)
		}
		f.Close()
		if row.Work < burst.Seconds(workMin.Seconds()) || row.Total < row.Upload+row.Work {
			t.Errorf("%+v: want at least %v of work, and a total that holds all", row, workMin)
		}
	}
}

// failing is the endpoint with an answer to every job.
func failing(do runpodtest.Action) burst.Twin {
	t := twin()
	t.Config.Faults = []runpodtest.Fault{{Path: worker.TryOnPath + "/*", Times: runpodtest.Always, Do: do}}
	return t
}

func TestBurstThatLosesAJobExitsWith1(t *testing.T) {
	t.Parallel()
	d := demo{requests: 2, concurrency: 2, endpoint: failing(runpodtest.Answer(404, "no such route"))}
	status, stdout := program(t, t.Context(), d, "-out", t.TempDir())
	if status != exitLost || !strings.Contains(stdout, "0 of 2") || !strings.Contains(stdout, "lost job 2 after") {
		t.Errorf("status %d; want %d, and the jobs that were lost", status, exitLost)
	}
}

// The naive client has lost its jobs by then; the library still tries.
func TestInterruptedLibrarySaysWhatWasDone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(3*time.Second, cancel).Stop()
	d := demo{requests: 4, concurrency: 4, endpoint: failing(runpodtest.Answer(503, "busy"))}
	status, stdout := program(t, ctx, d, "-out", t.TempDir())
	if status != exitInterrupted || !strings.Contains(stdout, "Interrupted during the library burst: 0 of 4 jobs done, 0 lost,") {
		t.Errorf("status %d, want %d and a line that says what was done", status, exitInterrupted)
	}
}

// The names in the file are a promise to those who read it by program.
func TestJSONNames(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.json")
	if err := writeJSON(name, document{Naive: &report.Detail{}, Client: &report.Detail{}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"endpoint", "speed", "seed", "concurrency", "pictures", "naive", "client"} {
		if _, ok := got[field]; !ok {
			t.Errorf("it has no %s", field)
		}
	}
}

func TestInterruptedBurstSaysWhatWasDone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond) // no worker is up yet
	defer cancel()
	status, stdout := program(t, ctx, demo{requests: 40, concurrency: 4}, "-out", t.TempDir())
	if status != exitInterrupted || !strings.Contains(stdout, "Interrupted during the naive burst: 0 of 40 jobs done, 0 lost,") {
		t.Errorf("status %d, want %d and a line that says what was done", status, exitInterrupted)
	}
}

func TestInterruptedBeforeTheFirstJob(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	status, stdout := program(t, ended, demo{requests: 3, concurrency: 3}, "-out", t.TempDir())
	if want := "Interrupted during the naive burst: 0 of 3 jobs done, 0 lost, 0 stopped under way, 3 not begun."; status != exitInterrupted || !strings.Contains(stdout, want) {
		t.Errorf("status %d, want %d and %q", status, exitInterrupted, want)
	}
}

// What is wrong with the command line is named before anything is sent.
func TestBadUsageExitsWith2(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "text.jpg")
	if err := os.WriteFile(file, []byte("no folder"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		named string
	}{
		{[]string{"photos"}, `"photos"`},
		{[]string{"-requests", "3"}, "-requests"},
		{[]string{"-out", file}, "-out"},
		{[]string{"-json", dir}, "-json"},
		{[]string{"-json", filepath.Join(dir, "no", "a.json")}, "a.json"},
	} {
		var out, errs strings.Builder
		if status := (demo{requests: 1, concurrency: 1}).run(t.Context(), c.args, &out, &errs); status != exitUsage || !strings.Contains(errs.String(), c.named) {
			t.Errorf("%q: status %d, %s; want %d and %s named", c.args, status, errs.String(), exitUsage, c.named)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	status, stdout := program(t, t.Context(), demo{}, "-h")
	if status != exitDone || !strings.Contains(stdout, "-out") || !strings.Contains(stdout, "-json") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
}
