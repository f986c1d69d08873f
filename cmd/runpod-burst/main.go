// Runpod-burst sends a burst of jobs to a Runpod load-balancing endpoint, a
// simulated one or a live one, through package runpod or through plain clients,
// and makes a page that explains what came of it.
//
//	go run ./cmd/runpod-burst -compare naive,library -report burst.html
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The program's exit statuses.
const (
	exitDone        = 0
	exitLost        = 1 // jobs were lost, or something could not be written
	exitUsage       = 2
	exitInterrupted = 130
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "fit" {
		return fitEndpoint(args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "plan" {
		return makePlan(ctx, args[1:], stdout, stderr)
	}
	o, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		return fail(stderr, err, exitUsage)
	}
	if o.quiet {
		stdout = io.Discard
	}
	if o.analyzed != nil {
		return analyze(o, stdout, stderr)
	}
	return bursts(ctx, o, stdout, stderr)
}

func fail(stderr io.Writer, err error, status int) int {
	fmt.Fprintln(stderr, "runpod-burst:", err)
	return status
}

// analyze makes the reports again from files of records.
func analyze(o *options, stdout, stderr io.Writer) int {
	var logs []*burst.Log
	for _, name := range o.analyzed {
		more, err := read(name)
		if err != nil {
			return fail(stderr, err, exitUsage)
		}
		logs = append(logs, more...)
	}
	printSummaries(stdout, logs, o)
	if err := o.write(logs, stdout); err != nil {
		return fail(stderr, err, exitLost)
	}
	return exitDone
}

func read(name string) ([]*burst.Log, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	logs, err := burst.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return logs, nil
}

// bursts runs the burst through each client and reports. Whatever goes wrong, a
// report is made of what was done.
func bursts(ctx context.Context, o *options, stdout, stderr io.Writer) int {
	records, plan, err := o.prepare()
	if err != nil {
		return fail(stderr, err, exitUsage)
	}
	if records == nil && o.set.Only != nil {
		fmt.Fprintln(stdout, "Nothing is missing.")
		return exitDone
	}
	logs, failed := runAll(ctx, o, plan, records, stdout)
	if records != nil {
		failed = errors.Join(failed, records.Close())
	}
	printSummaries(stdout, logs, o)
	failed = errors.Join(failed, o.write(logs, stdout))
	switch {
	case failed != nil:
		return fail(stderr, failed, exitLost)
	case ctx.Err() != nil:
		return exitInterrupted
	case !allGood(logs):
		return exitLost
	}
	return exitDone
}

// allGood reports whether the last client lost no job: that of the library, where
// several are compared in the usual order.
func allGood(logs []*burst.Log) bool {
	for _, j := range logs[len(logs)-1].Jobs {
		if !j.OK {
			return false
		}
	}
	return true
}

// prepare makes what the run needs before anything is sent. The file is nil
// where no records are to be written, or, with -resume, where nothing is missing.
func (o *options) prepare() (records *os.File, plan *burst.Plan, err error) {
	name, mode := o.jsonl, os.O_TRUNC
	if o.resume != "" {
		if err := o.continued(); err != nil {
			return nil, nil, fmt.Errorf("-resume: %w", err)
		}
		name, mode = o.resume, os.O_APPEND
	}
	if plan, err = o.plan(); err != nil {
		return nil, nil, err
	}
	t, err := o.target()
	if err != nil {
		return nil, nil, err
	}
	t.Close() // each client gets one of its own
	if o.set.SaveDir != "" {
		if err := os.MkdirAll(o.set.SaveDir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("-out: %w", err)
		}
	}
	if name == "" || o.set.Only != nil && len(o.set.Only) == 0 {
		return nil, plan, o.checkOutputs()
	}
	if records, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|mode, 0o644); err != nil {
		return nil, nil, fmt.Errorf("-jsonl: %w", err)
	}
	return records, plan, o.checkOutputs()
}

// checkOutputs finds out before the burst what could not be written after it.
func (o *options) checkOutputs() error {
	for _, out := range o.outputs() {
		if out.name == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(out.name)); err != nil {
			return fmt.Errorf("-%s: %w", out.flag, err)
		} else if !info.IsDir() {
			return fmt.Errorf("-%s: %s is no folder", out.flag, filepath.Dir(out.name))
		}
	}
	return nil
}

// continued takes from a file of records what its last run was to do.
func (o *options) continued() error {
	logs, err := read(o.resume)
	if err != nil {
		return err
	}
	if err := endLine(o.resume); err != nil {
		return err
	}
	last := logs[len(logs)-1].Run
	switch {
	case last.Simulated == o.live:
		return fmt.Errorf("its run was on %s: say so with -live, or leave -live out", last.Endpoint)
	case last.Config != o.set.Config && last.Config != "":
		return fmt.Errorf("its run was on %s: give -config %s", last.Endpoint, last.Config)
	case last.Config != o.set.Config:
		return fmt.Errorf("its run was on %s: leave -config out", last.Endpoint)
	case last.Preset != o.set.Preset:
		return fmt.Errorf("its run was on %s: give -preset %s", last.Endpoint, cmp.Or(last.Preset, "none"))
	}
	jobs := 0
	for _, l := range logs {
		if l.Run.Name == last.Name && !l.Run.Resumed {
			jobs = max(l.Run.Requests, len(l.Jobs))
		}
	}
	s := &o.set
	o.clients, s.Requests = []string{last.Name}, jobs
	s.Inputs, s.Manifest = last.Inputs, last.Manifest
	if !o.given["concurrency"] {
		s.Concurrency = last.Concurrency
	}
	if !o.given["warm"] {
		s.Warm = last.Warm
	}
	s.Only = burst.Missing(logs, last.Name, jobs)
	return nil
}

// endLine cuts off the beginning of a line that a program which was killed
// left at a file's end, so that more can be added.
func endLine(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.Truncate(name, int64(bytes.LastIndexByte(data, '\n')+1))
}

// runAll runs the burst through each client in turn. It always returns the records
// of what was begun.
func runAll(ctx context.Context, o *options, plan *burst.Plan, records *os.File, stdout io.Writer) (logs []*burst.Log, failed error) {
	for _, name := range o.clients {
		if ctx.Err() != nil {
			break
		}
		l, err := runOne(ctx, o, name, plan, records, stdout)
		failed = errors.Join(failed, err)
		if l != nil {
			logs = append(logs, l)
		}
	}
	return logs, failed
}

func runOne(ctx context.Context, o *options, name string, plan *burst.Plan, records *os.File, stdout io.Writer) (*burst.Log, error) {
	target, err := o.target()
	if err != nil {
		return nil, err
	}
	s := o.set
	s.Client = name
	if s.SaveDir != "" && len(o.clients) > 1 {
		s.SaveDir = filepath.Join(s.SaveDir, name)
		if err := os.MkdirAll(s.SaveDir, 0o755); err != nil {
			target.Close()
			return nil, fmt.Errorf("-out: %w", err)
		}
	}
	rec := burst.NewRecorder(nil)
	if records != nil {
		rec = burst.NewRecorder(records)
	}
	p := &burst.Progress{Jobs: s.Requests}
	if s.Only != nil {
		p.Jobs = len(s.Only)
	}
	d := show(stdout, name, p)
	err = burst.Drive(ctx, target, s, plan, rec, p)
	d.stop()
	if err != nil {
		return nil, err
	}
	l, err := rec.Log()
	if err != nil {
		err = fmt.Errorf("the records of %s are not whole, the report is: %w", name, err)
	}
	return l, err
}

func printSummaries(w io.Writer, logs []*burst.Log, o *options) {
	for _, s := range report.Summarize(logs, report.Options{Price: o.price}) {
		fmt.Fprintf(w, "\n%s: %s\n", s.Client, s.Verdict)
		for _, why := range s.Why {
			fmt.Fprintln(w, "  "+why)
		}
		for _, a := range s.Advice {
			fmt.Fprintf(w, "  - %s %s\n", a.Do, a.Figure)
		}
	}
}

// output is a file that is made of records.
type output struct {
	flag, name string
	make       func(w io.Writer, logs []*burst.Log) error
}

func (o *options) outputs() []output {
	opt := report.Options{Price: o.price}
	return []output{
		{"report", o.report, func(w io.Writer, logs []*burst.Log) error { return report.Write(w, logs, opt) }},
		{"svg", o.svg, report.WriteSVG},
		{"plot", o.plot, func(w io.Writer, logs []*burst.Log) error { return writePlot(w, plotFormat(o.plot), logs) }},
		{"json", o.json, func(w io.Writer, logs []*burst.Log) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(report.Summarize(logs, opt))
		}},
	}
}

// write writes the files that were asked for, each whole or not at all. One that
// cannot be written does not keep the others from being.
func (o *options) write(logs []*burst.Log, stdout io.Writer) (failed error) {
	for _, out := range o.outputs() {
		if out.name == "" || len(logs) == 0 {
			continue
		}
		if err := writeWhole(out.name, func(w io.Writer) error { return out.make(w, logs) }); err != nil {
			failed = errors.Join(failed, fmt.Errorf("-%s: %w", out.flag, err))
			continue
		}
		fmt.Fprintf(stdout, "\n%s is written.\n", out.name)
	}
	return failed
}

// writeWhole writes a file under a temporary name and renames it, so that a full
// disk leaves no half of it. What is no plain file is written where it is.
func writeWhole(name string, make func(io.Writer) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(make(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".partial-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once it is renamed
	if err := errors.Join(make(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
