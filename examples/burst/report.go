package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
)

// summary is one client's burst. Its JSON names are what -json promises.
type summary struct {
	Requests    int     `json:"requests"`
	Succeeded   int     `json:"succeeded"`
	Failed      int     `json:"failed"`
	Interrupted int     `json:"interrupted"` // in flight when Ctrl-C came
	NotStarted  int     `json:"not_started"`
	Attempts    int     `json:"attempts"`
	Workers     int     `json:"workers_started"`
	S3Opened    int     `json:"s3_connections_opened"`
	S3Peak      int     `json:"s3_connections_peak"`
	First       seconds `json:"first_result_seconds"`
	Billed      seconds `json:"worker_seconds,omitempty"` // up to the burst's end; 0: not known
	Seconds     seconds `json:"seconds"`                  // the endpoint's
	WallSeconds seconds `json:"wall_seconds"`
	SuccessRate float64 `json:"success_rate"`
	PerSuccess  float64 `json:"attempts_per_success"`
	Fastest     seconds `json:"fastest_seconds"` // of the jobs that succeeded
	Slowest     seconds `json:"slowest_seconds"`
	Jobs        []row   `json:"jobs"`
}

// row is an outcome in the JSON file.
type row struct {
	Job      int     `json:"job"`
	Attempts int     `json:"attempts"`
	Upload   seconds `json:"upload_seconds"`
	Wait     seconds `json:"wait_seconds"`
	Work     seconds `json:"work_seconds"`
	Total    seconds `json:"total_seconds"`
	Worker   string  `json:"worker,omitempty"`
	Picture  string  `json:"picture,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// summarize counts up a burst of which the outcomes, in any order, are known.
func summarize(requests int, outcomes []outcome, took, wall seconds, saw observed) summary {
	s := summary{
		Requests: requests, NotStarted: requests - len(outcomes),
		Workers: saw.workers, S3Opened: saw.opened, S3Peak: saw.peak,
		Billed: saw.billed, Seconds: took, WallSeconds: wall,
	}
	for _, o := range byJob(outcomes) {
		s.add(o)
	}
	if s.Succeeded > 0 {
		s.PerSuccess = float64(s.Attempts) / float64(s.Succeeded)
	}
	if requests > 0 {
		s.SuccessRate = float64(s.Succeeded) / float64(requests)
	}
	return s
}

func (s *summary) add(o outcome) {
	s.Attempts += o.Attempts
	s.Jobs = append(s.Jobs, o.row())
	switch {
	case o.Stopped:
		s.Interrupted++
	case o.Err != nil:
		s.Failed++
	default:
		s.Succeeded++
		s.Slowest = max(s.Slowest, o.Total)
		if s.Succeeded == 1 || o.Total < s.Fastest {
			s.Fastest = o.Total
		}
	}
}

func (o outcome) row() row {
	r := row{o.Job, o.Attempts, o.Upload, o.Wait, o.Work, o.Total, o.Worker, o.Picture, ""}
	if o.Err != nil {
		r.Error = o.Err.Error()
	}
	return r
}

func byJob(outcomes []outcome) []outcome {
	return slices.SortedFunc(slices.Values(outcomes), func(a, b outcome) int { return a.Job - b.Job })
}

// printTable shows every job on a line of its own.
func printTable(w io.Writer, outcomes []outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\tattempts\tupload\twait\twork\ttotal\tworker\t")
	for _, o := range byJob(outcomes) {
		work := "-"
		if o.Work > 0 {
			work = o.Work.String()
		}
		fmt.Fprintf(t, "%d\t%d\t%v\t%v\t%s\t%v\t%s\t\n", o.Job, o.Attempts, o.Upload, o.Wait, work, o.Total, place(o))
	}
	return t.Flush()
}

// place says where a job was served, or that it was not.
func place(o outcome) string {
	switch {
	case o.Stopped:
		return "(stopped)"
	case o.Err != nil:
		return "(lost)"
	case o.Worker == "":
		return "-"
	}
	return o.Worker
}

// printLost says, for each job that was lost, why.
func printLost(w io.Writer, outcomes []outcome) {
	for _, o := range byJob(outcomes) {
		if o.Err != nil && !o.Stopped {
			fmt.Fprintf(w, "  lost job %d after %v s: %v\n", o.Job, o.Total, o.Err)
		}
	}
}

// printSummaries shows the clients that ran side by side; nil is one that did
// not.
func printSummaries(w io.Writer, naive, client, warm *summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	var all []*summary
	if naive != nil {
		all = append(all, naive)
		fmt.Fprint(t, "\tnaive")
	}
	if client != nil {
		all = append(all, client)
		fmt.Fprint(t, "\tlibrary")
	}
	if warm != nil {
		all = append(all, warm)
		fmt.Fprint(t, "\tlibrary, warmed")
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
	{"fastest, slowest success", ifAny(func(s *summary) string { return fmt.Sprintf("%v s, %v s", s.Fastest, s.Slowest) })},
	{"workers started", func(s *summary) string { return strconv.Itoa(s.Workers) }},
	{"S3 connections opened", func(s *summary) string { return strconv.Itoa(s.S3Opened) }},
	{"S3 connections, peak", func(s *summary) string { return strconv.Itoa(s.S3Peak) }},
	{"attempts per success", ifAny(func(s *summary) string { return fmt.Sprintf("%.2f", s.PerSuccess) })},
	{"worker-seconds billed", func(s *summary) string {
		if s.Billed == 0 {
			return "-"
		}
		return s.Billed.String()
	}},
	{"first result", ifAny(func(s *summary) string { return fmt.Sprintf("%v s", s.First) })},
	{"whole burst", func(s *summary) string { return fmt.Sprintf("%v s", s.Seconds) }},
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
