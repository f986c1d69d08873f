package plan

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"time"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("plan").Parse(pageHTML))

// The frontier's picture, in its own units.
const (
	width, height = 900.0, 380.0
	left, bottom  = 80.0, 50.0
	right, top    = 20.0, 20.0
)

// point is a setting in the picture.
type point struct {
	X, Y float64
	Best bool
	Text string
}

type tick struct {
	At   float64
	Text string
}

// WriteHTML writes the plan as one page that loads nothing.
func (p *Plan) WriteHTML(w io.Writer) error {
	var best [][2]string
	var words []string
	if p.Best != nil {
		best, words = p.Facts(*p.Best), p.Words()
	}
	points, path, across, up := p.picture()
	rows := p.Rows()
	return page.Execute(w, map[string]any{
		"Plan": p, "Best": best, "Words": words, "Points": points, "Path": path, "Across": across, "Up": up,
		"Heads": rows[0], "Rows": rows[1:], "Answer": p.Answer(),
		"Width": width, "Height": height, "Left": left, "Right": width - right, "Floor": height - bottom, "Top": top,
	})
}

// picture places the frontier: time across, on a logarithmic scale, since settings
// may differ tenfold in it; cost up, over the range that there is.
func (p *Plan) picture() (points []point, path string, across, up []tick) {
	if len(p.Frontier) == 0 {
		return nil, "", nil, nil
	}
	fast, slow := p.Frontier[0], p.Frontier[len(p.Frontier)-1] // the dearest, the cheapest
	from, to := 0.9*fast.Time.P95.Seconds(), 1.1*slow.Time.P95.Seconds()
	cheap, dear := 0.98*slow.Billed.Seconds(), 1.02*fast.Billed.Seconds()
	x := func(s float64) float64 { return left + math.Log(s/from)/math.Log(to/from)*(width-left-right) }
	y := func(s float64) float64 { return height - bottom - (s-cheap)/(dear-cheap)*(height-top-bottom) }
	for i, r := range p.Frontier {
		at := point{X: x(r.Time.P95.Seconds()), Y: y(r.Billed.Seconds()), Best: p.Best != nil && r.Setting == p.Best.Setting,
			Text: fmt.Sprintf("95 %% within %s, %s, kept in %.1f of 100: %s", duration(r.Time.P95), p.cost(r.Billed), 100*r.Kept, r.Setting)}
		points = append(points, at)
		path += fmt.Sprintf("%c%.1f %.1f", "ML"[min(i, 1)], at.X, at.Y)
	}
	for _, d := range roundTimes {
		if s := d.Seconds(); s >= from && s <= to {
			across = append(across, tick{x(s), label(d)})
		}
	}
	price := cmp.Or(p.Options.Price, 1)
	unit := roundStep((dear - cheap) * price)
	for v := math.Ceil(cheap*price/unit) * unit; v <= dear*price; v += unit {
		text := fmt.Sprintf("%.3g", v)
		if p.Options.Price == 0 {
			text = fmt.Sprintf("%.0f s", v)
		}
		up = append(up, tick{y(v / price), text})
	}
	return points, path, across, up
}

// roundTimes are marks of the axis of time.
var roundTimes = func() (all []time.Duration) {
	for _, unit := range []time.Duration{time.Second, time.Minute, time.Hour} {
		for _, n := range []time.Duration{1, 2, 5, 10, 20, 30} {
			all = append(all, n*unit)
		}
	}
	return all
}()

// label is a round time without its zeros.
func label(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// roundStep is a round number of which about five are in the range.
func roundStep(span float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, f := range []float64{1, 2, 5} {
		if span/(unit*f) <= 6 {
			return unit * f
		}
	}
	return 10 * unit
}
