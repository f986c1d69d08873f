package main

import (
	"fmt"
	"io"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// display shows how a run stands, until stop. Nothing else may be written to its
// writer meanwhile.
type display struct {
	name  string
	p     *burst.Progress
	began time.Time
	stop  func() // draws the last state, and returns when nothing more is drawn
}

// show begins a display: on a terminal one line that is drawn anew, no wider than
// the window; elsewhere a plain line every few seconds.
func show(w io.Writer, name string, p *burst.Progress) *display {
	d := &display{name: name, p: p, began: time.Now()}
	if bar := d.bar().SetWriter(w); bar.GetBool(pb.Terminal) {
		d.draw(bar)
	} else {
		d.stop = burst.Every(3*time.Second, func() { fmt.Fprintln(w, d) })
	}
	return d
}

func init() {
	of := func(part func(*display) string) pb.ElementFunc {
		return func(s *pb.State, _ ...string) string {
			d := s.Get("display").(*display)
			s.SetCurrent(d.ended()) // for the bar's next drawing
			return part(d)
		}
	}
	pb.RegisterElement("jobs", of((*display).jobs), false)
	pb.RegisterElement("rest", of((*display).rest), false)
}

// bar is the terminal's line. Where the number of jobs is not known, a bar would
// say nothing.
func (d *display) bar() *pb.ProgressBar {
	line := `{{jobs .}} {{rest .}}`
	if d.p.Jobs > 0 {
		line = `{{jobs .}} {{bar . "[" "#" "#" "." "]"}} {{rest .}}`
	}
	return pb.New(d.p.Jobs).SetTemplateString(line).SetRefreshRate(100*time.Millisecond).Set("display", d).Set(pb.Color, false)
}

// draw has the bar drawn by its own goroutine, for which Finish waits.
func (d *display) draw(bar *pb.ProgressBar) {
	bar.Start()
	d.stop = func() { bar.SetCurrent(d.ended()).Finish() }
}

// ended is how many jobs came to an end, good or bad.
func (d *display) ended() int64 { return d.p.Done.Load() + d.p.Lost.Load() }

func (d *display) jobs() string {
	if d.p.Jobs == 0 {
		return fmt.Sprintf("%s %d done", d.name, d.p.Done.Load())
	}
	return fmt.Sprintf("%s %d/%d done", d.name, d.p.Done.Load(), d.p.Jobs)
}

// rest is what follows the bar: short, for windows of 80 columns and more.
func (d *display) rest() string {
	p := d.p
	return fmt.Sprintf("%d lost, %d in flight, %d cold 400s, %d workers, %s up, %.0fs",
		p.Lost.Load(), p.AtEndpoint.Load(), p.Cold.Load(), p.Workers.Load(), size(p.BytesUp.Load()), time.Since(d.began).Seconds())
}

func (d *display) String() string {
	p := d.p
	of := ""
	if p.Jobs > 0 {
		of = fmt.Sprintf(" of %d", p.Jobs)
	}
	return fmt.Sprintf("%s %s: %d%s done, %d lost, %d under way, %d in flight, %d cold 400s, %d workers seen, %s up",
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
