package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// display shows how a run stands until it is stopped.
type display struct {
	name    string
	p       *burst.Progress
	w       io.Writer
	term    bool
	began   time.Time
	done    chan struct{}
	stopped sync.WaitGroup
}

// show begins a display: a bar that is drawn anew on a terminal, plain lines
// every few seconds elsewhere.
func show(w io.Writer, name string, p *burst.Progress) *display {
	d := &display{name: name, p: p, w: w, term: isTerminal(w), began: time.Now(), done: make(chan struct{})}
	d.stopped.Go(d.run)
	return d
}

func (d *display) run() {
	every := 3 * time.Second
	if d.term {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.print()
		case <-d.done:
			d.print()
			if d.term {
				fmt.Fprintln(d.w)
			}
			return
		}
	}
}

// stop prints the last state and waits until nothing more is printed.
func (d *display) stop() {
	close(d.done)
	d.stopped.Wait()
}

func (d *display) print() {
	if d.term {
		fmt.Fprintf(d.w, "\r%s%s\x1b[K", d.bar(), d)
	} else {
		fmt.Fprintln(d.w, d)
	}
}

// bar is how much is done, where it is known how much there is.
func (d *display) bar() string {
	const width = 20
	if d.p.Jobs == 0 {
		return ""
	}
	full := int(d.p.Done.Load()+d.p.Lost.Load()) * width / d.p.Jobs
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] "
}

func (d *display) String() string {
	p := d.p
	of := ""
	if p.Jobs > 0 {
		of = fmt.Sprintf(" of %d", p.Jobs)
	}
	return fmt.Sprintf("%s %s: %d%s done, %d lost, %d under way, %d at the endpoint, %d cold 400s, %d workers seen, %s up",
		d.name, time.Since(d.began).Round(100*time.Millisecond), p.Done.Load(), of, p.Lost.Load(), p.Running.Load(),
		p.AtEndpoint.Load(), p.Cold.Load(), p.Workers.Load(), size(p.BytesUp.Load()))
}

func size(n int64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
