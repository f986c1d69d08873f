// Burst shows what this module is for: 30 jobs, 15 at once, on a Runpod
// load-balancing endpoint that has scaled to zero. Each job uploads two
// photographs to the network volume, calls the worker with their paths, and
// downloads the picture that the worker wrote. The burst goes through a plain
// client and then through package runpod, each on an identical endpoint that is
// simulated in this process with its time sped up.
//
//	go run ./examples/burst
//
// The command runpod-burst does the same with other bursts, clients and endpoints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/report"
	"github.com/gpuburst/runpod-go/internal/burst/tryon"
	"github.com/gpuburst/runpod-go/internal/worker"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The endpoint of the stress tests, as far as their reports say: three workers
// from zero, cold starts of a minute or more, 10 to 22 s a picture.
const (
	coldStartMin, coldStartMax = 60 * time.Second, 100 * time.Second
	workMin, workMax           = 10 * time.Second, 22 * time.Second
	maxWorkers                 = 3
	queueWait                  = 2 * time.Minute
	seed                       = 1
)

// speed is how fast the simulated endpoint's time runs. The faster, the more
// the real work of a picture (10 to 20 ms) would weigh.
const speed = 50

// ahead is how many jobs the library has under way beside those at the endpoint:
// as many as its S3 connections can serve, like RunAll.
const ahead = 8

// The program's exit statuses.
const (
	exitDone        = 0
	exitLost        = 1 // the library lost a job, or something else failed
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(demo{requests: 30, concurrency: 15, endpoint: twin()}.run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// demo is the burst and where its outcome goes.
type demo struct {
	requests, concurrency int
	endpoint              burst.Twin
	out, json             string
}

// document is the file that -json writes. A client is absent if it did not run.
type document struct {
	Endpoint    string         `json:"endpoint"`
	Speed       float64        `json:"speed"` // endpoint seconds in a wall second
	Seed        uint64         `json:"seed"`
	Concurrency int            `json:"concurrency"`
	Pictures    string         `json:"pictures"` // the folder of the results
	Naive       *report.Detail `json:"naive,omitempty"`
	Client      *report.Detail `json:"client,omitempty"`
}

func (d demo) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := d.parse(args, stdout); errors.Is(err, flag.ErrHelp) {
		return exitDone
	} else if err != nil {
		fmt.Fprintln(stderr, "burst:", err)
		return exitUsage
	}
	doc, err := d.show(ctx, stdout, stderr)
	if err == nil && d.json != "" {
		err = writeJSON(d.json, doc)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "burst:", err)
		return exitLost
	case ctx.Err() != nil:
		return exitInterrupted
	case doc.Client.Failed > 0:
		return exitLost
	}
	return exitDone
}

// parse reads the command line and prepares what it names, before anything is sent.
func (d *demo) parse(args []string, usage io.Writer) error {
	f := flag.NewFlagSet("burst", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&d.out, "out", "", "`folder` for the resulting pictures; default: a new temporary one")
	f.StringVar(&d.json, "json", "", "`file` for what is printed, machine-readable")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		f.SetOutput(usage)
		f.Usage()
		return err
	} else if err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q: unexpected; flags begin with a dash (-h lists them)", f.Arg(0))
	}
	if d.json != "" {
		file, err := os.OpenFile(d.json, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("-json: %w", err)
		}
		file.Close()
	}
	var err error
	if d.out == "" {
		d.out, err = os.MkdirTemp("", "runpod-burst-")
		return err
	}
	if err = os.MkdirAll(d.out, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	return nil
}

// show runs the burst through both clients and prints what came of it.
func (d demo) show(ctx context.Context, stdout, stderr io.Writer) (doc document, err error) {
	doc = document{Endpoint: "simulated", Speed: speed, Seed: seed, Concurrency: d.concurrency, Pictures: d.out}
	fmt.Fprintf(stdout, "%d jobs, %d at once: upload two photographs, call %s, fetch the picture.\n"+
		"Endpoint: simulated in this process, seed %d: %d workers at most, none at first, cold start %v to %v s,\n"+
		"%v to %v s of work a picture, refused after %v s without a worker.\n"+
		"Its time runs %d times as fast; every figure is in its seconds (wall time x %d).\n\n",
		d.requests, d.concurrency, worker.TryOnPath, seed, maxWorkers, coldStartMin.Seconds(), coldStartMax.Seconds(),
		workMin.Seconds(), workMax.Seconds(), queueWait.Seconds(), speed, speed)
	if doc.Naive, err = d.drive(ctx, burst.Settings{Client: "naive"}, filepath.Join(d.out, "naive"), stderr); err != nil {
		return doc, err
	}
	doc.Naive.WriteLost(stdout)
	if ctx.Err() != nil {
		return doc, d.interrupted(stdout, doc.Naive)
	}
	if doc.Client, err = d.drive(ctx, burst.Settings{Client: "library", Ahead: ahead}, d.out, stderr); err != nil {
		return doc, err
	}
	doc.Client.WriteLost(stdout)
	fmt.Fprintln(stdout)
	doc.Client.WriteJobs(stdout)
	fmt.Fprintln(stdout)
	report.WriteSideBySide(stdout, doc.Naive, doc.Client)
	if ctx.Err() != nil {
		return doc, d.interrupted(stdout, doc.Client)
	}
	_, err = fmt.Fprintf(stdout, "\nPictures: %s\n", d.out)
	return doc, err
}

// interrupted says what had been done when Ctrl-C came.
func (d demo) interrupted(w io.Writer, r *report.Detail) error {
	_, err := fmt.Fprintf(w, "\nInterrupted during the %s burst: %d of %d jobs done, %d lost, %d stopped under way, %d not begun.\nPictures: %s\n",
		r.Client, r.Succeeded, r.Requests, r.Failed, r.Interrupted, r.NotStarted, d.out)
	return err
}

// drive runs the burst through one client, on an endpoint of its own.
func (d demo) drive(ctx context.Context, set burst.Settings, out string, stderr io.Writer) (*report.Detail, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("-out: %w", err)
	}
	plan, err := tryon.Plan(out)
	if err != nil {
		return nil, err
	}
	target, err := burst.Simulate("simulated", d.endpoint)
	if err != nil {
		return nil, err
	}
	set.Requests, set.Concurrency = d.requests, d.concurrency
	rec, p := burst.NewRecorder(nil), &burst.Progress{Jobs: d.requests}
	stop := burst.Every(3*time.Second, func() {
		fmt.Fprintf(stderr, "%-8s %d of %d done, %d lost, %d under way\n", set.Client, p.Done.Load(), p.Jobs, p.Lost.Load(), p.Running.Load())
	})
	err = burst.Drive(ctx, target, set, plan, rec, p)
	stop()
	if err != nil {
		return nil, err
	}
	l, err := rec.Log()
	return report.NewDetail(l), err
}

// twin describes the simulated endpoint. Every one has the same workers, cold
// starts and working times.
func twin() burst.Twin {
	return burst.Twin{Config: runpodtest.Config{
		Seed: seed, Loopback: true, Speed: speed, MaxWorkers: maxWorkers, QueueWait: queueWait,
		ColdStart: runpodtest.Range(coldStartMin, coldStartMax),
		Handler:   func(w runpodtest.Worker) http.Handler { return worker.TryOn(w.VolumeDir, (&gpu{worker: w}).work) },
	}}
}

// gpu imitates the model that a worker would run: the pictures are really
// made, and for the rest of the time a model takes the worker is kept busy.
type gpu struct {
	worker runpodtest.Worker
	runs   atomic.Uint64
}

// work returns when the model would, for a run that began at the given time,
// and how long that took.
func (g *gpu) work(began time.Time) float64 {
	r := rand.New(rand.NewPCG(seed, uint64(g.worker.Number)<<32|g.runs.Add(1)))
	model := workMin + time.Duration(r.Int64N(int64(workMax-workMin)))
	rest := time.NewTimer(model/speed - time.Since(began))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-g.worker.Context.Done():
	}
	return speed * time.Since(began).Seconds()
}

// writeJSON writes the document for -json.
func writeJSON(name string, doc document) error {
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}
