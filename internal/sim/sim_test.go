package sim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// TestServesUntilInterrupted goes the way of a user: read the environment, call,
// interrupt, read the account.
func TestServesUntilInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	account := filepath.Join(t.TempDir(), "account.jsonl")
	envFile := filepath.Join(t.TempDir(), "env")
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-worker", "echo", "-speed", "1000", "-cold", "30s-40s", "-account", account, "-env", envFile}, in, io.Discard)
		in.Close()
		ended <- err
	}()
	env, lines := map[string]string{}, bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if kv, ok := strings.CutPrefix(lines.Text(), "export "); ok {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
	}
	if file, _ := os.ReadFile(envFile); len(env) != 9 || bytes.Count(file, []byte("export ")) != 9 {
		t.Fatalf("printed %v, wrote %q", env, file)
	}
	req, err := http.NewRequest("POST", env["RUNPOD_ENDPOINT_URL"]+"/hello", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+env["RUNPOD_API_KEY"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	interrupt()
	rest, _ := io.ReadAll(out)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(rest), "1 requests: 1 succeeded, 0 refused") || !strings.Contains(lines.Text()+string(rest), "POST /hello") {
		t.Errorf("the account says:\n%s", rest)
	}
	if json, err := os.ReadFile(account); err != nil || bytes.Count(json, []byte("\n")) != 3 {
		t.Errorf("account file: %q, %v", json, err)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]runpodtest.Config{
		"-cold 60s":                     {ColdStart: runpodtest.Fixed(time.Minute)},
		"-cold 40s-90s -max -1":         {ColdStart: runpodtest.Range(40*time.Second, 90*time.Second), MaxWorkers: runpodtest.NoWorkers},
		"-service 40s~90s":              {ServiceTime: runpodtest.LogNormal(40*time.Second, 90*time.Second)},
		"-queue-delay -scaler-value 10": {ScalerType: runpodtest.QueueDelay, ScalerValue: 10},
		"-preset run2 -seed 7":          {Preset: runpodtest.StressRun2(), Seed: 7},
		"-problem":                      {Refusal: runpodtest.RefusalProblem},
	} {
		o, err := parseFlags(strings.Fields(args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		c := o.cfg
		if c.ColdStart.String() != want.ColdStart.String() || c.ServiceTime.String() != want.ServiceTime.String() ||
			c.MaxWorkers != want.MaxWorkers || c.ScalerType != want.ScalerType || c.ScalerValue != want.ScalerValue ||
			c.Preset.String() != want.Preset.String() || c.Seed != want.Seed || c.Refusal != want.Refusal || !c.Loopback {
			t.Errorf("%s gave %+v", args, c)
		}
	}
}

// A file describes the endpoint, and flags win over it.
func TestConfigFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "endpoint.json")
	if err := os.WriteFile(name, []byte(`{"max_workers": 6, "min_workers": 1, "cold_start": "20s", "service_time": "3s", "health_path": "/well"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parseFlags([]string{"-max", "9", "-config", name}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.program(io.Discard); err != nil {
		t.Fatal(err)
	}
	if c := o.cfg; c.MaxWorkers != 9 || c.MinWorkers != 1 || c.ColdStart.String() != "20s" || c.ServiceTime.String() != "3s" || !c.Loopback {
		t.Errorf("%+v", c)
	}
	own := httptest.NewServer(http.NotFoundHandler())
	defer own.Close()
	o, err = parseFlags([]string{"-config", name, "-worker", own.URL}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.program(io.Discard); err != nil {
		t.Fatal(err)
	}
	if c := o.cfg; c.ServiceTime.String() != "default" || c.HealthPath != "/well" || c.ColdStart.String() != "20s" {
		t.Errorf("a server of one's own takes its own time: %+v", c)
	}
}

func TestBadConfigFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "endpoint.json")
	for text, want := range map[string]string{
		`{"max_worker": 3}`:   `-config: ` + name + `: runpodtest: "max_worker": there is no such field`,
		`[]`:                  "no JSON object",
		`{"preset": "run9"}`:  `preset: "run9": want run1`,
		`{"upload_every":""}`: `"upload_every"`,
		`{"min_workers": 4}`:  "-config: " + name + ": runpodtest: Config.MaxWorkers: 3 is below",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // should it start after all
		if err := run(ctx, []string{"-config", name}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-cold soon":           "invalid",
		"-cold 9s-soon":        "invalid",
		"-preset run9":         "run1, run2 or run3",
		"start":                `"start"`,
		"-min 5 -max 2":        "-max: 2 is below MinWorkers",
		"-preset run2 -max 9":  "contradicts the preset",
		"-volume /no/such/dir": "-volume: ",
		"-config /no/such":     "-config: open /no/such",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // should it start after all
		if err := run(ctx, strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		}
	}
	if err := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}
