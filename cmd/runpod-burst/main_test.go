package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst/report"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// command runs the program and checks its exit status.
func command(t *testing.T, ctx context.Context, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(ctx, args, &out, &errs); got != want {
		t.Errorf("%v: exit status %d, want %d\n%s%s", args, got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func figures(t *testing.T, name string) (all []report.Summary) {
	t.Helper()
	if err := json.Unmarshal([]byte(readFile(t, name)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// in gives names of files in a folder of the test's.
func in(t *testing.T) func(string) string {
	dir := t.TempDir()
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestCompareAndAnalyze(t *testing.T) {
	f := in(t)
	out, _ := command(t, t.Context(), exitDone, "-compare", "naive,library", "-speed", "200", "-bytes", "500", "-out", f("results"),
		"-report", f("a.html"), "-json", f("a.json"), "-svg", f("a.svg"), "-jsonl", f("a.jsonl"), "-price", "0.001")
	for _, want := range []string{"naive: ", "library: 30 of 30 jobs succeeded.", "done, 0 lost"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q:\n%s", want, out)
		}
	}
	all := figures(t, f("a.json"))
	if len(all) != 2 || all[1].Succeeded != 30 || all[1].S3Peak > 8 || all[1].Cost == 0 {
		t.Errorf("%+v", all)
	}
	if results, err := os.ReadDir(f("results/library")); len(results) != 30 {
		t.Errorf("%d results, %v", len(results), err)
	}
	command(t, t.Context(), exitDone, "analyze", "-q", "-report", f("b.html"), "-json", f("b.json"), "-svg", f("b.svg"), "-plot", f("b.png"), "-price", "0.001", f("a.jsonl"))
	if readFile(t, f("a.json")) != readFile(t, f("b.json")) {
		t.Error("the figures from the records are others than those of the run")
	}
	if a, b := readFile(t, f("a.html")), readFile(t, f("b.html")); a != b {
		t.Error("the page from the records is another than that of the run")
	}
	if !strings.HasPrefix(readFile(t, f("b.png")), "\x89PNG") {
		t.Error("the plot is no PNG")
	}
	command(t, t.Context(), exitDone, "analyze", "-json", f("c.json"), f("a.jsonl"), f("a.jsonl"))
	if n := len(figures(t, f("c.json"))); n != 4 {
		t.Errorf("two files of two runs each give %d", n)
	}
}

func TestInterruptedAndResumed(t *testing.T) {
	f := in(t)
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, interrupt) // of about 3
	command(t, ctx, exitInterrupted, "-speed", "100", "-requests", "30", "-warm", "3", "-bytes", "10", "-jsonl", f("a.jsonl"), "-report", f("a.html"), "-json", f("a.json"))
	first := figures(t, f("a.json"))[0]
	if first.NotStarted == 0 || first.Failed != 0 || !strings.Contains(readFile(t, f("a.html")), "The run was stopped") {
		t.Errorf("%+v", first)
	}
	records, err := os.OpenFile(f("a.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	records.WriteString(`{"job":{"ind`) // as one that was killed leaves it
	records.Close()
	for want, args := range map[string][]string{
		"give -preset run2": {"-preset", "run1"},
		"say so with -live": {"-live"},
	} {
		if _, errs := command(t, t.Context(), exitUsage, append(args, "-resume", f("a.jsonl"))...); !strings.Contains(errs, want) {
			t.Errorf("%v: %q, want %q", args, errs, want)
		}
	}
	command(t, t.Context(), exitDone, "-resume", f("a.jsonl"), "-speed", "200", "-bytes", "10", "-json", f("b.json"))
	if rest := figures(t, f("b.json"))[0]; rest.Succeeded != 30-first.Succeeded || rest.Requests != 30-first.Succeeded {
		t.Errorf("%d of the %d missing jobs succeeded, of %d asked for", rest.Succeeded, 30-first.Succeeded, rest.Requests)
	}
	if out, _ := command(t, t.Context(), exitDone, "-resume", f("a.jsonl")); !strings.Contains(out, "Nothing is missing") {
		t.Error(out)
	}
	command(t, t.Context(), exitDone, "analyze", "-json", f("c.json"), f("a.jsonl"))
	if n := strings.Count(readFile(t, f("a.jsonl")), `"warm":3`); n != 2 {
		t.Errorf("%d of the 2 runs are recorded as warmed", n)
	}
	if both := figures(t, f("c.json")); len(both) != 2 || both[0].Succeeded+both[1].Succeeded != 30 {
		t.Errorf("%+v", both)
	}
}

func TestConfig(t *testing.T) {
	f := in(t)
	args := []string{"-config", "testdata/slow-day.json", "-speed", "200", "-seed", "3", "-requests", "8", "-bytes", "100"}
	command(t, t.Context(), exitDone, append(args, "-max", "2", "-json", f("a.json"), "-jsonl", f("a.jsonl"), "-report", f("a.html"))...)
	if s := figures(t, f("a.json"))[0]; s.Succeeded != 8 || s.Attempts < 8+3 || s.PeakWorkers > 2 {
		t.Errorf("the file's three 502s, or -max 2, are not in %+v", s)
	}
	if !strings.Contains(readFile(t, f("a.html")), "a simulated endpoint, slow-day.json; its time ran 200 times") {
		t.Error("the report does not say which endpoint that was")
	}
	if _, errs := command(t, t.Context(), exitUsage, "-resume", f("a.jsonl")); !strings.Contains(errs, "give -config testdata/slow-day.json") {
		t.Error(errs)
	}
	if out, _ := command(t, t.Context(), exitDone, "-resume", f("a.jsonl"), "-config", "testdata/slow-day.json"); !strings.Contains(out, "Nothing is missing") {
		t.Error(out)
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	f := in(t)
	args := []string{"-requests", "3", "-speed", "500", "-bytes", "10", "-json", f("a.json")}
	_, errs := command(t, t.Context(), exitLost, append(args, "-report", "/dev/full", "-svg", f("a.svg"))...)
	if !strings.Contains(errs, "-report: ") || !strings.Contains(errs, "no space left on device") {
		t.Error(errs)
	}
	if figures(t, f("a.json"))[0].Succeeded != 3 || !strings.HasPrefix(readFile(t, f("a.svg")), "<svg") {
		t.Error("what could be written is not whole")
	}
	_, errs = command(t, t.Context(), exitLost, append(args, "-jsonl", "/dev/full", "-report", f("a.html"))...)
	if !strings.Contains(errs, "the records of library are not whole, the report is: ") {
		t.Error(errs)
	}
	if !strings.Contains(readFile(t, f("a.html")), "3 of 3 jobs succeeded.") {
		t.Error("the report is not whole")
	}
}

func TestHalfOfTheJobsFail(t *testing.T) {
	f := in(t)
	var manifest string
	for i := range 10 {
		manifest += fmt.Sprintf(`{"id":"job-%d","files":["x"],"path":"/p","body":{"in":"%s"},"output":"result_image_path"}`+"\n", i, []string{"{{0}}", "nothing"}[i%2])
	}
	for name, text := range map[string]string{"x": "x", "m.jsonl": manifest} {
		if err := os.WriteFile(f(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := command(t, t.Context(), exitLost, "-manifest", f("m.jsonl"), "-speed", "500", "-report", f("a.html"))
	const want = "5 of 10 jobs succeeded; 5 were lost: a worker refused the request itself, with status 422."
	if !strings.Contains(out, want) || !strings.Contains(readFile(t, f("a.html")), want) {
		t.Errorf("it does not say %q:\n%s", want, out)
	}
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	f := in(t)
	for _, name := range []string{"RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID", "RUNPOD_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	if err := os.WriteFile(f("broken.jsonl"), []byte("{]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"typo.json": `{"max_worker": 3}`, "much.json": `{"crash_rate": 2}`, "both.json": `{"preset": "run2", "service_time": "3s"}`,
	} {
		if err := os.WriteFile(f(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for want, args := range map[string][]string{
		`"max_worker": there is no such field`:        {"-config", f("typo.json")},
		"-config: " + f("much.json"):                  {"-config", f("much.json"), "-jsonl", f("never.jsonl")},
		"ServiceTime: contradicts the preset":         {"-config", f("both.json")},
		"-config: open":                               {"-config", f("none.json")},
		"-config and -preset":                         {"-config", f("typo.json"), "-preset", "run2"},
		"-config is about the simulated":              {"-config", f("typo.json"), "-live"},
		"MaxWorkers: 2 is below MinWorkers, 5":        {"-min", "5", "-max", "2"},
		"-requests 0":                                 {"-requests", "0"},
		"-concurrency -1":                             {"-concurrency", "-1"},
		"-warm -1":                                    {"-warm", "-1"},
		"-rate -1":                                    {"-rate", "-1"},
		"-price -1":                                   {"-price", "-1"},
		"-speed 0":                                    {"-speed", "0"},
		"-preset run9: want none, run1":               {"-preset", "run9"},
		`"curl" is no client`:                         {"-compare", "naive,curl"},
		"naive stands there twice":                    {"-compare", "naive,naive"},
		"-inputs and -manifest":                       {"-inputs", f("a"), "-manifest", f("b")},
		"-inputs: open " + f("none"):                  {"-inputs", f("none")},
		"-manifest: " + f("broken.jsonl"):             {"-manifest", f("broken.jsonl")},
		"-report: stat":                               {"-report", f("none/a.html")},
		"-jsonl: open":                                {"-jsonl", f("none/a.jsonl")},
		"-resume: " + f("broken.jsonl"):               {"-resume", f("broken.jsonl")},
		"-seed is about the simulated":                {"-live", "-seed", "2"},
		"-live: the environment lacks RUNPOD_API_KEY": {"-live"},
		"-compare: -resume takes it":                  {"-resume", f("x"), "-compare", "naive"},
		"-plot a.gif: want a file that ends in .png":  {"-plot", "a.gif"},
		"-plot b: want a file":                        {"analyze", "-plot", "b", "x.jsonl"},
		"name a file of records":                      {"analyze"},
		`"x": unexpected`:                             {"x"},
		"-duration":                                   {"-duration", "-1s"},
	} {
		if _, errs := command(t, t.Context(), exitUsage, args...); !strings.Contains(errs, want) {
			t.Errorf("%v: %q, want %q", args, errs, want)
		}
	}
	if _, err := os.Stat(f("never.jsonl")); err == nil {
		t.Error("a file of records was made before the endpoint was refused")
	}
	out, _ := command(t, t.Context(), exitDone, "-h")
	for _, want := range []string{"analyze [flags] FILE", "-config file", "unfairness, unhealthy_rate, upload_every"} {
		if !strings.Contains(out, want) {
			t.Errorf("-h does not say %q:\n%s", want, out)
		}
	}
}

// A live endpoint does not tell of its workers; what answers tell is all there is.
func TestLive(t *testing.T) {
	var made atomic.Int64 // a result of its own for each job: one that is overwritten while it is read is an error
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, MinWorkers: 2, ServiceTime: runpodtest.Fixed(10 * time.Millisecond),
		Handler: func(w runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/tryon" {
					rw.WriteHeader(http.StatusNotFound)
					return
				}
				name := fmt.Sprintf("r%d.bin", made.Add(1))
				os.WriteFile(filepath.Join(w.VolumeDir, name), []byte("result"), 0o644)
				fmt.Fprintf(rw, `{"result_image_path":"/runpod-volume/%s"}`, name)
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for name, value := range map[string]string{
		"RUNPOD_ENDPOINT_ID": "", "RUNPOD_ENDPOINT_URL": srv.EndpointURL, "RUNPOD_API_KEY": srv.APIKey,
		"RUNPOD_S3_ENDPOINT_URL": srv.S3URL, "RUNPOD_S3_REGION": srv.Region, "RUNPOD_S3_BUCKET_NAME": srv.Bucket,
		"RUNPOD_S3_ACCESS_KEY_ID": srv.AccessKeyID, "RUNPOD_S3_SECRET_ACCESS_KEY": srv.SecretAccessKey,
	} {
		t.Setenv(name, value)
	}
	f := in(t)
	command(t, t.Context(), exitDone, "-live", "-requests", "8", "-bytes", "10", "-out", f("out"), "-json", f("a.json"), "-jsonl", f("a.jsonl"), "-report", f("a.html"))
	s := figures(t, f("a.json"))[0]
	if s.Succeeded != 8 || s.Workers < 1 || s.Workers > 2 || s.WorkersKnown || s.Stages["at the endpoint"] == 0 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(readFile(t, f("a.html")), "not told by the endpoint") {
		t.Error("the report does not say what is not known")
	}
	for _, name := range []string{"a.jsonl", "a.html", "a.json"} {
		for _, secret := range []string{srv.APIKey, srv.SecretAccessKey} {
			if strings.Contains(readFile(t, f(name)), secret) {
				t.Errorf("a secret stands in %s", name)
			}
		}
	}
}

// The README names every flag.
func TestReadmeNamesEveryFlag(t *testing.T) {
	readme := readFile(t, "README.md")
	out, _ := command(t, t.Context(), exitDone, "-h")
	n := 0
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(line, "  -")
		if !ok {
			continue
		}
		n++
		name = "-" + strings.Fields(name)[0]
		if !regexp.MustCompile("[`, ]" + name + "[` =]").MatchString(readme) {
			t.Errorf("README.md does not name %s", name)
		}
	}
	if n < 20 {
		t.Errorf("only %d flags found in\n%s", n, out)
	}
}
