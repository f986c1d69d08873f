package main

import (
	"fmt"
	"io"
	"os"
	"strings"
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
	first               seconds // when the first job was done; 0: none is
	stop                chan struct{}
	stopped             sync.WaitGroup
}

// startMeter prints how the burst stands until finish is called: over and over
// on one line of a terminal, every few seconds on a new line elsewhere.
func startMeter(w *os.File, name string, requests int, clock stopwatch) *meter {
	m := &meter{name: name, requests: requests, clock: clock, stop: make(chan struct{})}
	every, before, after := 3*time.Second, "", "\n"
	if isTerminal(w) {
		every, before, after = 100*time.Millisecond, "\r", "\x1b[K"
	}
	m.stopped.Go(func() { m.show(w, every, before, after) })
	return m
}

func (m *meter) show(w io.Writer, every time.Duration, before, after string) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprint(w, before, m, after)
		case <-m.stop:
			fmt.Fprintln(w, before+m.String()+strings.TrimSuffix(after, "\n"))
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
		if m.done == 1 {
			m.first = m.clock.now()
		}
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
