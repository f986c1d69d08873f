package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// Detail is a run with every job on a row of its own, for a terminal and for
// JSON. Its JSON names, those of Figures included, are what examples/burst
// promises. Times are the endpoint's.
type Detail struct {
	Figures
	First       seconds  `json:"first_result_seconds"`
	WallSeconds seconds  `json:"wall_seconds"`
	Jobs        []JobRow `json:"jobs"`
}

// JobRow is one job as its client saw it.
type JobRow struct {
	Job      int     `json:"job"` // from 1
	Attempts int     `json:"attempts"`
	Upload   seconds `json:"upload_seconds"` // all inputs, with the wait for a connection
	Wait     seconds `json:"wait_seconds"`   // of the call, all but the work: queue, cold start, backoff
	Work     seconds `json:"work_seconds"`   // at the worker, as the worker says; 0 if it does not say
	Total    seconds `json:"total_seconds"`  // from the job's begin until its result was saved
	Worker   string  `json:"worker,omitempty"`
	Picture  string  `json:"picture,omitempty"` // the file that holds the result
	Error    string  `json:"error,omitempty"`   // why the job was lost, or that it was interrupted

	stopped bool // by Ctrl-C, not lost
}

// NewDetail counts a run up.
func NewDetail(l *burst.Log) *Detail {
	d := &Detail{Figures: analyze(l, 0), Jobs: []JobRow{}}
	d.WallSeconds = d.Seconds / seconds(l.Run.Speed)
	for i := range l.Jobs {
		j := &l.Jobs[i]
		d.Jobs = append(d.Jobs, newJobRow(j))
		if j.OK && (d.First == 0 || j.End < d.First) {
			d.First = j.End
		}
	}
	return d
}

func newJobRow(j *burst.Job) JobRow {
	r := JobRow{Job: j.Index + 1, Attempts: len(j.Attempts), Upload: cmp.Or(j.Uploaded, j.End) - j.Begin, Total: j.End - j.Begin,
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

// WriteJobs writes every job on a line of its own.
func (d *Detail) WriteJobs(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\tattempts\tupload\twait\twork\ttotal\tworker\t")
	for _, r := range d.Jobs {
		work := "-"
		if r.Work > 0 {
			work = tenths(r.Work)
		}
		fmt.Fprintf(t, "%d\t%d\t%.1f\t%.1f\t%s\t%.1f\t%s\t\n", r.Job, r.Attempts, r.Upload, r.Wait, work, r.Total, r.place())
	}
	return t.Flush()
}

func tenths(s seconds) string { return strconv.FormatFloat(float64(s), 'f', 1, 64) }

// place says which worker served a job, or that none did.
func (r *JobRow) place() string {
	switch {
	case r.stopped:
		return "(stopped)"
	case r.Error != "":
		return "(lost)"
	}
	return cmp.Or(r.Worker, "-")
}

// WriteLost writes, for each job that was lost, why.
func (d *Detail) WriteLost(w io.Writer) {
	for _, r := range d.Jobs {
		if r.Error != "" && !r.stopped {
			fmt.Fprintf(w, "  lost job %d after %.1f s: %s\n", r.Job, r.Total, r.Error)
		}
	}
}

// WriteSideBySide writes the figures of several runs, each in a column headed
// by its client.
func WriteSideBySide(w io.Writer, runs ...*Detail) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, d := range runs {
		fmt.Fprint(t, "\t", d.Client)
	}
	fmt.Fprintln(t)
	for _, line := range detailLines {
		fmt.Fprint(t, line.name)
		for _, d := range runs {
			fmt.Fprint(t, "\t", line.value(d))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

var detailLines = []struct {
	name  string
	value func(*Detail) string
}{
	{"succeeded", func(d *Detail) string {
		return fmt.Sprintf("%d of %d (%.1f %%)", d.Succeeded, d.Requests, 100*d.SuccessRate)
	}},
	{"fastest, slowest success", ifAny(func(d *Detail) string { return fmt.Sprintf("%.1f s, %.1f s", d.Fastest, d.Slowest) })},
	{"workers started", func(d *Detail) string { return strconv.Itoa(d.Workers) }},
	{"S3 connections opened", func(d *Detail) string { return strconv.Itoa(d.S3Opened) }},
	{"S3 connections, peak", func(d *Detail) string { return strconv.Itoa(d.S3Peak) }},
	{"attempts per success", ifAny(func(d *Detail) string { return fmt.Sprintf("%.2f", d.PerSuccess) })},
	{"worker-seconds billed", func(d *Detail) string {
		if !d.WorkersKnown {
			return "-"
		}
		return tenths(d.WorkerSeconds)
	}},
	{"first result", ifAny(func(d *Detail) string { return tenths(d.First) + " s" })},
	{"whole burst", func(d *Detail) string { return tenths(d.Seconds) + " s" }},
}

// ifAny leaves out a figure that needs a success if there was none.
func ifAny(value func(*Detail) string) func(*Detail) string {
	return func(d *Detail) string {
		if d.Succeeded == 0 {
			return "-"
		}
		return value(d)
	}
}
