package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// underWay is a burst of 40 jobs after a while, as displays show it.
func underWay() *burst.Progress {
	p := &burst.Progress{Jobs: 40}
	p.Done.Store(19)
	p.Lost.Store(1)
	p.Running.Store(15)
	p.AtEndpoint.Store(12)
	p.Cold.Store(7)
	p.Workers.Store(3)
	p.BytesUp.Store(4_200_000)
	return p
}

// onTerminal draws a display as a terminal of so many columns gets it, for two
// seconds, and returns the lines that were drawn over one another.
func onTerminal(t *testing.T, p *burst.Progress, columns int) (drawn []string) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		d := &display{name: "library", p: p, began: time.Now()}
		d.draw(d.bar().Set(pb.Terminal, true).SetWidth(columns).SetWriter(&out))
		time.Sleep(2 * time.Second) // of the bubble's
		p.Done.Add(1)
		d.stop()
		after := out.Len()
		time.Sleep(2 * time.Second)
		if out.Len() != after {
			t.Error("it draws after its end")
		}
	})
	text, ended := strings.CutSuffix(out.String(), "\n")
	if !ended || strings.Contains(text, "\n") {
		t.Errorf("want one line that ends at the end: %q", out.String())
	}
	return strings.Split(text, "\r")[1:]
}

func TestDisplayOnATerminal(t *testing.T) {
	drawn := onTerminal(t, underWay(), 120)
	if len(drawn) < 15 {
		t.Errorf("drawn %d times in 2 s", len(drawn))
	}
	for _, want := range []string{"library 19/40 done [", "1 lost, 12 in flight, 7 cold 400s, 3 workers, 4.2 MB up, 1s"} {
		if !strings.Contains(strings.Join(drawn, "\n"), want) {
			t.Errorf("%q is not in %q", want, drawn)
		}
	}
	last := drawn[len(drawn)-1]
	bar := last[strings.Index(last, "[")+1 : strings.Index(last, "]")]
	if share := float64(strings.Count(bar, "#")) / float64(len(bar)); !strings.Contains(last, "20/40 done") || share < 0.5 || share > 0.56 {
		t.Errorf("20 jobs done and 1 lost, of 40, are drawn as %q", last)
	}
	for _, line := range drawn {
		if len(line) != 120 {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	if first := onTerminal(t, underWay(), 80)[0]; !strings.Contains(first, "4.2 MB up, 0s") {
		t.Errorf("80 columns are not enough: %q", first)
	}
	for _, line := range onTerminal(t, underWay(), 50) {
		if len(line) > 50 {
			t.Errorf("a narrow window breaks the line: %q", line)
		}
	}
	unknown := underWay()
	unknown.Jobs = 0
	if last := onTerminal(t, unknown, 120)[0]; !strings.HasPrefix(last, "library 19 done 1 lost, ") {
		t.Errorf("without a number of jobs: %q", last)
	}
}

func TestDisplayElsewhere(t *testing.T) {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		d := show(&out, "library", underWay())
		time.Sleep(7 * time.Second)
		d.stop()
	})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	const want = "library 3s: 19 of 40 done, 1 lost, 15 under way, 12 in flight, 7 cold 400s, 3 workers seen, 4.2 MB up"
	if len(lines) != 3 || lines[0] != want {
		t.Errorf("%q, want three lines, the first %q", lines, want)
	}
}
