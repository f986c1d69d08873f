package bench

import (
	"fmt"
	"io"
	"math"
)

// summary writes one line a scenario: the library beside the range of the others,
// configured and as shipped. It is a Markdown table that can be read as text.
func (t *table) summary(w io.Writer) {
	fmt.Fprintf(w, "| %-17s | %-35s | %-26s | %-25s | %-26s |\n", "scenario", "success %: library, configured, shipped",
		"attempts / success", "longest call s", "makespan / bound")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	for i := range t.scenarios {
		sc := &t.scenarios[i]
		us := t.find("runpod-go", ours)
		if us == nil {
			return
		}
		r := rowOf(t.of(sc, *us))
		rivals := func(f form, of func(row) float64, digits int) string { return t.span(sc, f, of, digits) }
		all := func(r row) float64 { return r.success }
		fmt.Fprintf(w, "| %-17s | **%s**, %s, %s | **%s**, %s | **%s**, %s | **%s**, %s |\n", sc.name,
			number(r.success, 1), rivals(configured, all, 1), rivals(asShipped, all, 1),
			number(r.attempts, 2), rivals(configured, func(r row) float64 { return r.attempts }, 2),
			number(r.longest, 0), rivals(configured, func(r row) float64 { return r.longest }, 0),
			number(r.makespan, 3), rivals(configured, func(r row) float64 { return r.makespan }, 3))
	}
}

// span is the lowest and the highest figure of the other clients of a form.
func (t *table) span(sc *scenario, f form, of func(row) float64, digits int) string {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, c := range t.clients {
		if c.form != f {
			continue
		}
		if v := of(rowOf(t.of(sc, c))); !math.IsNaN(v) && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	switch a, b := number(lo, digits), number(hi, digits); {
	case lo > hi:
		return "-"
	case a == b:
		return a
	default:
		return a + "-" + b
	}
}
