package burst

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func drive(t *testing.T, name string, cfg runpodtest.Config, s Settings, plan *Plan, interrupt time.Duration) *Log {
	t.Helper()
	return driveTwin(t, name, Twin{Config: cfg, UploadEvery: Presets[name].UploadEvery}, s, plan, interrupt)
}

// driveTwin runs a burst in a time bubble and returns its records, after they
// went through a file.
func driveTwin(t *testing.T, name string, twin Twin, s Settings, plan *Plan, interrupt time.Duration) *Log {
	t.Helper()
	var file bytes.Buffer
	rec := NewRecorder(&file)
	synctest.Test(t, func(t *testing.T) {
		target, err := Simulate("twin "+name, twin)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if interrupt > 0 {
			time.AfterFunc(interrupt, cancel)
		}
		if err := Drive(ctx, target, s, plan, rec, &Progress{}); err != nil {
			t.Fatal(err)
		}
	})
	kept, err := rec.Log()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := Read(&file)
	if err != nil || len(logs) != 1 {
		t.Fatalf("%d runs, %v", len(logs), err)
	}
	if len(logs[0].Jobs) != len(kept.Jobs) || len(logs[0].Conns) != len(kept.Conns) || !reflect.DeepEqual(logs[0].Run, kept.Run) {
		t.Error("what was written is not what was kept")
	}
	return logs[0]
}

func TestStagesOfEveryJob(t *testing.T) {
	dir := t.TempDir()
	l := drive(t, "run2", runpodtest.Config{Preset: runpodtest.StressRun2()},
		Settings{Client: "library", Requests: 30, Concurrency: 15, SaveDir: dir}, Generated(1000), 0)
	if len(l.Jobs) != 30 || l.End == nil || l.End.Interrupted || len(l.Workers) == 0 {
		t.Fatalf("%d jobs, %d workers, end %v", len(l.Jobs), len(l.Workers), l.End)
	}
	s3 := 0
	for _, c := range l.Conns {
		if c.To == "s3" {
			s3++
		}
	}
	if s3 < 1 || s3 > 8 {
		t.Errorf("%d S3 connections, want 1 to 8", s3)
	}
	for _, j := range l.Jobs {
		if !j.OK || j.BytesUp != 2000 || j.BytesDown != 1000 || j.Saved == "" {
			t.Errorf("job %d: %+v", j.Index, j)
		}
		last := j.Attempts[len(j.Attempts)-1]
		if !last.Known || last.Taken < last.Start || last.End-last.Taken < 25 || last.Outcome != "served" {
			t.Errorf("job %d: the endpoint tells nothing right of its last attempt: %+v", j.Index, last)
		}
		if j.Answered < last.End-0.01 || j.End < j.Answered || j.Uploaded < j.Begin {
			t.Errorf("job %d: its moments are not in order: %+v", j.Index, j)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "job-00030.bin")); len(got) != 1000 {
		t.Errorf("a result of %d bytes, %v", len(got), err)
	}
}

func TestInterrupted(t *testing.T) {
	for _, name := range Names {
		l := drive(t, "run2", runpodtest.Config{Preset: runpodtest.StressRun2()},
			Settings{Client: name, Requests: 30, Concurrency: 15}, Generated(10), 90*time.Second)
		begun, done := 0, 0
		for _, j := range l.Jobs {
			if begun++; j.OK {
				done++
			} else if !j.Interrupted {
				t.Errorf("%s: job %d is lost: %s", name, j.Index, j.Error)
			}
		}
		if begun <= 15 || begun == 30 || done == 0 || !l.End.Interrupted {
			t.Errorf("%s: %d begun, %d done, end %+v", name, begun, done, l.End)
		}
		if got := len(Missing([]*Log{l}, name, 30)); got != 30-done {
			t.Errorf("%s: %d missing, want %d", name, got, 30-done)
		}
	}
}

func TestArrivals(t *testing.T) {
	l := drive(t, "", runpodtest.Config{MinWorkers: 3, ServiceTime: runpodtest.Fixed(time.Second)},
		Settings{Client: "library", Rate: 0.5, Duration: 400, Concurrency: 100}, Generated(10), 0)
	if n := len(l.Jobs); n < 150 || n > 250 {
		t.Errorf("%d jobs in 400 s at 0.5 a second", n)
	}
	for _, j := range l.Jobs {
		if j.Begin < j.Due-0.001 || j.Begin > j.Due+0.1 {
			t.Errorf("job %d, due at %v, began at %v", j.Index, j.Due, j.Begin)
		}
	}
	l = drive(t, "", runpodtest.Config{MinWorkers: 3, MaxWorkers: 10, ServiceTime: runpodtest.Fixed(1000 * time.Second)},
		Settings{Client: "naive", Requests: 10, Concurrency: 10, Ramp: 100}, Generated(10), time.Hour)
	if last := l.Jobs[9].Begin; last < 85 || last > 95 {
		t.Errorf("the last of 10 jobs on a ramp of 100 s began at %v", last)
	}
}

type fullDisk struct{ room int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestFullDiskKeepsTheRecords(t *testing.T) {
	rec := NewRecorder(&fullDisk{600})
	rec.add(line{Run: &Run{Name: "library", Requests: 20}})
	for i := range 20 {
		rec.add(line{Job: &Job{Index: i, OK: true}})
	}
	if l, err := rec.Log(); len(l.Jobs) != 20 || err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%d jobs, %v", len(l.Jobs), err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "no run"},
		{"hello\n", "line 1 is no record"},
		{`{"job":{}}` + "\n", "a run begins with"},
		{`{"run":{}}` + "\n{]\n", "line 2 is no record"},
	} {
		if _, err := Read(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
	cut := `{"run":{"name":"naive"}}` + "\n" + `{"job":{"index":0,"ok":true}}` + "\n" + `{"job":{"ind`
	if logs, err := Read(strings.NewReader(cut)); err != nil || len(logs[0].Jobs) != 1 || logs[0].End != nil {
		t.Errorf("a file cut off: %v", err)
	}
	if _, err := Read(io.MultiReader(strings.NewReader(cut), failing{})); err == nil {
		t.Error("a file that cannot be read makes no error")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("a.jpg", "a")
	good := write("good.jsonl", `{"id":"x","files":["a.jpg"],"path":"/p","body":{"in":["{{0}}"],"n":2},"output":"o.p"}`+"\n\n")
	p, err := Manifest(good)
	if err != nil || p.Jobs != 1 || p.Work(0).ID != "x" {
		t.Fatalf("%+v, %v", p, err)
	}
	w := p.Work(0)
	if got := fill(w.Body, []string{"/v/a"}).(map[string]any)["in"].([]any)[0]; got != "/v/a" {
		t.Errorf("the body has %v", got)
	}
	if key, err := w.output([]byte(`{"o":{"p":"k"}}`)); key != "k" {
		t.Errorf("output %q, %v", key, err)
	}
	if _, err := w.output([]byte(`{"o":[]}`)); err == nil {
		t.Error("an answer without the field is taken")
	}
	for _, tt := range []struct{ text, want string }{
		{`{"path":"/p","files":["missing.jpg"]}`, "line 1: files[0]"},
		{`{"files":["a.jpg"]}`, "path: it is missing"},
		{`{"path":"/p","fiels":[]}`, "fiels"},
		{"\n", "no jobs"},
	} {
		if _, err := Manifest(write("bad.jsonl", tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
	if _, err := Folder(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there is taken")
	}
	if p, err := Folder(dir); err != nil || len(p.Work(3).Files) != 2 {
		t.Errorf("folder: %v", err)
	}
}

// The library's jobs upload ahead of the requests in flight, and its first
// uploads wake workers; what an answer says of its work is recorded.
func TestAheadAndWarm(t *testing.T) {
	plan := Generated(10)
	made := plan.Work
	plan.Work = func(i int) Work {
		w := made(i)
		w.Took = "stats.seconds"
		return w
	}
	twin := Twin{
		Config: runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), MaxWorkers: 3, ServiceTime: runpodtest.Fixed(10 * time.Second),
			Handler: func(runpodtest.Worker) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					io.WriteString(w, `{"result_image_path":"/runpod-volume/r","stats":{"seconds":7.5}}`)
				})
			},
			Faults: []runpodtest.Fault{{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(20 * time.Second)}}},
	}
	for _, tt := range []struct {
		client      string
		atOnce      int
		first       Seconds // when the first worker was ready
		ahead, warm int
	}{
		{"library", 2, 80, 0, 0},
		{"library", 6, 60, 4, 3},
		{"naive", 2, 80, 4, 3}, // it has neither
	} {
		l := driveTwin(t, tt.client, twin, Settings{Client: tt.client, Requests: 9, Concurrency: 2, Ahead: tt.ahead, Warm: tt.warm}, plan, 0)
		atOnce := 0
		for _, j := range l.Jobs {
			if j.Begin < 1 {
				atOnce++
			}
			if !j.OK || j.Work != 7.5 {
				t.Errorf("%+v: %+v", tt, j)
			}
		}
		if atOnce != tt.atOnce {
			t.Errorf("%+v: %d jobs began at once", tt, atOnce)
		}
		if want := map[string]int{"library": tt.warm}[tt.client]; l.Run.Warm != want {
			t.Errorf("%+v: the record says that %d workers were woken", tt, l.Run.Warm)
		}
		if ready := l.Workers[0].Ready; ready < tt.first || ready > tt.first+1 {
			t.Errorf("%+v: the first worker was ready after %v", tt, ready)
		}
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		stop := Every(time.Second, func() { n++ })
		time.Sleep(2500 * time.Millisecond) // of the bubble's
		stop()
		stop()
		time.Sleep(5 * time.Second)
		if n != 3 {
			t.Errorf("called %d times, want 2 and the last", n)
		}
	})
}
