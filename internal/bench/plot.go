package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// The picture's measures, in pixels.
const (
	plotWidth  = 1180
	rowHeight  = 24
	plotTop    = 118
	plotBottom = 56
	labelWidth = 130
	panelGap   = 30
)

// panel is one of the plots that stand side by side and share the rows.
type panel struct {
	title string
	note  string // which way is better
	value func(row) float64
	lo    float64
	hi    float64 // what is above is drawn at the edge
	log   bool
	ticks []float64
	share float64 // of the width
}

var panels = []panel{
	{"calls that succeed, %", "right is better", func(r row) float64 { return r.success }, 0, 100, false,
		[]float64{0, 25, 50, 75, 100}, 0.22},
	{"attempts a success", "left is better", func(r row) float64 { return r.attempts }, 1, 100, true,
		[]float64{1, 2, 5, 10, 20, 50, 100}, 0.30},
	{"makespan / bound *", "left is better", row.wholeMakespan, 1, 1.3, false,
		[]float64{1, 1.1, 1.2, 1.3}, 0.24},
	{"longest call / bound *", "left is better", func(r row) float64 { return r.wholeLongest() / r.boundSeconds }, 0, 1.2, false,
		[]float64{0, 0.25, 0.5, 0.75, 1}, 0.24},
}

// at is where a value lies in a panel, from 0 to 1.
func (p *panel) at(v float64) float64 {
	scale := func(x float64) float64 {
		if p.log {
			return math.Log(x)
		}
		return x
	}
	return (scale(min(max(v, p.lo), p.hi)) - scale(p.lo)) / (scale(p.hi) - scale(p.lo))
}

// svg draws the table: a row for every scenario, a dot for every client.
func (t *table) svg(w io.Writer) {
	var rows []scenario
	for _, sc := range t.scenarios {
		if sc.serves() {
			rows = append(rows, sc)
		}
	}
	height := plotTop + len(rows)*rowHeight + plotBottom
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`+"\n", plotWidth, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	text(w, 16, 26, `font-size="17" font-weight="bold"`, "The same calls through every client")
	text(w, 16, 46, `fill="#666"`, fmt.Sprintf("Simulated endpoint in virtual time; medians over %d seeds, the same for all; a dot is a client, its name is in its tooltip", t.seeds))
	legend(w)
	for i, sc := range rows {
		y := plotTop + i*rowHeight
		if i%2 == 0 {
			fmt.Fprintf(w, `<rect x="0" y="%d" width="%d" height="%d" fill="#f5f6f8"/>`+"\n", y, plotWidth, rowHeight)
		}
		text(w, 16, y+16, "", sc.name)
	}
	x := float64(labelWidth)
	for _, p := range panels {
		width := p.share*(plotWidth-labelWidth-20) - panelGap
		t.panel(w, p, rows, x, width)
		x += width + panelGap
	}
	text(w, 16, height-14, `fill="#666"`, "no-workers is left out: nobody can succeed there. A dot at a panel's right edge may stand for more. * Only of clients that lose no call there.")
	fmt.Fprintln(w, "</svg>")
}

// panel draws one panel at x.
func (t *table) panel(w io.Writer, p panel, rows []scenario, x, width float64) {
	text(w, int(x), plotTop-30, `font-weight="bold"`, p.title)
	text(w, int(x), plotTop-14, `fill="#666"`, p.note)
	foot := plotTop + len(rows)*rowHeight
	for _, tick := range p.ticks {
		tx := x + p.at(tick)*width
		fmt.Fprintf(w, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#d4d7dc"/>`+"\n", tx, plotTop, tx, foot)
		text(w, int(tx), foot+16, `text-anchor="middle" fill="#666"`, fmt.Sprintf("%g", tick))
	}
	for i := range rows {
		y := float64(plotTop+i*rowHeight) + rowHeight/2
		for _, c := range t.clients { // the library is the last, on top
			v := p.value(rowOf(t.of(&rows[i], c)))
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			dot(w, c, x+p.at(v)*width, y, fmt.Sprintf("%s, %s: %.4g", rows[i].name, c, v))
		}
	}
}

// dot draws one client's mark.
func dot(w io.Writer, c client, x, y float64, title string) {
	switch c.form {
	case ours:
		fmt.Fprintf(w, `<path d="M%.1f %.1fl7 7l-7 7l-7 -7z" fill="#1f6feb" stroke="#fff">`, x, y-7)
	case asShipped:
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="none" stroke="#b26a00" stroke-width="1.4">`, x, y)
	case endless:
		fmt.Fprintf(w, `<path d="M%.1f %.1fl8 8m0 -8l-8 8" stroke="#c62828" stroke-width="1.6" fill="none">`, x-4, y-4)
	default:
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="#555" fill-opacity="0.55">`, x, y)
	}
	fmt.Fprintf(w, "<title>%s</title>", escape(title))
	fmt.Fprintln(w, map[bool]string{true: "</path>", false: "</circle>"}[c.form == ours || c.form == endless])
}

func legend(w io.Writer) {
	for i, item := range []struct {
		c    client
		text string
	}{
		{client{form: ours}, "runpod-go, defaults"},
		{client{form: configured}, "others, configured as well as their options allow"},
		{client{form: asShipped}, "others, as shipped"},
		{client{form: endless}, "every 400 at once"},
	} {
		x := float64(labelWidth + []int{0, 170, 490, 640}[i])
		dot(w, item.c, x, 66, item.text)
		text(w, int(x)+12, 70, "", item.text)
	}
}

func text(w io.Writer, x, y int, attributes, s string) {
	fmt.Fprintf(w, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
