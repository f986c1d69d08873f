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
	case d.Client.Failed > 0:
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
	if ctx.Err() == nil {
		sum, outcomes, err := compete(ctx, s, b, "library", openLibrary, stderr)
		if err != nil {
			return d, err
		}
		d.Client = &sum
		printLost(stdout, outcomes)
		fmt.Fprintln(stdout)
		if err := printTable(stdout, outcomes); err != nil {
			return d, err
		}
	}
	return d, conclude(ctx, stdout, d)
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
		s.seed, maxWorkers, coldStartMin.Seconds(), coldStartMax.Seconds(), workMin.Seconds(), workMax.Seconds(), queueWait.Seconds(), speed, speed)
}

// conclude prints the end: the figures, what was left undone, the pictures.
func conclude(ctx context.Context, w io.Writer, d document) error {
	fmt.Fprintln(w)
	if err := printSummaries(w, d.Naive, d.Client); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if ctx.Err() != nil {
		fmt.Fprintln(w, interruption(d))
	}
	_, err := fmt.Fprintln(w, "Pictures:", d.Pictures)
	return err
}

// interruption says what had been done when Ctrl-C came.
func interruption(d document) string {
	name, s := "library", d.Client
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
	return summarize(b.requests, outcomes, took, wall, t.saw(c, outcomes)), outcomes, nil
}

func (s settings) target() (target, error) {
	if s.live {
		return live()
	}
	return simulate(s.seed)
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
	return observed{len(workers), opened, peak}
}
