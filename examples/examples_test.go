// Package examples holds programs to copy. This test builds and runs them.
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// The programs that people copy: each is short, and begins with a sentence.
var programs = []string{"quickstart", "runall", "errors", "resume", "group"}

func TestProgramsAreShort(t *testing.T) {
	for _, name := range programs {
		text, err := os.ReadFile(filepath.Join(name, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		if len(lines)-1 >= 60 {
			t.Errorf("%s has %d lines, want less than 60", name, len(lines)-1)
		}
		if !strings.HasPrefix(strings.ToLower(lines[0]), "// "+name) || lines[1] != "package main" {
			t.Errorf("%s begins with %q and %q, want one line of documentation", name, lines[0], lines[1])
		}
	}
}

var built string // the folder of the programs

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built = dir
	args := []string{"build", "-o", dir}
	for _, name := range programs {
		args = append(args, "./"+name)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// endpoint is a simulated endpoint, 1,000 times as fast as the service, and a
// folder in which programs run with the environment that names it.
type endpoint struct {
	*runpodtest.Server
	dir string
}

func newEndpoint(t *testing.T, cfg runpodtest.Config) *endpoint {
	t.Helper()
	cfg.Loopback, cfg.Speed = true, 1_000
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return &endpoint{srv, t.TempDir()}
}

// command is a program of this folder, built and ready to run.
func (e *endpoint) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(built, name), args...)
	cmd.Dir = e.dir
	cmd.Env = []string{
		"HOME=" + e.dir, "RUNPOD_API_KEY=" + e.APIKey, "RUNPOD_ENDPOINT_URL=" + e.EndpointURL,
		"RUNPOD_S3_ENDPOINT_URL=" + e.S3URL, "RUNPOD_S3_REGION=" + e.Region, "RUNPOD_S3_BUCKET_NAME=" + e.Bucket,
		"RUNPOD_S3_ACCESS_KEY_ID=" + e.AccessKeyID, "RUNPOD_S3_SECRET_ACCESS_KEY=" + e.SecretAccessKey,
	}
	return cmd
}

// run runs a program to its end and returns what it printed.
func (e *endpoint) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := e.command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func (e *endpoint) write(t *testing.T, name string, data []byte) {
	t.Helper()
	name = filepath.Join(e.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (e *endpoint) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// joined is a worker's program that writes its files, one after the other, into
// a new one, and answers with its path. It refuses a file that begins with "bad".
func joined(answer func(path string) any) func(runpodtest.Worker) http.Handler {
	return func(w runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			var paths map[string]string
			json.NewDecoder(r.Body).Decode(&paths)
			var all []byte
			for _, field := range []string{"person_image_path", "garment_image_path", "image"} {
				key, ok := strings.CutPrefix(paths[field], "/runpod-volume/")
				if !ok {
					continue
				}
				data, err := os.ReadFile(filepath.Join(w.VolumeDir, key))
				if err != nil || bytes.HasPrefix(data, []byte("bad")) {
					http.Error(rw, `{"detail":"not a photograph"}`, http.StatusUnprocessableEntity)
					return
				}
				all = append(all, data...)
			}
			key := "results/" + r.Header.Get("X-Request-Id") + strconv.Itoa(len(all)) + string(all[:1])
			os.MkdirAll(filepath.Join(w.VolumeDir, "results"), 0o755)
			os.WriteFile(filepath.Join(w.VolumeDir, key), all, 0o644)
			json.NewEncoder(rw).Encode(answer("/runpod-volume/" + key))
		})
	}
}

func TestQuickstart(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{Handler: joined(func(path string) any { return map[string]string{"result_image_path": path} })})
	e.write(t, "person.jpg", []byte("Ada in "))
	e.write(t, "garment.jpg", []byte("a coat"))
	out := e.run(t, "quickstart")
	if got := e.read(t, "result.jpg"); got != "Ada in a coat" {
		t.Errorf("the result is %q", got)
	}
	if !strings.Contains(out, "made by worker") {
		t.Errorf("it prints %q", out)
	}
}

// A job that fails once runs again, one that is refused does not.
func TestRunAll(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{Handler: joined(func(path string) any { return path })})
	for _, name := range []string{"a", "b", "c"} {
		e.write(t, "in/"+name+".jpg", []byte(name+" photograph"))
	}
	e.write(t, "in/d.jpg", []byte("bad"))
	missing := e.Fault(runpodtest.Fault{Path: "/upscale", Do: runpodtest.Answer(404, "not loaded yet")})
	out := e.run(t, "runall")
	for _, name := range []string{"a", "b", "c"} {
		if got := e.read(t, "out/"+name+".jpg"); got != name+" photograph" {
			t.Errorf("the result of %s is %q", name, got)
		}
	}
	if missing.Fired() != 1 || !strings.Contains(out, "not loaded yet") || !strings.Contains(out, "0 of 4 are not done") ||
		strings.Count(out, "not a photograph") != 1 {
		t.Errorf("it prints\n%s", out)
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		do   runpodtest.Action
		want string
	}{
		"good":         {runpodtest.WorkerAnswer(200, "{}"), "done"},
		"crash":        {runpodtest.ResetAfterWork(), "a worker may have done it"},
		"unauthorized": {runpodtest.Answer(401, "no"), "RUNPOD_API_KEY"},
		"refused":      {runpodtest.WorkerAnswer(422, "cents: too few"), "the worker says: cents: too few"},
		"not found":    {runpodtest.Answer(404, "no such path"), "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, runpodtest.Config{MinWorkers: 1})
			e.Fault(runpodtest.Fault{Do: c.do})
			if out := e.run(t, "errors"); !strings.Contains(out, c.want) {
				t.Errorf("it prints %q, want %q", out, c.want)
			}
		})
	}
	t.Run("no workers", func(t *testing.T) {
		e := newEndpoint(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers})
		if out, want := e.run(t, "errors", "-give-up", "1s"), "check the endpoint's maximum workers"; !strings.Contains(out, want) {
			t.Errorf("it prints %q, want %q", out, want)
		}
	})
}

// The program brings its own two endpoints, of which the first has no GPU.
func TestGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(built, "group")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "is done by worker"); n != 20 || !strings.Contains(string(out), "0 jobs failed") {
		t.Errorf("%d jobs are done; it prints\n%s", n, out)
	}
}

// The program is killed with two parts stored and its 8 connections stuck
// with others. The next run sends all parts but those two.
func TestResume(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{})
	const size = 96 << 20
	e.write(t, "film.mp4", bytes.Repeat([]byte("film"), size/4))
	begun := make(chan string, 100)
	stuck := e.Fault(partsFault(begun, runpodtest.Fault{Skip: 2, Do: runpodtest.Delay(24 * time.Hour)}))
	cmd := e.command(t, "resume", "film.mp4", "films/one.mp4")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stored := []string{<-begun, <-begun}
	for range 8 {
		<-begun
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was killed and reports success")
	}
	stuck.Remove()
	again := make(chan string, 100)
	e.Fault(partsFault(again, runpodtest.Fault{Do: runpodtest.Delay(0)}))
	if out := e.run(t, "resume", "film.mp4", "films/one.mp4"); !strings.Contains(out, strconv.Itoa(size)+" bytes are at /runpod-volume/films/one.mp4") {
		t.Errorf("it prints %q", out)
	}
	close(again)
	for number := range again {
		if slices.Contains(stored, number) {
			t.Errorf("the second run sent part %s, which the first one had stored", number)
		}
	}
	if info, err := os.Stat(filepath.Join(e.VolumeDir, "films/one.mp4")); err != nil || info.Size() != size {
		t.Errorf("the object: %v, %v", info, err)
	}
}

// partsFault is a fault for every part, whose number goes to a channel.
func partsFault(numbers chan<- string, f runpodtest.Fault) runpodtest.Fault {
	f.On, f.Query, f.Times = runpodtest.OnS3, "partNumber", runpodtest.Always
	f.Match = func(r *http.Request) bool { numbers <- r.URL.Query().Get("partNumber"); return true }
	return f
}
