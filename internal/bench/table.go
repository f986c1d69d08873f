package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// table holds the figures of every run: by scenario, client and seed.
type table struct {
	scenarios []scenario
	clients   []client
	seeds     int
	runs      map[cell][]figures
}

// cell names one client in one scenario.
type cell struct{ scenario, client string }

func newTable(scs []scenario, cs []client, seeds int) *table {
	t := &table{scenarios: scs, clients: cs, seeds: seeds, runs: map[cell][]figures{}}
	for _, sc := range scs {
		for _, c := range cs {
			t.runs[cell{sc.name, c.String()}] = make([]figures, seeds)
		}
	}
	return t
}

// at is where the figures of one run belong.
func (t *table) at(sc *scenario, c client, seed int) *figures {
	return &t.runs[cell{sc.name, c.String()}][seed]
}

func (t *table) of(sc *scenario, c client) []figures { return t.runs[cell{sc.name, c.String()}] }

// row is one line of the table: medians over the seeds.
type row struct {
	success           float64 // per cent
	attempts          float64 // a success; infinite without one
	malformedAgain    float64
	refusedWaiting    float64
	makespan          float64 // over the bound; NaN without a success
	billed            float64 // a success, over the least a call; infinite without one
	longest           float64
	peak              float64
	refusedAtOnce     float64
	repeated          float64
	overLeast         float64 // attempts over those that were necessary
	idleP99           float64 // over all occasions of all seeds
	makespanSeconds   float64
	boundSeconds      float64
	billedSeconds     float64 // a success
	losesNothing      bool    // not one call, on any seed
	calls, everFailed int     // over all seeds
}

func rowOf(fs []figures) row {
	r := row{
		success:         over(fs, func(f figures) float64 { return 100 * float64(f.succeeded) / float64(f.calls) }),
		attempts:        over(fs, func(f figures) float64 { return float64(f.attempts) / float64(f.succeeded) }),
		malformedAgain:  over(fs, func(f figures) float64 { return float64(f.malformedAgain) }),
		refusedWaiting:  over(fs, func(f figures) float64 { return float64(f.refusedWaiting) }),
		refusedAtOnce:   over(fs, func(f figures) float64 { return float64(f.refusedAtOnce) }),
		repeated:        over(fs, func(f figures) float64 { return float64(f.repeated) }),
		makespan:        over(fs, func(f figures) float64 { return f.makespan / f.bound }),
		makespanSeconds: over(fs, func(f figures) float64 { return f.makespan }),
		boundSeconds:    over(fs, func(f figures) float64 { return f.bound }),
		billed: over(fs, func(f figures) float64 {
			return f.billed / float64(f.succeeded) / (f.leastBill / float64(f.calls))
		}),
		billedSeconds: over(fs, func(f figures) float64 { return f.billed / float64(f.succeeded) }),
		longest:       over(fs, func(f figures) float64 { return f.longest }),
		peak:          over(fs, func(f figures) float64 { return float64(f.peak) }),
		overLeast:     over(fs, func(f figures) float64 { return float64(f.attempts) / float64(f.leastAttempts) }),
		idleP99:       quantile(pooled(fs), 0.99),
	}
	for _, f := range fs {
		r.calls += f.calls
		r.everFailed += f.calls - f.succeeded
	}
	r.losesNothing = r.everFailed == 0
	return r
}

// wholeMakespan and wholeLongest are figures of a client that loses nothing; of
// others they say little, as they do less.
func (r row) wholeMakespan() float64 { return r.whole(r.makespan) }
func (r row) wholeLongest() float64  { return r.whole(r.longest) }

func (r row) whole(v float64) float64 {
	if !r.losesNothing {
		return math.NaN()
	}
	return v
}

// over is the median over the seeds.
func over(fs []figures, of func(figures) float64) float64 {
	values := make([]float64, len(fs))
	for i, f := range fs {
		values[i] = of(f)
	}
	return median(values)
}

// most is the worst over the seeds.
func most(fs []figures, of func(figures) float64) float64 {
	worst := math.Inf(-1)
	for _, f := range fs {
		worst = max(worst, of(f))
	}
	return worst
}

func pooled(fs []figures) (all []float64) {
	for _, f := range fs {
		all = append(all, f.idleGaps...)
	}
	return all
}

// columns is the table's head and how a row fills it.
var columns = []struct {
	head string
	cell func(r row) string
}{
	{"success %", func(r row) string { return number(r.success, 1) }},
	{"attempts / success", func(r row) string { return number(r.attempts, 2) }},
	{"malformed again", func(r row) string { return number(r.malformedAgain, 1) }},
	{"run twice", func(r row) string { return number(r.repeated, 1) }},
	{"refused after waiting", func(r row) string { return number(r.refusedWaiting, 1) }},
	{"makespan / bound", func(r row) string { return r.partly(number(r.makespan, 3)) }},
	{"billed / least", func(r row) string { return number(r.billed, 2) }},
	{"longest call s", func(r row) string { return number(r.longest, 0) }},
	{"peak in flight", func(r row) string { return number(r.peak, 0) }},
}

// partly marks the makespan of a client that lost calls: it did less work.
func (r row) partly(text string) string {
	if r.losesNothing || text == "-" {
		return text
	}
	return "(" + text + ")"
}

func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// print writes the table as text.
func (t *table) print(w io.Writer) {
	for _, sc := range t.scenarios {
		fmt.Fprintf(w, "\n%s: %s\n%-38s", sc.name, sc.what, "")
		for _, col := range columns {
			fmt.Fprintf(w, "%*s", width(col.head), col.head)
		}
		fmt.Fprintln(w)
		for _, c := range t.clients {
			fmt.Fprintf(w, "%-38s", c)
			r := rowOf(t.of(&sc, c))
			for _, col := range columns {
				fmt.Fprintf(w, "%*s", width(col.head), col.cell(r))
			}
			fmt.Fprintln(w)
		}
	}
}

func width(head string) int { return len(head) + 2 }

// markdown writes the table for the docs.
func (t *table) markdown(w io.Writer) {
	for _, sc := range t.scenarios {
		fmt.Fprintf(w, "\n### %s\n\n%s.\n\n| client | form |", sc.name, upper(sc.what))
		for _, col := range columns {
			fmt.Fprintf(w, " %s |", col.head)
		}
		fmt.Fprint(w, "\n|---|---|", strings.Repeat("--:|", len(columns)), "\n")
		for _, c := range t.clients {
			r, bold := rowOf(t.of(&sc, c)), ""
			if c.form == ours {
				bold = "**"
			}
			fmt.Fprintf(w, "| %s%s%s | %s |", bold, c.name, bold, c.form)
			for _, col := range columns {
				fmt.Fprintf(w, " %s%s%s |", bold, col.cell(r), bold)
			}
			fmt.Fprintln(w)
		}
	}
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
