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
	"github.com/gpuburst/runpod-go/runpodtest"
)

// program runs the whole of it on the simulated endpoint, some seconds long,
// and returns its exit status and what it printed.
func program(t *testing.T, ctx context.Context, args ...string) (status int, stdout string) {
	t.Helper()
	progress, err := os.Create(filepath.Join(t.TempDir(), "progress"))
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	var out strings.Builder
	status = run(ctx, args, &out, progress)
	lines, err := os.ReadFile(progress.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("status %d\n%s\n%s", status, lines, out.String())
	return status, out.String()
}

func TestBurstBringsThePicturesHome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	status, stdout := program(t, t.Context(), "-requests", "6", "-concurrency", "5", "-out", dir, "-json", file)
	if status != exitDone || !strings.Contains(stdout, "6 of 6 (100.0 %)") || !strings.Contains(stdout, dir) {
		t.Errorf("status %d, or the output names neither the success nor the folder", status)
	}
	var d document
	if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &d) != nil {
		t.Fatalf("%s (%v)", text, err)
	}
	for name, s := range map[string]*summary{"naive": d.Naive, "client": d.Client} {
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

// The burst runs twice, and the workers of the second are woken. How much sooner
// that is stands in internal/bench, in virtual time: here the clock is real.
func TestWarmedBurst(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "figures.json")
	status, stdout := program(t, t.Context(), "-requests", "6", "-concurrency", "6", "-warm", "3", "-out", t.TempDir(), "-json", file)
	var d document
	if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &d) != nil {
		t.Fatalf("%s (%v)", text, err)
	}
	if status != exitDone || d.Naive != nil || d.Client == nil || d.Warmed == nil || !strings.Contains(stdout, "Warmed: first result") {
		t.Fatalf("status %d: %+v", status, d)
	}
	if d.Warmed.Workers != 3 || d.Warmed.Succeeded != 6 {
		t.Errorf("%d workers and %d successes, want 3 and 6", d.Warmed.Workers, d.Warmed.Succeeded)
	}
}

// A photo that breaks off passes for one until a worker decodes it.
func TestBurstThatLosesAJobExitsWith1(t *testing.T) {
	t.Parallel()
	a, err := openAlbum("")
	if err != nil {
		t.Fatal(err)
	}
	whole, photos := a.persons[0].Data, t.TempDir()
	write(t, whole[:len(whole)/2], photos, "a.jpg")
	status, stdout := program(t, t.Context(), "-requests", "2", "-naive=false", "-inputs", photos, "-out", t.TempDir())
	if status != exitLost || !strings.Contains(stdout, "0 of 2") || !strings.Contains(stdout, "cannot decode") {
		t.Errorf("status %d; want %d, and the worker's own words", status, exitLost)
	}
}

func TestInterruptedBurstSaysWhatWasDone(t *testing.T) {
	for name, args := range map[string][]string{"naive": nil, "library": {"-naive=false"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond) // no worker is up yet
			defer cancel()
			status, stdout := program(t, ctx, append(args, "-requests", "40", "-concurrency", "4", "-out", t.TempDir())...)
			if status != exitInterrupted || !strings.Contains(stdout, "Interrupted during the "+name+" burst: 0 of 40 jobs done, 0 lost,") {
				t.Errorf("status %d, want %d and a line that says what was done", status, exitInterrupted)
			}
		})
	}
}

func TestInterruptedBeforeTheFirstJob(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, args := range map[string][]string{
		"Interrupted during the naive burst: 0 of 3 jobs done, 0 lost, 0 stopped under way, 3 not begun.": nil,
		"Interrupted before the first job.": {"-naive=false"},
	} {
		status, stdout := program(t, ended, append(args, "-requests", "3", "-out", t.TempDir())...)
		if status != exitInterrupted || !strings.Contains(stdout, want) {
			t.Errorf("status %d, want %d and %q", status, exitInterrupted, want)
		}
	}
}

// The environment names an endpoint; that it is a simulated one, with time of
// its own, the program does not know.
func TestLiveBurst(t *testing.T) {
	endpoint := twin(1, false).Config
	endpoint.QueueWait = time.Hour // so that the naive client loses nothing on a slow machine
	there, err := runpodtest.NewServer(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	t.Setenv("RUNPOD_ENDPOINT_ID", "")
	for name, value := range map[string]string{
		"RUNPOD_ENDPOINT_URL": there.EndpointURL, "RUNPOD_API_KEY": there.APIKey,
		"RUNPOD_S3_ENDPOINT_URL": there.S3URL, "RUNPOD_S3_REGION": there.Region, "RUNPOD_S3_BUCKET_NAME": there.Bucket,
		"RUNPOD_S3_ACCESS_KEY_ID": there.AccessKeyID, "RUNPOD_S3_SECRET_ACCESS_KEY": there.SecretAccessKey,
	} {
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	status, _ := program(t, t.Context(), "-live", "-naive", "-requests", "3", "-out", dir, "-json", file)
	var d document
	if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &d) != nil {
		t.Fatalf("%s (%v)", text, err)
	}
	opened := there.Stats().S3Conns.Opened
	if status != exitDone || d.Speed != 1 || d.Naive.Succeeded != 3 || d.Client.Succeeded != 3 {
		t.Errorf("status %d: %+v", status, d)
	}
	if d.Naive.S3Opened+d.Client.S3Opened != opened || d.Client.S3Opened < 1 || d.Client.Workers < 1 {
		t.Errorf("the clients counted %d and %d connections to S3, the endpoint %d in all", d.Naive.S3Opened, d.Client.S3Opened, opened)
	}
}

func TestProgressOnATerminalEnds(t *testing.T) {
	w, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device of characters, like a terminal
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !isTerminal(w) {
		t.Skip("it does not pass for a terminal here")
	}
	showProgress(w, "library", &burst.Progress{Jobs: 3}, 1)()
}

func TestBadUsageExitsWith2(t *testing.T) {
	if status, _ := program(t, t.Context(), "-requests", "0"); status != exitUsage {
		t.Errorf("status %d, want %d", status, exitUsage)
	}
}
