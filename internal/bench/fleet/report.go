package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// line is a line of the table.
type line struct {
	name string
	batch
}

// report makes the tables, as Markdown.
func report(runs, jobs, many int, all []line, c cost) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d jobs on a simulated endpoint of 3 workers, cold at first (60 to 100 s to start, 10 to 22 s a job; its time runs %d times as fast). Medians of %d.\n\n", jobs, speed, runs)
	b.WriteString("| way | done | makespan, s | of one Client | attempts a job | refused | worker seconds | of one Client |\n|---|---|---|---|---|---|---|---|\n")
	one := all[0].batch
	for _, l := range all {
		fmt.Fprintf(&b, "| %s | %d | %.0f | %.3f | %.3f | %d | %.0f | %.3f |\n", l.name, l.done, l.makespan.Seconds(),
			ratio(l.makespan, one.makespan), l.attempts, l.refused, l.billed.Seconds(), ratio(l.billed, one.billed))
	}
	fmt.Fprintf(&b, "\nWhat a job costs, of %d on an endpoint that answers at once, with the server in the same process and every write synced to the disk. Medians of %d.\n\n", many, runs)
	b.WriteString("| | by a fleet | without | |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| submitting, on the clock | %s | %s, a bare publish of the same bytes | %.2f x |\n", c.submit.Round(time.Microsecond), c.bare.Round(time.Microsecond), ratio(c.submit, c.bare))
	fmt.Fprintf(&b, "| doing, processor time, client and server | %s | %s, `Client.Call` alone | %s more |\n", c.job.Round(time.Microsecond), c.call.Round(time.Microsecond), (c.job - c.call).Round(time.Microsecond))
	return b.String()
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(1, b)) }

// The tables stand between these lines of the document.
const begin, end = "<!-- tables: made by go -C internal/bench run ./fleet -write -->\n", "<!-- end of the tables -->\n"

func writeDoc(name, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the tables", name)
	}
	return os.WriteFile(name, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}
