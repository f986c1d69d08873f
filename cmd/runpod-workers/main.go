// Runpod-workers shows and changes the worker bounds of a Runpod endpoint: what an
// operator does before and after a burst.
//
//	runpod-workers list                    the endpoint, its workers, the holds
//	runpod-workers set -min 0 -max 3       change the bounds for good
//	runpod-workers hold -n 3 -for 20m      raise the minimum, and lower it again
//	runpod-workers release                 clear what killed processes left raised
//	runpod-workers release -all            end every hold, also of those that live
//
// The endpoint is RUNPOD_ENDPOINT_ID or -endpoint, the key RUNPOD_API_KEY. Holds
// are recorded on the network volume that the RUNPOD_S3_ variables name, or
// without them in the user's cache folder: to see what a service has left behind,
// set the same variables as the service.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unicode"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "runpod-workers:", err)
		os.Exit(1)
	}
}

// tool is one run of the program.
type tool struct {
	id     string
	plane  *control.Client
	client *runpod.Client
	out    io.Writer
}

// plain writes text so that names which others chose move no cursor and hide
// nothing: what cannot be printed becomes a question mark.
type plain struct{ to io.Writer }

func (p plain) Write(text []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	if _, err := p.to.Write(shown); err != nil {
		return 0, err
	}
	return len(text), nil
}

// run does what the command line says.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	t := &tool{id: o.endpoint, out: plain{out}}
	if t.plane, err = control.New(o.control()...); err != nil {
		return err
	}
	defer t.plane.Close()
	if t.client, err = runpod.New(runpod.WithControl(t.plane.For(t.id))); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.client.Close()) }()
	switch o.command {
	case "list":
		return t.list(ctx)
	case "set":
		return t.set(ctx, o.change)
	case "hold":
		return t.hold(ctx, o.n, o.span)
	default:
		return t.release(ctx, o.all)
	}
}

func (t *tool) list(ctx context.Context) error {
	e, err := t.plane.Endpoint(ctx, t.id)
	if err != nil {
		return err
	}
	workers, err := t.plane.ListWorkers(ctx, t.id)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "endpoint %s (%s), %s\n", e.ID, e.Name, e.Type)
	t.bounds(e)
	if e.Type == control.Queue {
		fmt.Fprintln(t.out, "It is not a load-balancing endpoint: it answers no call of package runpod.")
	}
	ready, _ := t.client.Ready(ctx) // its error says no more than the warnings, and what is above
	for _, warning := range ready.Warnings {
		fmt.Fprintln(t.out, "Warning:", warning)
	}
	fmt.Fprintf(t.out, "%d workers\n", len(workers))
	for _, w := range workers {
		fmt.Fprintf(t.out, "  %-16s %-12s %s x %d, %s, up %s\n", w.ID, w.Status, w.GPUTypeID, w.GPUCount, w.DataCenterID, time.Duration(w.UptimeSeconds)*time.Second)
	}
	return t.holds(ctx)
}

func (t *tool) bounds(e control.Endpoint) {
	fmt.Fprintf(t.out, "workers: minimum %d, maximum %d, idle timeout %d s; one for every %d requests\n",
		e.Workers.Min, e.Workers.Max, e.Workers.IdleTimeout, e.Scaling.RequestCount)
}

func (t *tool) holds(ctx context.Context) error {
	holds, err := t.client.Holds(ctx)
	odd := errors.Is(err, runpod.ErrIntegrity) // something among the records is none
	if err != nil && !odd {
		return err
	}
	fmt.Fprintf(t.out, "%d holds recorded\n", len(holds))
	for _, h := range holds {
		t.show(h)
		if h.Stale() {
			fmt.Fprintln(t.out, "  It is stale: nobody will lower the minimum. Run: runpod-workers release")
		}
	}
	if odd {
		fmt.Fprintln(t.out, err)
	}
	return nil
}

func (t *tool) show(h runpod.HoldRecord) {
	fmt.Fprintf(t.out, "  %d workers since %s (before: %d), last renewed %s ago, by %s\n",
		h.Workers, h.Taken.Format(time.DateTime), h.Before, time.Since(h.Renewed).Round(time.Second), h.Owner)
}

func (t *tool) set(ctx context.Context, change control.Change) error {
	e, err := t.plane.Update(ctx, t.id, change)
	if err != nil {
		return err
	}
	t.bounds(e)
	return nil
}

// hold holds for a while, or until it is interrupted; either way the minimum is
// lowered again.
func (t *tool) hold(ctx context.Context, n int, span time.Duration) error {
	h, err := t.client.HoldWorkers(ctx, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Holding %d workers for %s; Ctrl-C ends it. They are up one cold start from now.\n", n, span)
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := h.Release(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Released. Held for %.0f worker-seconds.\n", t.client.Stats().HeldWorkerSeconds)
	return nil
}

func (t *tool) release(ctx context.Context, all bool) error {
	gone, err := t.client.ClearHolds(ctx, all)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%d holds cleared\n", len(gone))
	for _, h := range gone {
		t.show(h)
	}
	if err := t.holds(ctx); err != nil {
		return err
	}
	e, err := t.plane.Endpoint(ctx, t.id)
	if err != nil {
		return err
	}
	t.bounds(e)
	if e.Workers.Min > 0 {
		fmt.Fprintln(t.out, "A minimum above 0 is paid for all the time. If nobody wants it: runpod-workers set -min 0")
	}
	return nil
}
