package main

import (
	"fmt"
	"os"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// showProgress prints how a burst stands, until stop is called: over and over on
// one line of a terminal, every few seconds on a new line elsewhere.
func showProgress(w *os.File, name string, p *burst.Progress, timeRuns float64) (stop func()) {
	began := time.Now()
	state := func() string {
		return fmt.Sprintf("%-8s %d of %d done, %d lost, %d under way, %.1f s", name, p.Done.Load(), p.Jobs, p.Lost.Load(),
			p.Running.Load(), timeRuns*time.Since(began).Seconds())
	}
	if !isTerminal(w) {
		return burst.Every(3*time.Second, func() { fmt.Fprintln(w, state()) })
	}
	end := burst.Every(100*time.Millisecond, func() { fmt.Fprintf(w, "\r%s\x1b[K", state()) })
	return func() {
		end()
		fmt.Fprintln(w)
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
