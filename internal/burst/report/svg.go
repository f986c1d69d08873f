package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// stageColours are those of the page in light, in the order of stageNames.
var stageColours = []string{"#d8dde3", "#b7bec8", "#4f8fd9", "#cfc6e6", "#f2b34c", "#2f9e6e", "#7fb069", "#e3d3b4", "#8a63c7"}

const colourLost, colourStarting, colourReady = "#d1345b", "#c77f53", "#9fc9b4"

// maxSVGJobs bounds a picture that is to be read row by row.
const maxSVGJobs = 500

// svgHead begins the picture, which like the page follows the reader's light or
// dark. Its verbs are for the height and what it shows.
const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 %d" role="img" font-family="sans-serif" font-size="11">
<title>%s</title>
<style>.paper{fill:#fff}text{fill:#333}.line{fill:#d7dce3}@media(prefers-color-scheme:dark){.paper{fill:#12161c}text{fill:#e6e9ee}.line{fill:#333c49}}</style>
<rect class="paper" width="100%%" height="100%%"/>
`

// WriteSVG draws the timeline of each run, at most 500 jobs of it, as one picture:
// for a README, where the page's script does not run. It is written by hand since
// a plotting library's output has no words for a bar under the pointer or a screen
// reader, and one look only.
func WriteSVG(w io.Writer, logs []*burst.Log) error {
	const width, left, rowHeight = 960, 60, 9
	runs := newRuns(logs, Options{})
	var b bytes.Buffer
	y, last := 30, seconds(1)
	for _, r := range runs {
		last = max(last, r.Figures.Seconds)
	}
	x := func(t seconds) float64 { return left + float64(t/last)*(width-left-16) }
	for _, r := range runs {
		fmt.Fprintf(&b, `<text x="12" y="%d" font-size="14" font-weight="bold">%s: %s</text>`+"\n", y, xmlText(r.Name()), xmlText(r.Verdict().Headline))
		y += 10
		rows := min(len(r.log.Jobs), maxSVGJobs) + len(r.log.Workers)
		svgAxis(&b, last, x, y, rows*rowHeight+6)
		y = svgJobs(&b, r, x, y, rowHeight)
		y = svgWorkers(&b, r, x, y+6, rowHeight) + 48
	}
	y = svgLegend(&b, runs, y)
	_, err := fmt.Fprintf(w, svgHead+"%s</svg>\n", y, xmlText(title(runs)), b.Bytes())
	return err
}

// svgAxis draws a line for about every eighth of the time, with its second beneath.
func svgAxis(b *bytes.Buffer, last seconds, x func(seconds) float64, y, height int) {
	width := niceWidth(last / 8)
	for t := seconds(0); t <= last; t += width {
		fmt.Fprintf(b, `<rect class="line" x="%.1f" y="%d" width="1" height="%d"/><text x="%.1f" y="%d" text-anchor="middle" font-size="10">%g s</text>`+"\n",
			x(t), y, height, x(t), y+height+12, float64(t))
	}
}

// svgLegend explains the colours that the runs have, and returns where the picture ends.
func svgLegend(b *bytes.Buffer, runs []*run, y int) int {
	n := 0
	entry := func(name, colour string) {
		x, y := 12+n%5*190, y+n/5*18
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y-9, colour, x+14, y, name)
		n++
	}
	for i, name := range stageNames {
		if slices.ContainsFunc(runs, func(r *run) bool { return r.Figures.Stages[name] > 0 }) {
			entry(name, stageColours[i])
		}
	}
	entry("lost, or sent again", colourLost)
	entry("worker starting", colourStarting)
	entry("worker ready", colourReady)
	return y + (n+4)/5*18
}

func svgJobs(b *bytes.Buffer, r *run, x func(seconds) float64, y, h int) int {
	for i := range r.log.Jobs[:min(len(r.log.Jobs), maxSVGJobs)] {
		j := &r.log.Jobs[i]
		for _, s := range stages(j) {
			colour := stageColours[slices.Index(stageNames, s.name)]
			if s.attempt >= 0 && s.attempt == len(j.Attempts)-1 && !j.OK {
				colour = colourLost
			}
			svgBar(b, x(s.from), x(s.to), y, h-1, colour, fmt.Sprintf("job %s, %s: %v", j.ID, s.name, s.to-s.from))
		}
		for _, a := range j.Attempts[:max(0, len(j.Attempts)-1)] {
			svgBar(b, x(a.End)-1.5, x(a.End)+1.5, y, h-1, colourLost, "sent again: "+a.Reason)
		}
		y += h
	}
	return y
}

func svgWorkers(b *bytes.Buffer, r *run, x func(seconds) float64, y, h int) int {
	for _, w := range r.log.Workers {
		end := workerEnd(r.log, w)
		svgBar(b, x(w.Begun), x(max(w.Begun, w.Ready)), y, h-1, colourStarting, w.ID+" starting")
		svgBar(b, x(max(w.Begun, w.Ready)), x(end), y, h-1, colourReady, w.ID+" ready")
		fmt.Fprintf(b, `<text x="12" y="%d" font-size="9">worker</text>`+"\n", y+h-1)
		y += h
	}
	return y
}

func svgBar(b *bytes.Buffer, from, to float64, y, h int, colour, title string) {
	if to-from < 0.05 {
		return
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s</title></rect>`+"\n", from, y, to-from, h, colour, xmlText(title))
}

func xmlText(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Bucket is one bar of the distribution of latencies.
type Bucket struct {
	From, To string
	Count    int
	Width    string // of the bar, in per cent
}

// Latencies is how long the jobs that succeeded took, in about 12 classes.
func (r *run) Latencies() (all []Bucket) {
	var took []seconds
	for _, j := range r.log.Jobs {
		if j.OK {
			took = append(took, j.End-j.Due)
		}
	}
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	width := niceWidth(took[len(took)-1] / 12)
	counts := make([]int, int(took[len(took)-1]/width)+1)
	for _, t := range took {
		counts[int(t/width)]++
	}
	first := int(took[0] / width)
	for i, n := range counts[first:] {
		from := width * seconds(first+i)
		all = append(all, Bucket{from.String(), (from + width).String(), n, fmt.Sprintf("%.1f", 100*float64(n)/float64(slices.Max(counts)))})
	}
	return all
}

// niceWidth is the next of 1, 2, 5, 10, 20 ... seconds or their tenths.
func niceWidth(s seconds) seconds {
	power := seconds(math.Pow(10, math.Floor(math.Log10(math.Max(float64(s), 1e-3)))))
	for _, m := range []seconds{1, 2, 5} {
		if m*power >= s {
			return m * power
		}
	}
	return 10 * power
}

// BarStyle is a bar's width as a style.
func (b Bucket) BarStyle() template.CSS { return template.CSS("width:" + b.Width + "%") }
