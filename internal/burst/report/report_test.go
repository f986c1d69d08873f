package report

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// replayed runs a burst on a simulated endpoint in virtual time.
func replayed(t *testing.T, preset, client string, plan *burst.Plan, change func(*burst.Settings)) *burst.Log {
	t.Helper()
	p := burst.Presets[preset]
	rec := burst.NewRecorder(nil)
	synctest.Test(t, func(t *testing.T) {
		target, err := burst.Simulate("the simulated "+preset, burst.Twin{Config: runpodtest.Config{Preset: p.Preset(), Seed: 1}, UploadEvery: p.UploadEvery})
		if err != nil {
			t.Fatal(err)
		}
		s := burst.Settings{Client: client, Requests: 30, Concurrency: p.Concurrency}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if change != nil {
			change(&s)
		}
		if s.Duration < 0 { // the tests' way to interrupt
			time.AfterFunc(time.Duration(-s.Duration)*time.Second, cancel)
			s.Duration = 0
		}
		if err := burst.Drive(ctx, target, s, plan, rec, &burst.Progress{}); err != nil {
			t.Fatal(err)
		}
	})
	l, err := rec.Log()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func words(s Summary) string {
	text := s.Verdict + "\n  " + strings.Join(s.Why, "\n  ")
	for _, a := range s.Advice {
		text += "\n  > " + a.Do + " " + a.Figure
	}
	return text
}

// The reports that were written about the stress tests by hand said the same.
func TestVerdictsOfTheStressTests(t *testing.T) {
	for _, tt := range []struct {
		preset, client string
		want           []string
		never          []string
	}{
		{"run1", "naive", []string{"Uploads arrived one by one, one every 24 s", "only one worker was started",
			"lost: refused after 2 minutes waiting for workers", "side by side"}, nil},
		{"run2", "naive", []string{"lost: refused after 2 minutes waiting for workers, and not sent again",
			"Send refused requests again", "minimum workers"}, []string{"one by one"}},
		{"run3", "naive", []string{"lost: refused after 2 minutes waiting for workers, and not sent again",
			"Send refused requests again", "minimum workers"}, []string{"one by one"}},
		{"run2", "library", []string{"30 of 30 jobs succeeded."}, []string{"lost", "one by one"}},
		{"run3", "docs", []string{"of 30 jobs succeeded"}, []string{"one by one"}},
	} {
		t.Run(tt.preset+" "+tt.client, func(t *testing.T) {
			s := Summarize([]*burst.Log{replayed(t, tt.preset, tt.client, burst.Generated(10), nil)}, Options{})[0]
			text := words(s)
			t.Log(text)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("nothing says %q", want)
				}
			}
			for _, never := range tt.never {
				if strings.Contains(text, never) {
					t.Errorf("it says %q", never)
				}
			}
		})
	}
}

func TestStagesLeaveNoGap(t *testing.T) {
	for _, client := range burst.Names {
		l := replayed(t, "run2", client, burst.Generated(10), func(s *burst.Settings) { s.Duration = -150 })
		for i := range l.Jobs {
			j := &l.Jobs[i]
			at := j.Due
			for _, s := range stages(j) {
				if s.from != at || s.to <= s.from {
					t.Errorf("%s, job %d: %s from %v to %v, after %v", client, j.Index, s.name, s.from, s.to, at)
				}
				at = s.to
			}
			if at < j.End-0.001 {
				t.Errorf("%s, job %d: the stages end at %v, the job at %v", client, j.Index, at, j.End)
			}
		}
	}
}

func TestInterruptedRunHasAWholeReport(t *testing.T) {
	l := replayed(t, "run2", "library", burst.Generated(10), func(s *burst.Settings) { s.Duration = -100 })
	s := Summarize([]*burst.Log{l}, Options{})[0]
	if s.Interrupted == 0 || s.NotStarted == 0 || s.Succeeded+s.Failed+s.Interrupted+s.NotStarted != 30 {
		t.Errorf("%+v", s.Figures)
	}
	if text := words(s); !strings.Contains(text, "The run was stopped: ") || strings.Contains(text, "lost") {
		t.Error(text)
	}
	checkPage(t, []*burst.Log{l})
}

// half is a plan of which every second job is one that workers refuse.
func half(t *testing.T) *burst.Plan {
	t.Helper()
	dir := t.TempDir()
	var text string
	for i := range 30 {
		body := `{"in":"{{0}}"}`
		if i%2 == 1 {
			body = `{"in":"<script>alert(1)</script>"}`
		}
		text += fmt.Sprintf(`{"files":["a.bin"],"path":"/p","body":%s,"output":"result_image_path"}`+"\n", body)
	}
	for name, data := range map[string]string{"a.bin": "x", "m.jsonl": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := burst.Manifest(filepath.Join(dir, "m.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHalfOfTheJobsFail(t *testing.T) {
	l := replayed(t, "run3", "library", half(t), nil)
	s := Summarize([]*burst.Log{l}, Options{})[0]
	if s.Succeeded != 15 || s.Failed != 15 {
		t.Errorf("%d succeeded, %d failed", s.Succeeded, s.Failed)
	}
	if want := "15 of 30 jobs succeeded; 15 were lost: a worker refused the request itself, with status 422."; s.Verdict != want {
		t.Errorf("%q, want %q", s.Verdict, want)
	}
	checkPage(t, []*burst.Log{l})
}

// checkPage checks what can be checked without a browser.
func checkPage(t *testing.T, logs []*burst.Log) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, logs, Options{Price: 0.0003}); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, never := range []string{"<script>alert", "http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(html, never) {
			t.Errorf("the page has %q", never)
		}
	}
	_, rest, _ := strings.Cut(html, `id="data">`)
	text, _, ok := strings.Cut(rest, "</script>")
	var data struct {
		Runs []struct {
			Jobs [][]any `json:"jobs"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(text), &data); err != nil || !ok || len(data.Runs) != len(logs) {
		t.Fatalf("the page's data: %v", err)
	}
	for i, s := range Summarize(logs, Options{}) {
		if len(data.Runs[i].Jobs) != len(logs[i].Jobs) {
			t.Errorf("%d jobs in the page's data, want %d", len(data.Runs[i].Jobs), len(logs[i].Jobs))
		}
		if cell := fmt.Sprintf(`data-figure="succeeded">%s</td>`, count(s.Succeeded)); !strings.Contains(html, cell) {
			t.Errorf("the page does not have %s", cell)
		}
	}
	return html
}

func TestComparisonAndPicture(t *testing.T) {
	logs := []*burst.Log{
		replayed(t, "run2", "naive", burst.Generated(10), nil),
		replayed(t, "run2", "library", burst.Generated(10), nil),
	}
	if html := checkPage(t, logs); !strings.Contains(html, "Side by side") {
		t.Error("the runs are not compared")
	}
	var b bytes.Buffer
	if err := WriteSVG(&b, logs); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"<title>Burst: naive client, library</title>", ">50 s</text>", "prefers-color-scheme:dark", ">in the balancer</text>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture does not have %q", want)
		}
	}
	if strings.Contains(text, ">"+stTurn+"</text>") {
		t.Error("the picture explains a colour that it does not have")
	}
	bars := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			bars++
		}
	}
	if bars < 90 {
		t.Errorf("the picture has %d bars", bars)
	}
}

// Refusals that differ by what the network and the clock add have one cause.
func TestRefusalsHaveOneCause(t *testing.T) {
	l := &burst.Log{Run: burst.Run{Name: "naive", Requests: 4}}
	for i, wait := range []seconds{129, 131, 133, 3} {
		l.Jobs = append(l.Jobs, burst.Job{Index: i, End: wait, Uploaded: 0.5, Attempts: []burst.Attempt{{End: wait, Status: 400, Verdict: "give up"}}})
	}
	s := Summarize([]*burst.Log{l}, Options{})[0]
	if got := words(s); !strings.Contains(got, "for 2 reasons") || !strings.Contains(got, "3 jobs: refused after 131 s waiting") || !strings.Contains(got, "1 job: refused after 3.0 s waiting") {
		t.Error(got)
	}
}

func TestCost(t *testing.T) {
	l := replayed(t, "run2", "library", burst.Generated(10), nil)
	s := Summarize([]*burst.Log{l}, Options{Price: 0.001})[0]
	var sum seconds
	for _, w := range l.Workers {
		sum += w.Starting + w.Busy + w.Idle
	}
	if d := s.WorkerSeconds - sum; d > 0.001 || d < -0.001 || s.WorkerSeconds < 30*25 {
		t.Errorf("%v worker-seconds, the workers say %v", s.WorkerSeconds, sum)
	}
	if want := float64(sum) * 0.001; s.Cost < want-1e-9 || s.Cost > want+1e-9 {
		t.Errorf("cost %v, want %v", s.Cost, want)
	}
}

// many is a made-up run of so many jobs.
func many(n int) *burst.Log {
	l := &burst.Log{Run: burst.Run{Name: "library", Requests: n, Concurrency: 200, Speed: 1, QueueWait: 120}}
	for i := range n {
		at := seconds(i) * 0.2
		id := fmt.Sprintf("worker-%02d", i%50)
		l.Jobs = append(l.Jobs, burst.Job{Index: i, ID: fmt.Sprint(i + 1), Due: at, Begin: at, Sent: at + 1, Uploaded: at + 3, Answered: at + 160, End: at + 162, OK: true,
			Attempts: []burst.Attempt{
				{Start: at + 4, End: at + 124, Status: 400, Verdict: "retry now", Reason: "the balancer had no worker", Known: true, Outcome: "refused"},
				{Start: at + 125, Taken: at + 140, End: at + 160, Status: 200, Worker: id, Verdict: "deliver", Known: true, Outcome: "served"},
			}})
		l.Conns = append(l.Conns, burst.Conn{To: "s3", Opened: at, Closed: at + 20})
	}
	for i := range 50 {
		l.Workers = append(l.Workers, burst.Worker{ID: fmt.Sprintf("worker-%02d", i), Begun: 1, Ready: seconds(40 + i), Stopped: 3000, Served: n / 50, Starting: 40, Busy: 2000, Idle: 10})
	}
	return l
}

func TestTenThousandJobs(t *testing.T) {
	html := checkPage(t, []*burst.Log{many(10_000)})
	t.Logf("10,000 jobs, 20,000 attempts: %.1f MB", float64(len(html))/1e6)
	if len(html) > 20e6 {
		t.Errorf("%d bytes, want at most 20 MB", len(html))
	}
}

func BenchmarkTenThousandJobs(b *testing.B) {
	logs := []*burst.Log{many(10_000)}
	for b.Loop() {
		var n counter
		if err := Write(&n, logs, Options{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/1e6, "MB")
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// A run that was stopped before anything came of it still has a report.
func TestNothingWasDone(t *testing.T) {
	l := &burst.Log{Run: burst.Run{Name: "library", Requests: 3, Concurrency: 1, Speed: 1}, End: &burst.End{Interrupted: true}}
	checkPage(t, []*burst.Log{l})
	if got := Summarize([]*burst.Log{l}, Options{})[0]; got.Verdict != "0 of 3 jobs succeeded." || got.NotStarted != 3 {
		t.Errorf("%q, %d not begun", got.Verdict, got.NotStarted)
	}
}
