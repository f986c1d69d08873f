package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// output is written by one goroutine and read by another.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }
func (o *output) String() string              { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// fleetOf starts an endpoint and a server, and sets the environment to them.
func fleetOf(t *testing.T) (dir string) {
	t.Helper()
	e, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, MinWorkers: 1, MaxWorkers: 1, Concurrency: 100,
		Handler: func(runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/bad" {
					w.WriteHeader(http.StatusUnprocessableEntity)
				}
				fmt.Fprint(w, `{"ok":true}`)
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	dir = t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	var out output
	served := make(chan int, 1)
	go func() {
		served <- run(ctx, []string{"serve", "-dir", filepath.Join(dir, "data"), "-listen", "127.0.0.1:0"}, nil, &out, &out)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-served; code != exitDone {
			t.Errorf("serve: %s", out.String())
		}
	})
	for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "Ctrl-C"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("serve says %q", out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "="); ok {
			t.Setenv(name, value)
		}
	}
	for name, value := range map[string]string{"RUNPOD_ENDPOINT_ID": "", "RUNPOD_ENDPOINT_URL": e.EndpointURL, "RUNPOD_API_KEY": e.APIKey,
		"RUNPOD_S3_ENDPOINT_URL": e.S3URL, "RUNPOD_S3_REGION": e.Region, "RUNPOD_S3_BUCKET_NAME": e.Bucket,
		"RUNPOD_S3_ACCESS_KEY_ID": e.AccessKeyID, "RUNPOD_S3_SECRET_ACCESS_KEY": e.SecretAccessKey, "RUNPOD_FLEET": "test"} {
		t.Setenv(name, value)
	}
	token, err := os.ReadFile(os.Getenv("RUNPOD_FLEET_TOKEN_FILE"))
	if err != nil || strings.Contains(out.String(), strings.TrimSpace(string(token))) {
		t.Errorf("the token is printed: %v", err)
	}
	return dir
}

func do(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(`{"id":"c","path":"/good"}`), &out, &errs); code != want {
		t.Errorf("%v: status %d, want %d: %s%s", args, code, want, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

func TestABatch(t *testing.T) {
	dir := fleetOf(t)
	name := filepath.Join(dir, "jobs.jsonl")
	os.WriteFile(filepath.Join(dir, "in.png"), []byte("picture"), 0o644)
	os.WriteFile(name, []byte(`{"id":"a","files":["in.png"],"path":"/good","body":{"x":"{{0}}"},"save_to":"a.json"}`+"\n"+`{"id":"b","path":"/bad"}`+"\n"), 0o644)
	if out, _ := do(t, exitDone, "submit", name); out != "2 jobs, 2 of them new\n" {
		t.Errorf("submit: %q", out)
	}
	if out, _ := do(t, exitDone, "submit", "-"); out != "1 jobs, 1 of them new\n" {
		t.Errorf("submit -: %q", out)
	}
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan int, 1)
	go func() {
		worked <- run(ctx, []string{"work", "-slots", "4", "-name", "one"}, nil, &output{}, &output{})
	}()
	save := filepath.Join(dir, "out")
	out, errs := do(t, exitFailed, "results", "-save", save)
	if strings.Count(out, "\n") != 3 || !strings.Contains(out, `"id":"a","run":1`) || !strings.Contains(out, `"answer":{"ok":true}`) || !strings.Contains(errs, "1 jobs have failed") {
		t.Errorf("results: %s%s", out, errs)
	}
	if b, err := os.ReadFile(filepath.Join(save, "a.json")); err != nil || string(b) != `{"ok":true}` {
		t.Errorf("saved: %q %v", b, err)
	}
	if out, _ := do(t, exitDone, "retry", "-failed"); out != "1 jobs run again\n" {
		t.Errorf("retry: %q", out)
	}
	do(t, exitFailed, "results")
	do(t, exitDone, "drain")
	if out, _ := do(t, exitDone, "status"); !strings.Contains(out, "3: 2 done, 1 failed, 0 running, 0 waiting") || !strings.Contains(out, "drained") || !strings.Contains(out, "one") {
		t.Errorf("status: %s", out)
	}
	if out, _ := do(t, exitDone, "status", "-json"); !strings.Contains(out, `"Done":2`) {
		t.Errorf("status -json: %s", out)
	}
	do(t, exitDone, "limit", "4")
	do(t, exitFailed, "delete") // a machine works
	stop()
	if code := <-worked; code != exitDone {
		t.Errorf("work: status %d", code)
	}
	do(t, exitDone, "delete")
}

func TestPage(t *testing.T) {
	fleetOf(t)
	do(t, exitDone, "submit", "-")
	c := &command{name: "test"}
	err := c.with(t.Context(), 0, func(f *fleet.Fleet) error {
		w := httptest.NewRecorder()
		pageHandler(f).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		body := w.Body.String()
		if w.Code != 200 || !strings.Contains(body, "0 of 1 jobs done, 0 failed, 0 running, 1 waiting") || !strings.Contains(body, `http-equiv="refresh"`) {
			t.Errorf("%d %s", w.Code, body)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out output
		ended := make(chan error, 1)
		go func() { ended <- servePage(ctx, &out, f, "127.0.0.1:0") }()
		for !strings.Contains(out.String(), "http://") {
			time.Sleep(10 * time.Millisecond)
		}
		resp, err := http.Get(strings.Fields(out.String())[0])
		if err != nil {
			return err
		}
		resp.Body.Close()
		stop()
		return <-ended
	})
	if err != nil {
		t.Error(err)
	}
}

// What the queue says is shown as text.
func TestNamesAreEscaped(t *testing.T) {
	st := fleet.Status{Name: "x", Jobs: 1, InFlight: 16, Room: 2, Endpoint: fleet.Refusing,
		Running: []fleet.Running{{ID: "<script>alert(1)</script>", Machine: "a\x1b[2Jb", Lost: true}}}
	var b bytes.Buffer
	if err := page.Execute(&b, view{Status: st}); err != nil || strings.Contains(b.String(), "<script>") {
		t.Errorf("the page has a script: %v", err)
	}
	b.Reset()
	if err := printStatus(&b, st, time.Now()); err != nil || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "of which the endpoint takes 2") {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestUsage(t *testing.T) {
	t.Setenv("RUNPOD_FLEET_URL", "")
	if out, _ := do(t, exitDone, "-h"); !strings.Contains(out, "RUNPOD_FLEET_TOKEN_FILE") {
		t.Error(out)
	}
	for _, args := range [][]string{{"fly"}, {"submit"}, {"retry"}, {"limit", "x"}, {"work", "now"}, {"cancel"}, {"status", "-nope"}} {
		do(t, exitUsage, args...)
	}
	if _, errs := do(t, exitFailed, "drain"); !strings.Contains(errs, "RUNPOD_FLEET_URL is not set") {
		t.Error(errs)
	}
	name := filepath.Join(t.TempDir(), "a.jsonl")
	os.WriteFile(name, []byte("{\"path\":\"/a\"}\n{\"path\":\"a\"}\n"), 0o644)
	if _, errs := do(t, exitFailed, "submit", name); !strings.Contains(errs, "line 2: path") {
		t.Error(errs)
	}
}
