package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// fiveJobs is a burst of five: two done, one lost, one stopped, one not begun.
func fiveJobs() *burst.Log {
	refused := burst.Attempt{Start: 1, End: 121, Status: 400}
	l := &burst.Log{
		Run: burst.Run{Name: "library", Requests: 5, Speed: 50},
		Jobs: []burst.Job{
			{Index: 0, Uploaded: 2, Answered: 94.75, End: 95, Work: 12.5, OK: true, Saved: "p/job-001.jpg",
				Attempts: []burst.Attempt{refused, {Start: 30, End: 94.75, Status: 200, Worker: "w1"}}},
			{Index: 1, Uploaded: 2, Answered: 77, End: 77.5, Work: 15, OK: true, Saved: "p/job-002.jpg",
				Attempts: []burst.Attempt{{Start: 2, End: 77, Status: 200, Worker: "w2"}}},
			{Index: 2, Uploaded: 1, End: 121, Error: "400 Bad Request no workers", Attempts: []burst.Attempt{refused}},
			{Index: 3, Begin: 100, End: 109, Error: "context canceled", Interrupted: true},
		},
		Workers: []burst.Worker{{ID: "w1", Starting: 60, Busy: 13, Idle: 5}, {ID: "w2", Starting: 60, Busy: 15, Idle: 5}},
	}
	for i := range 10 { // 8 at once, then 2
		at := burst.Seconds(i / 8 * 10)
		l.Conns = append(l.Conns, burst.Conn{To: "s3", Opened: at + 1, Closed: at + 5})
	}
	return l
}

func TestDetail(t *testing.T) {
	got := NewDetail(fiveJobs())
	if got.Succeeded != 2 || got.Failed != 1 || got.Interrupted != 1 || got.NotStarted != 1 {
		t.Errorf("succeeded, failed, interrupted, not started: %d %d %d %d, want 2 1 1 1", got.Succeeded, got.Failed, got.Interrupted, got.NotStarted)
	}
	if got.Attempts != 4 || got.PerSuccess != 2 || got.SuccessRate != 0.4 {
		t.Errorf("attempts %d, per success %v, rate %v; want 4, 2, 0.4", got.Attempts, got.PerSuccess, got.SuccessRate)
	}
	if got.Fastest != 77.5 || got.Slowest != 95 || got.First != 77.5 {
		t.Errorf("fastest %v, slowest %v, first %v; want 77.5, 95, 77.5: a lost job has no say", got.Fastest, got.Slowest, got.First)
	}
	if got.Workers != 2 || got.S3Opened != 10 || got.S3Peak != 8 || got.WorkerSeconds != 158 {
		t.Errorf("workers %d, connections %d, %d at once, %v of work; want 2, 10, 8, 158", got.Workers, got.S3Opened, got.S3Peak, got.WorkerSeconds)
	}
	if got.Seconds != 121 || got.WallSeconds != 2.42 {
		t.Errorf("%v, %v on the wall; want 121 and 2.42", got.Seconds, got.WallSeconds)
	}
}

func TestDetailOfNothing(t *testing.T) {
	got := NewDetail(&burst.Log{Run: burst.Run{Requests: 5, Speed: 1}})
	if got.NotStarted != 5 || got.PerSuccess != 0 || got.SuccessRate != 0 || got.First != 0 {
		t.Errorf("%+v, want 5 not started and no rate", got)
	}
}

func TestJobsTable(t *testing.T) {
	var b strings.Builder
	if err := NewDetail(fiveJobs()).WriteJobs(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	want := [][]string{
		{"job", "attempts", "upload", "wait", "work", "total", "worker"},
		{"1", "2", "2.0", "80.2", "12.5", "95.0", "w1"},
		{"2", "1", "2.0", "60.0", "15.0", "77.5", "w2"},
		{"3", "1", "1.0", "120.0", "-", "121.0", "(lost)"},
		{"4", "0", "9.0", "0.0", "-", "9.0", "(stopped)"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), b.String())
	}
	for i, line := range lines {
		if got := strings.Fields(line); strings.Join(got, "|") != strings.Join(want[i], "|") {
			t.Errorf("line %d: %q, want %q", i, got, want[i])
		}
	}
}

func TestLostJobsSayWhy(t *testing.T) {
	var b strings.Builder
	NewDetail(fiveJobs()).WriteLost(&b)
	if got, want := b.String(), "  lost job 3 after 121.0 s: 400 Bad Request no workers\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDetailsSideBySide(t *testing.T) {
	whole := fiveJobs()
	one := *whole
	whole.Run.Name = "naive"
	naive := NewDetail(whole)
	one.Run.Requests, one.Jobs, one.Conns = 2, whole.Jobs[1:2], whole.Conns[:8]
	library := NewDetail(&one)
	var b strings.Builder
	if err := WriteSideBySide(&b, naive, library); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"naive", "library", "2 of 5 (40.0 %)", "1 of 2 (50.0 %)", "77.5 s, 95.0 s", "10", "121.0 s", "158.0"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := WriteSideBySide(&b, library); err != nil || strings.Contains(b.String(), "naive") {
		t.Errorf("without a naive run: %v\n%s", err, b.String())
	}
}

// The names are a promise to those who read them by program.
func TestDetailJSONNames(t *testing.T) {
	text, err := json.Marshal(NewDetail(fiveJobs()))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]float64{
		"requests": 5, "succeeded": 2, "failed": 1, "interrupted": 1, "not_started": 1, "attempts": 4, "attempts_per_success": 2,
		"workers_started": 2, "worker_seconds": 158, "s3_connections_opened": 10, "s3_connections_peak": 8,
		"seconds": 121, "wall_seconds": 2.42, "first_result_seconds": 77.5, "fastest_seconds": 77.5, "slowest_seconds": 95, "success_rate": 0.4,
	} {
		if fields[field] != want {
			t.Errorf("%s = %v, want %v", field, fields[field], want)
		}
	}
	jobs, _ := fields["jobs"].([]any)
	first, _ := jobs[0].(map[string]any)
	for _, field := range []string{"job", "attempts", "upload_seconds", "wait_seconds", "work_seconds", "total_seconds", "worker", "picture"} {
		if first[field] == nil {
			t.Errorf("jobs has no %s", field)
		}
	}
}
