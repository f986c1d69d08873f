package main

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // png
	_ "gonum.org/v1/plot/vg/vgpdf"
	_ "gonum.org/v1/plot/vg/vgsvg"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/report"
)

// plotFormats are what a plot can be written as, by the ending of its file.
var plotFormats = []string{"png", "svg", "pdf"}

func plotFormat(name string) string { return strings.TrimPrefix(filepath.Ext(name), ".") }

// checkPlot refuses an ending that says no format.
func checkPlot(name string) error {
	if name == "" || slices.Contains(plotFormats, plotFormat(name)) {
		return nil
	}
	return fmt.Errorf("-plot %s: want a file that ends in .%s", name, strings.Join(plotFormats, ", ."))
}

// writePlot draws the runs over one another, for places that take a picture and
// no page, with gonum/plot. (The page itself and -svg are drawn by hand: why, is
// said in package report.) It shows how many of the jobs were done within a time, where the share that
// was lost is what a line lacks at its end, and the requests in flight.
func writePlot(w io.Writer, format string, logs []*burst.Log) error {
	done := newPlot("Jobs done within a time", "seconds from when a job was due", "% of the jobs")
	done.Y.Max = 100
	done.Legend.Top = false
	flight := newPlot("Requests at the endpoint", "seconds since the burst began", "requests")
	for i, l := range logs {
		name := l.Run.Name
		if len(logs) > 2 {
			name = fmt.Sprintf("%d: %s", i+1, name)
		}
		if err := addLine(done, name, i, doneWithin(l, longestJob(logs))); err != nil {
			return err
		}
		if err := addLine(flight, name, i, inFlight(l)); err != nil {
			return err
		}
	}
	return drawBelow(w, format, done, flight)
}

// drawBelow draws one plot below the other.
func drawBelow(w io.Writer, format string, upper, lower *plot.Plot) error {
	const width, height, pad = 16 * vg.Centimeter, 18 * vg.Centimeter, 0.3 * vg.Centimeter
	canvas, err := draw.NewFormattedCanvas(width, height, format)
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.FillPolygon(color.White, []vg.Point{{}, {X: width}, {X: width, Y: height}, {Y: height}})
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: 2 * pad, PadTop: pad, PadBottom: pad, PadLeft: pad, PadRight: 2 * pad}
	plots := [][]*plot.Plot{{upper}, {lower}}
	for i, row := range plot.Align(plots, tiles, all) {
		plots[i][0].Draw(row[0])
	}
	_, err = canvas.WriteTo(w)
	return err
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(6)
	p.Title.TextStyle.Font.Size = 13
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Variant = "Sans"
	}
	p.X.Min, p.Y.Min = 0, 0
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(3)
	return p
}

// ticks are about six, at round figures: the library's own are two or three, with
// decimals.
func ticks(from, to float64) (all []plot.Tick) {
	if !(to > from) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((to-from)/5)))
	for _, m := range []float64{5, 2} {
		if (to-from)/(m*step) >= 4 {
			step *= m
			break
		}
	}
	for i := math.Ceil(from / step); i*step <= to; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 6, 64)})
	}
	return all
}

// lineColours tell runs apart, also for those who do not tell red from green;
// dashes do besides.
var lineColours = []color.Color{color.RGBA{0xd1, 0x34, 0x5b, 255}, color.RGBA{0x1f, 0x5f, 0xbf, 255}, color.RGBA{0xb3, 0x7a, 0x12, 255}, color.RGBA{0x33, 0x33, 0x33, 255}}

func addLine(p *plot.Plot, name string, i int, points plotter.XYs) error {
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.StepStyle = plotter.PostStep
	l.Color, l.Width = lineColours[i%len(lineColours)], vg.Points(1.6)
	if i > 0 {
		l.Dashes = []vg.Length{vg.Points(float64(2 + 3*i)), vg.Points(2)}
	}
	p.Add(l)
	p.Legend.Add(name, l)
	return nil
}

func longestJob(logs []*burst.Log) (longest float64) {
	for _, l := range logs {
		for _, j := range l.Jobs {
			longest = max(longest, float64(j.End-j.Due))
		}
	}
	return longest
}

// doneWithin is the share of all jobs, in per cent, that were done within so many
// seconds, up to the longest that any run's job took.
func doneWithin(l *burst.Log, longest float64) plotter.XYs {
	var took []float64
	for _, j := range l.Jobs {
		if j.OK {
			took = append(took, float64(j.End-j.Due))
		}
	}
	slices.Sort(took)
	points := plotter.XYs{{}}
	of := float64(max(1, l.Run.Requests, len(l.Jobs)))
	for i, t := range took {
		points = append(points, plotter.XY{X: t, Y: 100 * float64(i+1) / of})
	}
	return append(points, plotter.XY{X: longest, Y: points[len(points)-1].Y})
}

func inFlight(l *burst.Log) plotter.XYs {
	points := plotter.XYs{{}}
	for _, s := range report.InFlight(l) {
		points = append(points, plotter.XY{X: float64(s.At), Y: float64(s.N)})
	}
	return points
}
