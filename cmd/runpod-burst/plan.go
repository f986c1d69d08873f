package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/plan"
)

const planUsage = `runpod-burst plan -config endpoint.json -requests N -concurrency N -within TIME [flags]

Computes bursts over minimum and maximum workers, scaler value, idle timeout,
requests in flight and warm-up, and prints the cheapest setting with which they are
done in time, what else could be chosen, and the words for it. The same seed has the
same plan. The exit status is 1 if nothing keeps the promise.

`

// planFlags is the command line of plan.
type planFlags struct {
	plan.Options
	config, preset, report string
	quiet                  bool
}

func parsePlan(args []string, stdout io.Writer) (*planFlags, error) {
	o := &planFlags{}
	f := flag.NewFlagSet("runpod-burst plan", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", "", "the endpoint, JSON as runpod-burst fit writes it in a `file`")
	f.StringVar(&o.preset, "preset", "", "instead of -config, the endpoint of a stress `test`: run1, run2, run3")
	f.IntVar(&o.Requests, "requests", 30, "how many requests the burst has")
	f.IntVar(&o.Concurrency, "concurrency", 15, "how many are in flight at the most")
	f.DurationVar(&o.Within, "within", 10*time.Minute, "all are to be served in this `time`")
	f.Float64Var(&o.Share, "share", 0.95, "in this `share` of bursts")
	f.Float64Var(&o.Price, "price", 0, "what a worker costs in a `second`, in any currency")
	f.IntVar(&o.MaxWorkers, "max-workers", 10, "the most workers to consider")
	f.DurationVar(&o.Upload, "upload", 0, "`time` that a request's uploads take before it is sent; warm-up begins with them")
	f.Uint64Var(&o.Seed, "seed", 1, "the random draws")
	f.IntVar(&o.Runs, "runs", 200, "bursts computed for each setting that is looked at closely")
	f.StringVar(&o.report, "report", "", "write the plan to this `file`, one page of HTML")
	f.BoolVar(&o.quiet, "q", false, "print nothing but errors")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, planUsage)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q: unexpected; flags begin with a dash, see -h", f.Arg(0))
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, o.endpoint()
}

func (o *planFlags) check() error {
	switch {
	case (o.config == "") == (o.preset == ""):
		return errors.New("-config: name the file of the endpoint, as runpod-burst fit writes it, or one of the stress tests with -preset, not both")
	case o.Requests < 1 || o.Requests > 100_000:
		return fmt.Errorf("-requests %d: want 1 to 100000", o.Requests)
	case o.Concurrency < 1 || o.Concurrency > 10_000:
		return fmt.Errorf("-concurrency %d: want 1 to 10000", o.Concurrency)
	case o.Within <= 0:
		return fmt.Errorf("-within %v: want a time above 0, such as 10m", o.Within)
	case !(o.Share > 0 && o.Share <= 1):
		return fmt.Errorf("-share %g: want more than 0, at most 1", o.Share)
	case !(o.Price >= 0):
		return fmt.Errorf("-price %g: want 0 or more", o.Price)
	case o.MaxWorkers < 1 || o.MaxWorkers > 1000:
		return fmt.Errorf("-max-workers %d: want 1 to 1000", o.MaxWorkers)
	case o.Upload < 0:
		return fmt.Errorf("-upload %v: want 0 or more", o.Upload)
	case o.Runs < 20 || o.Runs > 100_000:
		return fmt.Errorf("-runs %d: want 20 to 100000", o.Runs)
	}
	if o.report != "" {
		if info, err := os.Stat(filepath.Dir(o.report)); err != nil {
			return fmt.Errorf("-report: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("-report: %s is no folder", filepath.Dir(o.report))
		}
	}
	return nil
}

// endpoint finds the endpoint that was named.
func (o *planFlags) endpoint() error {
	if o.preset != "" {
		p, known := burst.Presets[o.preset]
		if !known {
			return fmt.Errorf("-preset %s: want %s", o.preset, strings.Join(slices.Sorted(maps.Keys(burst.Presets)), ", "))
		}
		o.Config.Preset = p.Preset()
		return nil
	}
	t, err := burst.ReadTwin(o.config)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	o.Config = t.Config
	if _, err := o.Config.Draws(); err != nil {
		return fmt.Errorf("-config: %s: %w", o.config, err)
	}
	return nil
}

// makePlan is the command plan.
func makePlan(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parsePlan(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		return fail(stderr, fmt.Errorf("plan: %w", err), exitUsage)
	}
	progress := stderr
	if o.quiet {
		stdout, progress = io.Discard, io.Discard
	}
	o.Computed = new(atomic.Int64)
	stop := showPlan(progress, o.Options)
	p, err := plan.Make(ctx, o.Options)
	stop()
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case err != nil:
		return fail(stderr, fmt.Errorf("plan: %w", err), exitUsage)
	}
	if err := p.Print(stdout); err != nil {
		return fail(stderr, err, exitLost)
	}
	if o.report != "" {
		if err := writeWhole(o.report, p.WriteHTML); err != nil {
			return fail(stderr, fmt.Errorf("plan: -report: %w", err), exitLost)
		}
		fmt.Fprintf(stdout, "\n%s is written.\n", o.report)
	}
	if p.Best == nil {
		return exitLost
	}
	return exitDone
}

// showPlan shows how far the computing is, on a terminal as a bar, elsewhere as a
// line every few seconds, until stop is called.
func showPlan(w io.Writer, o plan.Options) (stop func()) {
	about := o.Estimate()
	bar := pb.New(about).SetTemplateString(`{{counters .}} bursts {{bar . "[" "#" "#" "." "]"}} {{etime .}}`).SetWriter(w).Set(pb.Color, false)
	if !bar.GetBool(pb.Terminal) {
		return burst.Every(5*time.Second, func() { fmt.Fprintf(w, "%d bursts computed, of about %d\n", o.Computed.Load(), about) })
	}
	bar.Start()
	halt := burst.Every(100*time.Millisecond, func() { bar.SetCurrent(o.Computed.Load()) })
	return func() { halt(); bar.Finish() }
}
