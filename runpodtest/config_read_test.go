package runpodtest_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestReadConfig(t *testing.T) {
	c, err := runpodtest.ReadConfig(strings.NewReader(`{"preset": "run2", "seed": 7, "queue_wait": "1m30s", "strict_wait": "7m",
		"routing": "first", "s3": {"error_rate": 0.1}, "faults": [{"do": "answer", "status": 502, "times": 1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Preset.String() != "StressRun2" || c.Seed != 7 || c.QueueWait != 90*time.Second || c.StrictWait != 7*time.Minute ||
		c.Routing != runpodtest.RouteFirst || c.S3.ErrorRate != 0.1 || len(c.Faults) != 1 {
		t.Errorf("%+v", c)
	}
	tw := newTwin(t, c)
	if g := tw.send("POST", "/x", "{}"); g.status != 502 {
		t.Errorf("the file's fault: status %d, error %v", g.status, g.err)
	}
}

func TestReadConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "no JSON object",
		`null 1`:                        "no JSON object",
		`{"max\nworkers": 3}`:           `"max\nworkers": there is no such field; there are anonymous_crash, `,
		`{"speed": "fast"}`:             "speed: ",
		`{"s3": {"errors": 1}}`:         `s3: "errors": there is no such field`,
		`{"faults": [{"do": "dance"}]}`: `faults: [0]: do: "dance": want `,
		strings.Repeat(" ", 17<<20):     "longer than 16 MB",
	} {
		c, err := runpodtest.ReadConfig(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
		if c.MaxWorkers != 0 || c.Speed != 0 {
			t.Errorf("%.60q: %+v beside the error", text, c)
		}
	}
}

// Whatever the file, ReadConfig returns.
func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(`{"max_workers": 6, "cold_start": "40s~90s", "service_time": ["41s"], "faults": [{"do": "delay"}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) { runpodtest.ReadConfig(bytes.NewReader(text)) })
}
