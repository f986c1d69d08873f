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
	"time"
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
	var b burst
	if err == nil {
		b, err = s.prepare()
	}
	if err != nil {
		fmt.Fprintln(stderr, "burst:", err)
		return exitUsage
	}
	d, err := show(ctx, s, b, stdout, stderr)
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
func show(ctx context.Context, s settings, b burst, stdout io.Writer, stderr *os.File) (document, error) {
	d := document{Endpoint: "simulated", Speed: speed, Seed: s.seed, Concurrency: b.concurrency, Pictures: b.out}
	if s.live {
		d.Endpoint, d.Speed = "live", 1
	}
	fmt.Fprintln(stdout, s.introduction())
	if s.naive {
		first := b
		first.out = filepath.Join(b.out, "naive")
		sum, outcomes, err := compete(ctx, s, first, "naive", openNaive, stderr)
		if err != nil {
			return d, err
		}
		d.Naive = &sum
		printLost(stdout, outcomes)
	}
	if !s.live || s.warm == 0 {
		if err := competeLibrary(ctx, s, b, "library", &d.Client, stdout, stderr); err != nil {
			return d, err
		}
	}
	if b.warm = s.warm; b.warm > 0 {
		if err := competeLibrary(ctx, s, b, "warmed", &d.Warmed, stdout, stderr); err != nil {
			return d, err
		}
	}
	return d, conclude(ctx, stdout, d)
}

// competeLibrary runs the burst through the library and shows every job, unless
// all was interrupted before.
func competeLibrary(ctx context.Context, s settings, b burst, name string, to **summary, stdout io.Writer, stderr *os.File) error {
	if ctx.Err() != nil {
		return nil
	}
	sum, outcomes, err := compete(ctx, s, b, name, openLibrary, stderr)
	if err != nil {
		return err
	}
	*to = &sum
	printLost(stdout, outcomes)
	fmt.Fprintln(stdout)
	return printTable(stdout, outcomes)
}

// lost reports whether the library lost a job.
func (d document) lost() bool {
	return d.Client != nil && d.Client.Failed > 0 || d.Warmed != nil && d.Warmed.Failed > 0
}

// saving is what waking the workers during the uploads has brought.
func (d document) saving() string {
	before, after := d.Client, d.Warmed
	return fmt.Sprintf("Warmed: first result %v s sooner, whole burst %v s sooner; worker-seconds billed %+.1f.",
		before.First-after.First, before.Seconds-after.Seconds, time.Duration(after.Billed-before.Billed).Seconds())
}

// introduction says what is about to run, and in which time it is measured.
func (s settings) introduction() string {
	burst := fmt.Sprintf("%d jobs, %d at once: upload two photographs, call %s, fetch the picture.\n", s.requests, s.concurrency, tryonPath)
	if s.live {
		return burst + "Endpoint: the one that the environment names, in real time.\n"
	}
	return burst + fmt.Sprintf("Endpoint: simulated in this process, seed %d: %d workers at most, none at first, cold start %v to %v s,\n"+
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
	return fmt.Sprintf("Interrupted during the %s burst: %d of %d jobs done, %d lost, %d stopped under way, %d not begun.",
		name, s.Succeeded, s.Requests, s.Failed, s.Interrupted, s.NotStarted)
}

// client is one of the two ways to run a burst.
type client interface {
	run(context.Context, burst, *meter) []outcome
	connections() (opened, peak int) // to S3, as the client itself counted them
	close()
}

// compete runs the burst through one client, on an endpoint of its own.
func compete(ctx context.Context, s settings, b burst, name string, open func(target, burst) (client, error), progress *os.File) (summary, []outcome, error) {
	t, err := s.target()
	if err != nil {
		return summary{}, nil, err
	}
	defer t.close()
	c, err := open(t, b)
	if err != nil {
		return summary{}, nil, err
	}
	defer c.close()
	start, clock := time.Now(), t.clock()
	m := startMeter(progress, name, b.requests, clock)
	outcomes := c.run(ctx, b, m)
	took, wall := clock.now(), seconds(time.Since(start))
	m.finish()
	sum := summarize(b.requests, outcomes, took, wall, t.saw(c, outcomes))
	sum.First = m.first
	return sum, outcomes, nil
}

func (s settings) target() (target, error) {
	if s.live {
		return live()
	}
	return simulate(s.seed, s.warm > 0)
}

// saw is what the endpoint counted, or, for one that we cannot ask, what can
// be known from this side: the workers that answered, the client's own count.
func (t target) saw(c client, outcomes []outcome) observed {
	if t.observe != nil {
		return t.observe()
	}
	workers := map[string]bool{}
	for _, o := range outcomes {
		if o.Worker != "" {
			workers[o.Worker] = true
		}
	}
	opened, peak := c.connections()
	return observed{workers: len(workers), opened: opened, peak: peak}
}
