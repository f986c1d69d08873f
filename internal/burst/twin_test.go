package burst

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func twinOf(t *testing.T, text string) (Twin, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "twin.json")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return ReadTwin(name)
}

func TestReadTwin(t *testing.T) {
	got, err := twinOf(t, `{
		"seed": 7, "speed": 20, "min_workers": 1, "max_workers": 6, "scaler_type": "QUEUE_DELAY", "scaler_value": 8,
		"idle_timeout": "75s", "queue_wait": "1m30s", "refusal": "problem", "unfairness": 0.25, "routing": "first", "concurrency": 2,
		"cold_start": "40s~90s", "loading": "3s", "service_time": ["41s", "60s"], "crash_rate": 0.5,
		"s3": {"error_rate": 0.1, "transient_above": 16}, "upload_every": "24s",
		"faults": [{"do": "delay", "after": "10s", "on": "s3", "method": "PUT", "path": "inputs/*", "times": -1}]}`)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Config
	for name, ok := range map[string]bool{
		"numbers":       c.Seed == 7 && c.Speed == 20 && c.MinWorkers == 1 && c.MaxWorkers == 6 && c.ScalerValue == 8 && c.Concurrency == 2,
		"shares":        c.Unfairness == 0.25 && c.CrashRate == 0.5,
		"durations":     c.IdleTimeout == 75*time.Second && c.QueueWait == 90*time.Second && got.UploadEvery == 24,
		"names":         c.ScalerType == runpodtest.QueueDelay && c.Refusal == runpodtest.RefusalProblem && c.Routing == runpodtest.RouteFirst,
		"median and 90": c.ColdStart.String() == runpodtest.LogNormal(40*time.Second, 90*time.Second).String(),
		"one":           c.Loading.String() == "3s",
		"list":          c.ServiceTime.String() == "2 recorded values",
		"s3":            c.S3.ErrorRate == 0.1 && c.S3.TransientAbove == 16,
	} {
		if !ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if len(got.Config.Faults) != 1 {
		t.Fatalf("%d faults", len(got.Config.Faults))
	}
	if f := got.Config.Faults[0]; f.On != runpodtest.OnS3 || f.Method != "PUT" || f.Path != "inputs/*" || f.Times != runpodtest.Always {
		t.Errorf("%+v", f)
	}
	if got, err = twinOf(t, `{"preset": "run1", "max_waiting": 5}`); err != nil || got.Config.Preset.String() != "StressRun1" || got.UploadEvery != 24 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = twinOf(t, `{"preset": "run1", "upload_every": "0s"}`); err != nil || got.UploadEvery != 0 {
		t.Errorf("upload_every does not win over the preset's: %+v, %v", got, err)
	}
}

// What is wrong is named.
func TestReadTwinRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                                             "no JSON object",
		`{"max_workers": 3,}`:                            "no JSON object",
		`{"max_worker": 3}`:                              `"max_worker": there is no such field; there are anonymous_crash, `,
		`{"max_workers": "3"}`:                           "max_workers: ",
		`{"idle_timeout": 5}`:                            `idle_timeout: want a duration in quotes`,
		`{"idle_timeout": "5"}`:                          `idle_timeout: time: missing unit`,
		`{"cold_start": 60}`:                             "cold_start: want durations",
		`{"cold_start": "9s-soon"}`:                      "cold_start: ",
		`{"cold_start": "soon"}`:                         "cold_start: ",
		`{"preset": "run9"}`:                             `preset: "run9": want run1, run2, run3`,
		`{"scaler_type": "MAGIC"}`:                       `scaler_type: "MAGIC": want QUEUE_DELAY, REQUEST_COUNT`,
		`{"upload_every": "-1s"}`:                        "upload_every: want 0s or more",
		`{"s3": {"errors": 1}}`:                          `s3: "errors": there is no such field`,
		`{"faults": {}}`:                                 "faults: want a list",
		`{"faults": [{"on": "s3"}]}`:                     "faults: [0]: do: it is missing",
		`{"faults": [{"do": "delay"}, {"do": "dance"}]}`: `faults: [1]: do: "dance"`,
		`{"faults": [{"do": "answer"}]}`:                 "faults: [0]: status: 0",
		`{"faults": [{"do": "delay", "status": 500}]}`:   "faults: [0]: status: 500",
		`{"faults": [{"do": "answer", "status": 500, "times": -2}]}`:   "faults: [0]: times: -2",
		`{"faults": [{"do": "delay", "after": "-1s"}]}`:                "faults: [0]: after",
		`{"faults": [{"do": "delay", "skip": -1}]}`:                    "faults: [0]: skip: -1",
		`{"faults": [{"do": "answer", "status": 500, "wehn": "now"}]}`: `faults: [0]: "wehn": there is no such field`,
	} {
		if _, err := twinOf(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadTwin(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that is not there is read")
	}
}

// Faults of the file meet the burst.
func TestTwinFaults(t *testing.T) {
	twin, err := twinOf(t, `{"min_workers": 2, "service_time": "1s", "faults": [{"do": "answer", "status": 502, "body": "bad gateway", "times": 3}]}`)
	if err != nil {
		t.Fatal(err)
	}
	l := driveTwin(t, "naive", twin, Settings{Client: "naive", Requests: 10, Concurrency: 5}, Generated(10), 0)
	lost := 0
	for _, j := range l.Jobs {
		if !j.OK {
			lost++
			if !strings.Contains(j.Error, "status 502: bad gateway") {
				t.Error(j.Error)
			}
		}
	}
	if lost != 3 {
		t.Errorf("%d jobs were lost, want the 3 that met the fault", lost)
	}
}
