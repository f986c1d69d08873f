package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// meter is the progress line of one burst. It is safe for concurrent use.
type meter struct {
	name     string
	requests int
	clock    stopwatch

	mu                  sync.Mutex
	running, done, lost int
	stop                chan struct{}
	stopped             sync.WaitGroup
}

// startMeter prints how the burst stands until finish is called: over and over
// on one line of a terminal, every few seconds on a new line elsewhere.
func startMeter(w *os.File, name string, requests int, clock stopwatch) *meter {
	m := &meter{name: name, requests: requests, clock: clock, stop: make(chan struct{})}
	format, every := "%s\n", 3*time.Second
	if isTerminal(w) {
		format, every = "\r%s\x1b[K", 100*time.Millisecond
	}
	m.stopped.Go(func() { m.show(w, format, every) })
	return m
}

func (m *meter) show(w io.Writer, format string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(w, format, m)
		case <-m.stop:
			fmt.Fprintf(w, format, m)
			return
		}
	}
}

// finish prints the last state and waits until nothing more is printed.
func (m *meter) finish() {
	close(m.stop)
	m.stopped.Wait()
}

func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
}

func (m *meter) end(o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	switch {
	case o.Err == nil:
		m.done++
	case !o.Stopped:
		m.lost++
	}
}

func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%-8s %d of %d done, %d lost, %d under way, %v s", m.name, m.done, m.requests, m.lost, m.running, m.clock.now())
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
