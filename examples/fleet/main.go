// Fleet shows a batch on several machines: 60 round trips, done by three worker
// processes that share a queue and a limit of 16 calls. In the middle one process
// is killed with SIGKILL and another one is added. The queue's server runs in
// this process, and so does the endpoint, which is simulated and cold.
//
//	go run ./examples/fleet
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

const (
	jobs     = 60
	inFlight = 16
	slots    = 8               // of each process
	lease    = 2 * time.Second // short, so that the kill shows; most fleets keep the default
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := show
	if os.Getenv(workerVariable) != "" {
		do = work
	}
	if err := do(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// show runs the whole demonstration.
func show(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "runpod-fleet-")
	if err != nil {
		return err
	}
	e, err := newEndpoint()
	if err != nil {
		return err
	}
	defer e.Close()
	srv, err := embedded.Start(filepath.Join(dir, "queue"))
	if err != nil {
		return err
	}
	defer srv.Close()
	client, err := e.settings().client()
	if err != nil {
		return err
	}
	defer client.Close()
	f, err := fleet.Open(ctx, srv.Conn(), fleet.Config{Name: "tryon", InFlight: inFlight, Lease: lease})
	if err != nil {
		return err
	}
	defer f.Close()
	specs, err := photographs(dir)
	if err != nil {
		return err
	}
	n, err := f.Submit(ctx, client, slices.Values(specs))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d jobs submitted, 2 files each, %d uploads. Three processes of %d slots; at most %d calls together.\n\n", n, client.Stats().Uploads, slots, inFlight)
	c := crew{settings: e.settings(), url: srv.URL(), token: srv.Token(), out: out}
	defer c.end()
	if err := c.start("anna", "ben", "carla"); err != nil {
		return err
	}
	t, err := follow(ctx, f, client, &c, filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	return t.report(out, e.Stats().PeakInFlight, filepath.Join(dir, "out"))
}

// tally is what the results came to.
type tally struct {
	results map[string]int // by the job's id
	by      map[string]int // by the machine's name
	failed  []error
}

// follow reads the results as they come, prints how things stand, and kills and
// adds a process in the middle.
func follow(ctx context.Context, f *fleet.Fleet, client *runpod.Client, c *crew, dir string) (tally, error) {
	t := tally{results: map[string]int{}, by: map[string]int{}}
	ctx, stop := context.WithCancel(ctx)
	var table sync.WaitGroup
	table.Go(func() { watch(ctx, f, c) })
	defer table.Wait()
	defer stop()
	for r, err := range f.Results(ctx, fleet.Save(client, dir)) {
		if r.ID == "" {
			return t, err
		}
		if err != nil {
			t.failed = append(t.failed, err)
		}
		t.results[r.ID]++
		t.by[r.Machine]++
		var err2 error
		switch len(t.results) {
		case jobs / 3:
			err2 = c.kill("ben")
		case jobs/3 + 5:
			err2 = c.start("dora")
		}
		if err2 != nil {
			return t, err2
		}
	}
	return t, nil
}

// report says what came of it, and is an error if that is not what was promised.
func (t tally) report(out io.Writer, peak int, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	once := 0
	for _, n := range t.results {
		if n == 1 {
			once++
		}
	}
	fmt.Fprintf(out, "\n%d of %d jobs have their result, each once; %d files in %s\nat most %d calls were in flight\n", once, jobs, len(files), dir, peak)
	for _, name := range slices.Sorted(maps.Keys(t.by)) {
		fmt.Fprintf(out, "%-6s did %2d\n", name, t.by[name])
	}
	if once != jobs || len(t.results) != jobs || len(files) != jobs || peak > inFlight {
		t.failed = append(t.failed, errors.New("that is not what was promised"))
	}
	return errors.Join(t.failed...)
}

// watch prints a line of the table each half second.
func watch(ctx context.Context, f *fleet.Fleet, c *crew) {
	began := time.Now()
	fmt.Fprintf(c, "%5s %5s %8s %8s  %s\n", "time", "done", "running", "waiting", "calls of each process")
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := f.Status(ctx)
		if err != nil {
			continue // the last line was the last
		}
		calls, running := map[string]int{}, 0
		for _, r := range st.Running {
			if r.Lost { // until others have its jobs
				calls[r.Machine+" (gone)"]++
				continue
			}
			calls[r.Machine]++
			running++
		}
		var each []string
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			each = append(each, fmt.Sprintf("%s %d", name, calls[name]))
		}
		fmt.Fprintf(c, "%4.1fs %5d %8d %8d  %s\n", time.Since(began).Seconds(), st.Done, running, st.Waiting, strings.Join(each, ", "))
	}
}
