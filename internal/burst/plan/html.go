package plan

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
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

// picture places the frontier: time across, cost up, both from 0.
func (p *Plan) picture() (points []point, path string, across, up []tick) {
	var longest, dearest float64
	for _, r := range p.Frontier {
		longest, dearest = max(longest, r.Time.P95.Seconds()), max(dearest, r.Billed.Seconds())
	}
	if longest == 0 || dearest == 0 {
		return nil, "", nil, nil
	}
	longest, dearest = 1.05*longest, 1.05*dearest
	x := func(s float64) float64 { return left + s/longest*(width-left-right) }
	y := func(s float64) float64 { return height - bottom - s/dearest*(height-top-bottom) }
	for i, r := range p.Frontier {
		at := point{X: x(r.Time.P95.Seconds()), Y: y(r.Billed.Seconds()), Best: p.Best != nil && r.Setting == p.Best.Setting,
			Text: fmt.Sprintf("95 %% within %s, %s, kept in %.1f of 100: %s", duration(r.Time.P95), p.cost(r.Billed), 100*r.Kept, r.Setting)}
		points = append(points, at)
		path += fmt.Sprintf("%c%.1f %.1f", "ML"[min(i, 1)], at.X, at.Y)
	}
	for s := range steps(longest) {
		across = append(across, tick{x(s), duration(time.Duration(s * float64(time.Second)))})
	}
	for s := range steps(dearest) {
		text := fmt.Sprintf("%.0f s", s)
		if p.Options.Price > 0 {
			text = fmt.Sprintf("%.3g", s*p.Options.Price)
		}
		up = append(up, tick{y(s), text})
	}
	return points, path, across, up
}

// steps are about five round numbers from 0 to most.
func steps(most float64) func(yield func(float64) bool) {
	unit := math.Pow(10, math.Floor(math.Log10(most/5)))
	i := slices.IndexFunc([]float64{1, 2, 5, 10}, func(f float64) bool { return most/(unit*f) <= 6 })
	unit *= []float64{1, 2, 5, 10}[max(i, 0)]
	return func(yield func(float64) bool) {
		for s := 0.0; s <= most && yield(s); s += unit {
		}
	}
}
