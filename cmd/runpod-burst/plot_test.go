package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// plotted is two runs: one that lost a job of four, and one that did nothing.
func plotted() []*burst.Log {
	l := &burst.Log{Run: burst.Run{Name: "naive", Requests: 4}}
	for i, end := range []burst.Seconds{30, 10, 20, 120} {
		l.Jobs = append(l.Jobs, burst.Job{Index: i, End: end, OK: i < 3, Attempts: []burst.Attempt{{Start: 1, End: end}}})
	}
	return []*burst.Log{l, {Run: burst.Run{Name: "library", Requests: 4}}}
}

func TestPlotPoints(t *testing.T) {
	logs := plotted()
	done := plotter.XYs{{X: 0, Y: 0}, {X: 10, Y: 25}, {X: 20, Y: 50}, {X: 30, Y: 75}, {X: 120, Y: 75}}
	flight := plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 4}, {X: 10, Y: 3}, {X: 20, Y: 2}, {X: 30, Y: 1}, {X: 120, Y: 0}}
	for name, points := range map[string][2]plotter.XYs{
		"done":                {doneWithin(logs[0], longestJob(logs)), done},
		"in flight":           {inFlight(logs[0]), flight},
		"nothing done":        {doneWithin(logs[1], 120), {{}, {X: 120}}},
		"nothing in flight":   {inFlight(logs[1]), {{}}},
		"nothing of anything": {doneWithin(logs[1], 0), {{}, {}}},
	} {
		got, want := points[0], points[1]
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				t.Errorf("%s: %v, want %v", name, got, want)
				break
			}
		}
	}
}

func TestPlotTicks(t *testing.T) {
	for _, tt := range []struct {
		from, to float64
		want     string
	}{{0, 100, "0 20 40 60 80 100"}, {0, 284, "0 50 100 150 200 250"}, {0, 15, "0 2 4 6 8 10 12 14"}, {-1, 1, "-1 -0.5 0 0.5 1"}, {3, 3, ""}} {
		var labels []string
		for _, one := range ticks(tt.from, tt.to) {
			labels = append(labels, one.Label)
		}
		if got := strings.Join(labels, " "); got != tt.want {
			t.Errorf("%v to %v: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestPlotFormats(t *testing.T) {
	for _, logs := range [][]*burst.Log{plotted(), plotted()[1:], append(plotted(), plotted()...)} {
		made := map[string]*bytes.Buffer{}
		for _, format := range plotFormats {
			made[format] = &bytes.Buffer{}
			if err := writePlot(made[format], format, logs); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
		if !bytes.HasPrefix(made["pdf"].Bytes(), []byte("%PDF-")) {
			t.Error("the pdf is none")
		}
		if img, err := png.Decode(made["png"]); err != nil || img.Bounds().Dx() < 500 {
			t.Errorf("png: %v", err)
		}
		text := made["svg"].String()
		if !strings.Contains(text, "library") || strings.Contains(text, "1: naive") != (len(logs) > 2) {
			t.Errorf("the legend of %d runs is not in the picture", len(logs))
		}
		for d := xml.NewDecoder(made["svg"]); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
