package bench

import (
	"encoding/csv"
	"io"
	"strconv"
)

// csv writes one line for every scenario and client.
func (t *table) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"scenario", "client", "form", "seeds", "success_pct", "attempts_per_success",
		"attempts_over_least", "malformed_again", "run_twice", "refused_after_waiting", "refused_at_once",
		"makespan_s", "bound_s", "makespan_over_bound", "billed_s_per_success", "billed_over_least",
		"longest_call_s", "peak_in_flight", "idle_while_pending_p99_s"})
	for _, sc := range t.scenarios {
		for _, c := range t.clients {
			r := rowOf(t.of(&sc, c))
			out.Write([]string{sc.name, c.name, string(c.form), strconv.Itoa(t.seeds), number(r.success, 2), number(r.attempts, 3),
				number(r.overLeast, 3), number(r.malformedAgain, 1), number(r.repeated, 1), number(r.refusedWaiting, 1), number(r.refusedAtOnce, 1),
				number(r.makespanSeconds, 1), number(r.boundSeconds, 1), number(r.makespan, 4), number(r.billedSeconds, 2), number(r.billed, 3),
				number(r.longest, 1), number(r.peak, 0), number(r.idleP99, 3)})
		}
	}
	out.Flush()
	return out.Error()
}
