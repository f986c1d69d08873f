package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlanCommand(t *testing.T) {
	dir := t.TempDir()
	endpoint, page := filepath.Join(dir, "endpoint.json"), filepath.Join(dir, "plan.html")
	if err := os.WriteFile(endpoint, []byte(`{"max_workers": 3, "cold_start": "20s-40s", "service_time": "5s-8s", "crash_rate": 0.1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"max_workers": 3, "min_workers": 4}`), 0o644); err != nil {
		t.Fatal(err)
	}
	call := func(args string) (status int, out string) {
		var stdout, stderr strings.Builder
		status = run(t.Context(), append([]string{"plan"}, strings.Fields(args)...), &stdout, &stderr)
		return status, stdout.String() + stderr.String()
	}
	status, out := call("-config " + endpoint + " -requests 20 -concurrency 8 -max-workers 4 -runs 20 -price 0.0003 -report " + page)
	if status != 0 {
		t.Fatal(status, out)
	}
	for _, want := range []string{"runpod.WithMaxInFlight(", "runpod-workers set -max ", "95 % within", "So 20 of 20 without retries takes ", "Not computed: crash_rate."} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
	if status, out := call("-config " + endpoint + " -requests 20 -concurrency 8 -max-workers 2 -runs 20 -within 9s"); status != 1 || !strings.Contains(out, "nothing that was tried keeps that") {
		t.Error(status, out)
	}
	for args, want := range map[string]string{
		"":                             "-config: name the file",
		"-config x -preset run2":       "-config: name the file",
		"-preset run9":                 "-preset run9: want run1, run2, run3",
		"-config /no/such":             "-config: open /no/such",
		"-config " + bad:               "-config: " + bad,
		"-preset run2 -requests 0":     "-requests 0",
		"-preset run2 -concurrency -1": "-concurrency -1",
		"-preset run2 -within 0s":      "-within 0s",
		"-preset run2 -share 2":        "-share 2",
		"-preset run2 -price NaN":      "-price NaN",
		"-preset run2 -max-workers 0":  "-max-workers 0",
		"-preset run2 -runs 1":         "-runs 1",
		"-preset run2 -report /no/x/y": "-report: ",
		"-preset run2 more":            `"more": unexpected`,
	} {
		if status, out := call(args); status != 2 || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, %s", args, status, out)
		}
	}
}
