package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// As a user would: a burst, its fit, and a burst on the fit.
func TestFitCommand(t *testing.T) {
	dir := t.TempDir()
	records, endpoint := filepath.Join(dir, "burst.jsonl"), filepath.Join(dir, "endpoint.json")
	call := func(args ...string) (status int, out string) {
		var stdout, stderr strings.Builder
		status = run(t.Context(), args, &stdout, &stderr)
		return status, stdout.String() + stderr.String()
	}
	if status, out := call("-compare", "naive", "-requests", "60", "-preset", "none", "-speed", "200", "-jsonl", records); status > 1 {
		t.Fatal(status, out)
	}
	if status, out := call("fit", "-o", endpoint, records); status != 0 || !strings.Contains(out, "max_workers") || !strings.Contains(out, "endpoint.json is written") {
		t.Fatal(status, out)
	}
	f, err := os.Open(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := runpodtest.ReadConfig(f); err != nil || c.MaxWorkers != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	if status, out := call("-config", endpoint, "-requests", "5", "-speed", "500", "-q"); status != 0 {
		t.Error(status, out)
	}
	for _, tt := range []struct{ args, want string }{
		{"fit", "name a file of records"},
		{"fit /no/such.jsonl", "/no/such.jsonl"},
		{"fit " + endpoint, "is no record of runpod-burst"},
		{"fit -o /no/such/dir/x.json " + records, "-o: "},
		{"fit -x", "-x"},
	} {
		if status, out := call(strings.Fields(tt.args)...); status != 2 || !strings.Contains(out, tt.want) {
			t.Errorf("%s: status %d, %s", tt.args, status, out)
		}
	}
}
