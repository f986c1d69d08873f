package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/report"
)

// summary is one client's burst. Its JSON names, those of report.Figures
// included, are what -json promises. Times are the endpoint's.
type summary struct {
	report.Figures
	First       burst.Seconds `json:"first_result_seconds"`
	WallSeconds burst.Seconds `json:"wall_seconds"`
	Jobs        []row         `json:"jobs"`
}

// row is one job as its client lived it.
type row struct {
	Job      int           `json:"job"` // from 1
	Attempts int           `json:"attempts"`
	Upload   burst.Seconds `json:"upload_seconds"` // both photos, with the wait for a connection
	Wait     burst.Seconds `json:"wait_seconds"`   // of the call, what was not work: queue, cold start, backoff
	Work     burst.Seconds `json:"work_seconds"`   // at the worker, as the worker says; 0 when it does not say
	Total    burst.Seconds `json:"total_seconds"`  // from the job's begin until its picture was saved
	Worker   string        `json:"worker,omitempty"`
	Picture  string        `json:"picture,omitempty"` // the file that holds the result
	Error    string        `json:"error,omitempty"`   // why the job was lost, or that it was interrupted

	stopped bool // by Ctrl-C, not lost
}

// summarize counts a burst up.
func summarize(l *burst.Log) *summary {
	s := &summary{Figures: report.Summarize([]*burst.Log{l}, report.Options{})[0].Figures, Jobs: []row{}}
	s.WallSeconds = s.Seconds / burst.Seconds(l.Run.Speed)
	for i := range l.Jobs {
		j := &l.Jobs[i]
		s.Jobs = append(s.Jobs, newRow(j))
		if j.OK && (s.First == 0 || j.End < s.First) {
			s.First = j.End
		}
	}
	return s
}

func newRow(j *burst.Job) row {
	r := row{Job: j.Index + 1, Attempts: len(j.Attempts), Upload: cmp.Or(j.Uploaded, j.End) - j.Begin, Total: j.End - j.Begin,
		Picture: j.Saved, Error: j.Error, stopped: j.Interrupted}
	if len(j.Attempts) > 0 {
		r.Worker = j.Attempts[len(j.Attempts)-1].Worker
	}
	if j.Uploaded > 0 {
		call := cmp.Or(j.Answered, j.End) - j.Uploaded
		r.Work = min(j.Work, call)
		r.Wait = call - r.Work
	}
	return r
}

// printTable shows every job on a line of its own.
func printTable(w io.Writer, jobs []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\tattempts\tupload\twait\twork\ttotal\tworker\t")
	for _, r := range jobs {
		work := "-"
		if r.Work > 0 {
			work = tenths(r.Work)
		}
		fmt.Fprintf(t, "%d\t%d\t%.1f\t%.1f\t%s\t%.1f\t%s\t\n", r.Job, r.Attempts, r.Upload, r.Wait, work, r.Total, r.place())
	}
	return t.Flush()
}

func tenths(s burst.Seconds) string { return strconv.FormatFloat(float64(s), 'f', 1, 64) }

// place says where a job was served, or that it was not.
func (r *row) place() string {
	switch {
	case r.stopped:
		return "(stopped)"
	case r.Error != "":
		return "(lost)"
	}
	return cmp.Or(r.Worker, "-")
}

// printLost says, for each job that was lost, why.
func printLost(w io.Writer, jobs []row) {
	for _, r := range jobs {
		if r.Error != "" && !r.stopped {
			fmt.Fprintf(w, "  lost job %d after %.1f s: %s\n", r.Job, r.Total, r.Error)
		}
	}
}

// printSummaries shows the clients that ran side by side; nil is one that did
// not.
func printSummaries(w io.Writer, naive, client, warm *summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	var all []*summary
	for _, one := range []struct {
		name string
		s    *summary
	}{{"naive", naive}, {"library", client}, {"library, warmed", warm}} {
		if one.s != nil {
			all = append(all, one.s)
			fmt.Fprint(t, "\t", one.name)
		}
	}
	fmt.Fprintln(t)
	for _, line := range summaryLines {
		fmt.Fprint(t, line.name)
		for _, s := range all {
			fmt.Fprint(t, "\t", line.value(s))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

var summaryLines = []struct {
	name  string
	value func(*summary) string
}{
	{"succeeded", func(s *summary) string {
		return fmt.Sprintf("%d of %d (%.1f %%)", s.Succeeded, s.Requests, 100*s.SuccessRate)
	}},
	{"fastest, slowest success", ifAny(func(s *summary) string { return fmt.Sprintf("%.1f s, %.1f s", s.Fastest, s.Slowest) })},
	{"workers started", func(s *summary) string { return strconv.Itoa(s.Workers) }},
	{"S3 connections opened", func(s *summary) string { return strconv.Itoa(s.S3Opened) }},
	{"S3 connections, peak", func(s *summary) string { return strconv.Itoa(s.S3Peak) }},
	{"attempts per success", ifAny(func(s *summary) string { return fmt.Sprintf("%.2f", s.PerSuccess) })},
	{"worker-seconds billed", func(s *summary) string {
		if !s.WorkersKnown {
			return "-"
		}
		return tenths(s.WorkerSeconds)
	}},
	{"first result", ifAny(func(s *summary) string { return tenths(s.First) + " s" })},
	{"whole burst", func(s *summary) string { return tenths(s.Seconds) + " s" }},
}

// ifAny leaves out a figure that needs a success where there was none.
func ifAny(value func(*summary) string) func(*summary) string {
	return func(s *summary) string {
		if s.Succeeded == 0 {
			return "-"
		}
		return value(s)
	}
}

// document is the JSON file. An object is absent when its client did not run.
type document struct {
	Endpoint    string   `json:"endpoint"` // "simulated" or "live"
	Speed       float64  `json:"speed"`    // endpoint seconds in a wall second
	Seed        uint64   `json:"seed"`
	Concurrency int      `json:"concurrency"`
	Pictures    string   `json:"pictures"` // the folder of the results
	Naive       *summary `json:"naive,omitempty"`
	Client      *summary `json:"client,omitempty"`
	Warmed      *summary `json:"warmed,omitempty"` // with -warm
}

// writeJSON writes the document for -json.
func writeJSON(name string, d document) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}
