package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// Options of a report. The zero value is usable.
type Options struct {
	Price float64 // of a worker-second; 0: not known
}

// run is one run in a report.
type run struct {
	Number  int
	log     *burst.Log
	price   float64
	Figures Figures
}

func newRuns(logs []*burst.Log, o Options) (runs []*run) {
	for i, l := range logs {
		runs = append(runs, &run{Number: i + 1, log: l, price: o.Price, Figures: analyze(l, o.Price)})
	}
	return runs
}

// Summary is what a run came to, and its verdict in words.
type Summary struct {
	Figures
	Verdict string   `json:"verdict"`
	Why     []string `json:"why,omitempty"`
	Advice  []Advice `json:"advice,omitempty"`
}

// Summarize returns the summary of each run.
func Summarize(logs []*burst.Log, o Options) (all []Summary) {
	for _, r := range newRuns(logs, o) {
		v := r.verdict()
		all = append(all, Summary{r.Figures, v.Headline, v.Why, r.advice()})
	}
	return all
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var page = template.Must(template.New("page").Parse(pageHTML))

// Write writes the page: one HTML file that needs nothing else.
func Write(w io.Writer, logs []*burst.Log, o Options) error {
	runs := newRuns(logs, o)
	data, err := json.Marshal(newPageData(runs))
	if err != nil {
		return err
	}
	return page.Execute(w, map[string]any{
		"Title": title(runs), "Runs": runs, "Compare": compare(runs),
		"CSS": template.CSS(pageCSS), "JS": template.JS(pageJS), "Data": template.JS(escapeScript(data)),
	})
}

// escapeScript keeps data from ending the script element it stands in; Marshal
// has escaped <, > and & already.
func escapeScript(data []byte) string { return strings.ReplaceAll(string(data), "</", `<\/`) }

func title(runs []*run) string {
	names := make([]string, len(runs))
	for i, r := range runs {
		names[i] = r.Name()
	}
	return "Burst: " + strings.Join(names, ", ")
}

// The page's words about a run.

func (r *run) Name() string {
	names := map[string]string{"naive": "naive client", "docs": "client as the docs advise", "library": "library"}
	name := names[r.log.Run.Name]
	if name == "" {
		name = r.log.Run.Name
	}
	if r.log.Run.Resumed {
		name += ", resumed"
	}
	return name
}

func (r *run) Verdict() Verdict { return r.verdict() }
func (r *run) Advice() []Advice { return r.advice() }

// Setting says what was asked for.
func (r *run) Setting() string {
	o := r.log.Run
	s := fmt.Sprintf("%s, at most %d at once, on %s", jobs(r.Figures.Requests), o.Concurrency, o.Endpoint)
	if o.Warm > 0 {
		s += fmt.Sprintf(", %d workers woken during the first uploads", o.Warm)
	}
	if o.Rate > 0 {
		s += fmt.Sprintf(", arriving at random, %g a second", o.Rate)
	}
	if o.Ramp > 0 {
		s += fmt.Sprintf(", over a ramp of %v", o.Ramp)
	}
	if o.Speed != 1 {
		s += fmt.Sprintf("; its time ran %g times as fast (all times here are the endpoint's)", o.Speed)
	}
	if !o.Started.IsZero() {
		s += "; begun " + o.Started.Format("2006-01-02 15:04 MST")
	}
	return s + "."
}

// Row is a figure with its name. Key is its name in the JSON.
type Row struct {
	Name, Key string
	Values    []string
}

// Rows are a run's figures.
func (r *run) Rows() []Row { return rows([]*run{r}) }

// compare is the figures side by side; nil where there is nothing to compare.
func compare(runs []*run) []Row {
	if len(runs) < 2 {
		return nil
	}
	return rows(runs)
}

func rows(runs []*run) []Row {
	out := make([]Row, len(figureRows))
	for i, def := range figureRows {
		out[i] = Row{Name: def.name, Key: def.key}
		for _, r := range runs {
			out[i].Values = append(out[i].Values, def.value(r))
		}
	}
	return out
}

var figureRows = []struct {
	name, key string
	value     func(*run) string
}{
	{"jobs", "requests", func(r *run) string { return count(r.Figures.Requests) }},
	{"succeeded", "succeeded", func(r *run) string { return count(r.Figures.Succeeded) }},
	{"success rate", "success_rate", func(r *run) string { return fmt.Sprintf("%.1f %%", 100*r.Figures.SuccessRate) }},
	{"lost", "failed", func(r *run) string { return count(r.Figures.Failed) }},
	{"in flight when stopped", "interrupted", func(r *run) string { return count(r.Figures.Interrupted) }},
	{"not begun", "not_started", func(r *run) string { return count(r.Figures.NotStarted) }},
	{"whole burst", "seconds", func(r *run) string { return r.Figures.Seconds.String() }},
	{"fastest success", "fastest_seconds", ifSucceeded(func(f *Figures) seconds { return f.Fastest })},
	{"median", "median_seconds", ifSucceeded(func(f *Figures) seconds { return f.Median })},
	{"90 % within", "p90_seconds", ifSucceeded(func(f *Figures) seconds { return f.P90 })},
	{"slowest success", "slowest_seconds", ifSucceeded(func(f *Figures) seconds { return f.Slowest })},
	{"attempts", "attempts", func(r *run) string { return count(r.Figures.Attempts) }},
	{"attempts a success", "attempts_per_success", func(r *run) string { return fmt.Sprintf("%.2f", r.Figures.PerSuccess) }},
	{"refused for want of a worker", "cold_refusals", func(r *run) string { return count(r.Figures.Refusals) }},
	{"requests in flight, peak", "peak_in_flight", func(r *run) string { return count(r.Figures.PeakInFlight) }},
	{"workers", "workers_started", func(r *run) string { return count(r.Figures.Workers) }},
	{"S3 connections opened", "s3_connections_opened", func(r *run) string { return count(r.Figures.S3Opened) }},
	{"S3 connections, peak", "s3_connections_peak", func(r *run) string { return count(r.Figures.S3Peak) }},
	{"worker-seconds", "worker_seconds", workerTime(func(f *Figures) seconds { return f.WorkerSeconds })},
	{"of them starting", "worker_seconds_starting", workerTime(func(f *Figures) seconds { return f.Starting })},
	{"of them busy", "worker_seconds_busy", workerTime(func(f *Figures) seconds { return f.Busy })},
	{"of them idle", "worker_seconds_idle", workerTime(func(f *Figures) seconds { return f.Idle })},
	{"cost", "cost", func(r *run) string {
		if r.price == 0 || !r.Figures.WorkersKnown {
			return "no price given (-price)"
		}
		return fmt.Sprintf("%.4f (%g a worker-second)", r.Figures.Cost, r.price)
	}},
}

func ifSucceeded(of func(*Figures) seconds) func(*run) string {
	return func(r *run) string {
		if r.Figures.Succeeded == 0 {
			return "–"
		}
		return of(&r.Figures).String()
	}
}

func workerTime(of func(*Figures) seconds) func(*run) string {
	return func(r *run) string {
		if !r.Figures.WorkersKnown {
			return "not told by the endpoint"
		}
		return of(&r.Figures).String()
	}
}

// Total is a stage and what all jobs spent in it.
type Total struct {
	Name, Class, Sum, Share string
}

// Totals is where the jobs' time went.
func (r *run) Totals() (all []Total) {
	var sum seconds
	for _, s := range r.Figures.Stages {
		sum += s
	}
	for i, name := range stageNames {
		if s := r.Figures.Stages[name]; s > 0 {
			all = append(all, Total{name, fmt.Sprintf("s%d", i), s.String(), fmt.Sprintf("%.1f %%", 100*float64(s/sum))})
		}
	}
	return all
}
