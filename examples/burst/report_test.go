package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func s(d float64) seconds { return seconds(d * float64(time.Second)) }

// finished is a burst of five: two done, one lost, one stopped, one not begun.
func finished() []outcome {
	return []outcome{
		{Job: 3, Attempts: 1, Upload: s(1), Wait: s(120), Total: s(121), Err: errors.New("400 Bad Request no workers")},
		{Job: 1, Attempts: 2, Upload: s(2), Wait: s(80.25), Work: s(12.5), Total: s(95), Worker: "w1", Picture: "p/job-001.jpg"},
		{Job: 4, Attempts: 1, Upload: s(1), Total: s(9), Err: errors.New("context canceled"), Stopped: true},
		{Job: 2, Attempts: 1, Upload: s(2), Wait: s(60), Work: s(15), Total: s(77.5), Worker: "w2", Picture: "p/job-002.jpg"},
	}
}

func TestSummarize(t *testing.T) {
	got := summarize(5, finished(), s(130), s(2.6), observed{workers: 3, opened: 10, peak: 8})
	if got.Succeeded != 2 || got.Failed != 1 || got.Interrupted != 1 || got.NotStarted != 1 {
		t.Errorf("succeeded, failed, interrupted, not started: %d %d %d %d, want 2 1 1 1", got.Succeeded, got.Failed, got.Interrupted, got.NotStarted)
	}
	if got.Attempts != 5 || got.PerSuccess != 2.5 || got.SuccessRate != 0.4 {
		t.Errorf("attempts %d, per success %v, rate %v; want 5, 2.5, 0.4", got.Attempts, got.PerSuccess, got.SuccessRate)
	}
	if got.Fastest != s(77.5) || got.Slowest != s(95) {
		t.Errorf("fastest %v, slowest %v; want 77.5 and 95.0: a lost job has no say", got.Fastest, got.Slowest)
	}
	if got.Workers != 3 || got.S3Opened != 10 || got.S3Peak != 8 {
		t.Errorf("observed %d %d %d, want 3 10 8", got.Workers, got.S3Opened, got.S3Peak)
	}
}

func TestSummarizeNothing(t *testing.T) {
	got := summarize(5, nil, 0, 0, observed{})
	if got.NotStarted != 5 || got.PerSuccess != 0 || got.SuccessRate != 0 {
		t.Errorf("%+v, want 5 not started and no rate", got)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := printTable(&b, finished()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	want := [][]string{
		{"job", "attempts", "upload", "wait", "work", "total", "worker"},
		{"1", "2", "2.0", "80.2", "12.5", "95.0", "w1"},
		{"2", "1", "2.0", "60.0", "15.0", "77.5", "w2"},
		{"3", "1", "1.0", "120.0", "-", "121.0", "(lost)"},
		{"4", "1", "1.0", "0.0", "-", "9.0", "(stopped)"},
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
	printLost(&b, finished())
	if got, want := b.String(), "  lost job 3 after 121.0 s: 400 Bad Request no workers\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSummariesSideBySide(t *testing.T) {
	naive := summarize(4, finished(), s(130), s(2.6), observed{opened: 41})
	library := summarize(2, finished()[1:2], s(95), s(1.9), observed{opened: 8})
	var b strings.Builder
	if err := printSummaries(&b, &naive, &library, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"naive", "library", "2 of 4 (50.0 %)", "1 of 2 (50.0 %)", "77.5 s, 95.0 s", "41", "130.0 s", "95.0 s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := printSummaries(&b, nil, &library, nil); err != nil || strings.Contains(b.String(), "naive") {
		t.Errorf("without a naive run: %v\n%s", err, b.String())
	}
}

// The names in the file are a promise to those who read it by program.
func TestJSONNames(t *testing.T) {
	sum := summarize(5, finished(), s(130.04), s(2.6), observed{workers: 3, opened: 10, peak: 8})
	name := filepath.Join(t.TempDir(), "out.json")
	if err := writeJSON(name, document{Naive: &sum, Client: &sum}); err != nil {
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
	for _, object := range []string{"naive", "client"} {
		fields, _ := got[object].(map[string]any)
		for field, want := range map[string]float64{
			"requests": 5, "succeeded": 2, "failed": 1, "attempts": 5, "workers_started": 3,
			"s3_connections_opened": 10, "s3_connections_peak": 8, "seconds": 130,
		} {
			if fields[field] != want {
				t.Errorf("%s.%s = %v, want %v", object, field, fields[field], want)
			}
		}
	}
}
