// Burst shows what this module is for: 30 jobs, 15 at once, on a Runpod
// load-balancing endpoint that has scaled to zero. Each job uploads two
// photographs to the network volume, calls the worker with their paths, and
// fetches the picture that the worker wrote. It runs the burst through a plain
// client and then through package runpod, each on an identical endpoint that
// is simulated in this process with its time sped up; with -live, on yours.
//
//	go run ./examples/burst
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gpuburst/runpod-go/internal/burst"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The program's exit statuses.
const (
	exitDone        = 0
	exitLost        = 1 // the library lost a job, or something else failed
	exitUsage       = 2
	exitInterrupted = 130
)

func run(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) int {
	s, err := parseFlags(args, stdout)
	if errors.Is(err, errHelp) {
		return exitDone
	}
	if err == nil {
		err = s.prepare()
	}
	if err != nil {
		fmt.Fprintln(stderr, "burst:", err)
		return exitUsage
	}
	d, err := s.show(ctx, stdout, stderr)
	if err == nil && s.json != "" {
		err = writeJSON(s.json, d)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "burst:", err)
		return exitLost
	case ctx.Err() != nil:
		return exitInterrupted
	case d.lost():
		return exitLost
	}
	return exitDone
}

// show runs the bursts and prints what came of them.
func (s settings) show(ctx context.Context, stdout io.Writer, stderr *os.File) (d document, err error) {
	d = document{Endpoint: "simulated", Speed: speed, Seed: s.seed, Concurrency: s.concurrency, Pictures: s.out}
	if s.live {
		d.Endpoint, d.Speed = "live", 1
	}
	fmt.Fprintln(stdout, s.introduction())
	if s.naive {
		if d.Naive, err = s.drive(ctx, "naive", burst.Settings{Client: "naive"}, filepath.Join(s.out, "naive"), stderr); err != nil {
			return d, err
		}
		printLost(stdout, d.Naive.Jobs)
	}
	if !s.live || s.warm == 0 {
		if d.Client, err = s.driveLibrary(ctx, "library", 0, stdout, stderr); err != nil {
			return d, err
		}
	}
	if s.warm > 0 {
		if d.Warmed, err = s.driveLibrary(ctx, "warmed", s.warm, stdout, stderr); err != nil {
			return d, err
		}
	}
	return d, conclude(ctx, stdout, d)
}

// driveLibrary runs the burst through the library and shows every job, unless
// all was interrupted before: then the summary is nil.
func (s settings) driveLibrary(ctx context.Context, name string, warm int, stdout io.Writer, stderr *os.File) (*summary, error) {
	if ctx.Err() != nil {
		return nil, nil
	}
	sum, err := s.drive(ctx, name, burst.Settings{Client: "library", Warm: warm, Ahead: ahead}, s.out, stderr)
	if err != nil {
		return nil, err
	}
	printLost(stdout, sum.Jobs)
	fmt.Fprintln(stdout)
	return sum, printTable(stdout, sum.Jobs)
}

// ahead is how many jobs the library has under way beside those at the endpoint:
// as many as its S3 connections can serve, like RunAll.
const ahead = 8

// drive runs the burst through one client, on an endpoint of its own.
func (s settings) drive(ctx context.Context, name string, set burst.Settings, out string, progress *os.File) (*summary, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("-out: %w", err)
	}
	t, err := s.target()
	if err != nil {
		return nil, err
	}
	set.Requests, set.Concurrency = s.requests, s.concurrency
	rec, p := burst.NewRecorder(nil), &burst.Progress{Jobs: s.requests}
	stop := showProgress(progress, name, p, t.Speed)
	err = burst.Drive(ctx, t, set, s.album.plan(out), rec, p)
	stop()
	if err != nil {
		return nil, err
	}
	l, err := rec.Log()
	return summarize(l), err
}

// lost reports whether the library lost a job.
func (d document) lost() bool {
	return d.Client != nil && d.Client.Failed > 0 || d.Warmed != nil && d.Warmed.Failed > 0
}

// saving is what waking the workers during the uploads has brought.
func (d document) saving() string {
	before, after := d.Client, d.Warmed
	return fmt.Sprintf("Warmed: first result %.1f s sooner, whole burst %.1f s sooner; worker-seconds billed %+.1f.",
		before.First-after.First, before.Seconds-after.Seconds, after.WorkerSeconds-before.WorkerSeconds)
}

// introduction says what is about to run, and in which time it is measured.
func (s settings) introduction() string {
	jobs := fmt.Sprintf("%d jobs, %d at once: upload two photographs, call %s, fetch the picture.\n", s.requests, s.concurrency, tryonPath)
	if s.live {
		return jobs + "Endpoint: the one that the environment names, in real time.\n"
	}
	return jobs + fmt.Sprintf("Endpoint: simulated in this process, seed %d: %d workers at most, none at first, cold start %v to %v s,\n"+
		"%v to %v s of work a picture, refused after %v s without a worker.\n"+
		"Its time runs %d times as fast; every figure is in its seconds (wall time x %d).\n",
		s.seed, maxWorkers, coldStartMin.Seconds(), coldStartMax.Seconds(), workMin.Seconds(), workMax.Seconds(), queueWait.Seconds(), speed, speed) + s.line()
}

// line says how slow the line is.
func (s settings) line() string {
	if s.warm == 0 {
		return ""
	}
	return fmt.Sprintf("Uploading a photograph takes %v s; once %d workers are woken meanwhile.\n", photoTime.Seconds(), s.warm)
}

// conclude prints the end: the figures, what was left undone, the pictures.
func conclude(ctx context.Context, w io.Writer, d document) error {
	fmt.Fprintln(w)
	if err := printSummaries(w, d.Naive, d.Client, d.Warmed); err != nil {
		return err
	}
	fmt.Fprintln(w)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(w, interruption(d))
	case d.Client != nil && d.Warmed != nil:
		fmt.Fprintln(w, d.saving())
	}
	_, err := fmt.Fprintln(w, "Pictures:", d.Pictures)
	return err
}

// interruption says what had been done when Ctrl-C came.
func interruption(d document) string {
	name, s := "warmed", d.Warmed
	if s == nil {
		name, s = "library", d.Client
	}
	if s == nil {
		name, s = "naive", d.Naive
	}
	if s == nil {
		return "Interrupted before the first job."
	}
	return fmt.Sprintf("Interrupted during the %s burst: %d of %d jobs done, %d lost, %d stopped under way, %d not begun.",
		name, s.Succeeded, s.Requests, s.Failed, s.Interrupted, s.NotStarted)
}
