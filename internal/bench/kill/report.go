package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

func printRows(out io.Writer, rows []row, s settings) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "killed after s\tparts there\tMB there\tMB missing\tMB sent by the next\texcess in parts\tobject\tleft behind\t")
	for _, x := range rows {
		object, left := "right", "nothing"
		if !x.right {
			object = "WRONG"
		}
		if !x.clean {
			left = "SOMETHING"
		}
		fmt.Fprintf(t, "%.3f\t%d\t%.1f\t%.1f\t%.1f\t%.2f\t%s\t%s\t\n", x.at.Seconds(), x.parts, mb(x.bytes), mb(x.missing(s)), mb(x.sent), x.excess(s), object, left)
	}
	t.Flush()
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// target is one line to be met.
type target struct {
	what      string
	got, most float64
}

func (t target) met() bool { return t.got <= t.most }

// judge holds the kills against what a killed upload promises.
func judge(rows []row, s settings) []target {
	excess, wrong, left := 0.0, 0, 0
	for _, x := range rows {
		excess = max(excess, x.excess(s))
		if !x.right {
			wrong++
		}
		if !x.clean {
			left++
		}
	}
	return []target{
		{"parts sent that were not missing, the most", excess, float64(s.conns)},
		{"objects that are not the input", float64(wrong), 0},
		{"uploads that left something behind", float64(left), 0},
	}
}

func printTargets(out io.Writer, targets []target) error {
	fmt.Fprintln(out, "\nTargets")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	missed := 0
	for _, x := range targets {
		verdict := "met"
		if !x.met() {
			verdict = "MISSED"
			missed++
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\tat most %.0f\n", verdict, x.what, x.got, x.most)
	}
	t.Flush()
	if missed > 0 {
		return errors.New("a target was missed")
	}
	return nil
}
