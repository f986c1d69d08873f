package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst/model"
)

// Print writes the plan for a terminal.
func (p *Plan) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, p.Headline())
	if r := p.Best; r != nil {
		fmt.Fprintf(&b, "\n  %s\n\n", r.Setting)
		for _, line := range p.Facts(*r) {
			fmt.Fprintf(&b, "  %-9s %s\n", line[0], line[1])
		}
		fmt.Fprintf(&b, "\nIn words:\n\n")
		for _, line := range p.Words() {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	fmt.Fprintf(&b, "\nTime against cost; nothing tried is both faster and cheaper:\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, row := range p.Rows() {
		mark := " "
		if i > 0 && p.Best != nil && p.Frontier[i-1].Setting == p.Best.Setting {
			mark = "*"
		}
		fmt.Fprintf(t, "%s %s\n", mark, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nMinimum workers or retries, on the endpoint as it is:\n\n")
	for _, line := range p.Answer() {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "\n%d settings, %d bursts computed, seed %d.", p.Settings, p.Bursts, p.Options.Seed)
	if names := model.Omitted(p.Options.Config); names != nil {
		fmt.Fprintf(&b, " Not computed: %s.", strings.Join(names, ", "))
	}
	fmt.Fprintln(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// Headline says what came of it.
func (p *Plan) Headline() string {
	o := p.Options
	promise := fmt.Sprintf("%d requests, %d at once, all served within %v in %g of 100 bursts", o.Requests, o.Concurrency, o.Within, 100*o.Share)
	if p.Best != nil {
		return promise + ": the cheapest setting is"
	}
	r := p.Closest
	return fmt.Sprintf("%s: nothing that was tried keeps that. Closest, in %.0f of 100 bursts: %s. Allow more time (-within) or more workers (-max-workers)", promise, 100*r.Kept, r.Setting)
}

// String is the setting in words.
func (s Setting) String() string {
	text := fmt.Sprintf("minimum %d, maximum %d workers, scaler value %d, idle timeout %v; %d in flight", s.Min, s.Max, s.Value, s.Idle, s.InFlight)
	if s.Warm > 0 {
		text += fmt.Sprintf(", warm-up of %d", s.Warm)
	}
	return text
}

// Facts are a result's figures with their names.
func (p *Plan) Facts(r Result) [][2]string {
	facts := [][2]string{
		{"time", fmt.Sprintf("median %s, 90 %% within %s, 95 %% within %s, 99 %% within %s", duration(r.Time.P50), duration(r.Time.P90), duration(r.Time.P95), duration(r.Time.P99))},
		{"cost", fmt.Sprintf("%s, 95 %% at most %s", p.cost(r.Billed), p.cost(r.BilledP95))},
		{"kept", fmt.Sprintf("in %.1f of 100 bursts; %.1f refusals a burst, sent again", 100*r.Kept, r.Refused)},
	}
	if r.Min > 0 {
		facts = append(facts, [2]string{"held", fmt.Sprintf("minimum workers are held for the burst alone; left on, they cost %s an hour", p.cost(time.Duration(r.Min)*time.Hour))})
	}
	return facts
}

// cost is worker-seconds, and money if the price is known.
func (p *Plan) cost(billed time.Duration) string {
	s := fmt.Sprintf("%.0f worker-seconds", billed.Seconds())
	if p.Options.Price > 0 {
		s = fmt.Sprintf("%.4f (%s)", billed.Seconds()*p.Options.Price, s)
	}
	return s
}

func duration(d time.Duration) string {
	if d == Endless {
		return "never (a request is lost)"
	}
	return d.Round(time.Second).String()
}

// Words are what to write and to run for the best setting.
func (p *Plan) Words() []string {
	r, c := p.Best, p.Options.Config
	options := fmt.Sprintf("runpod.WithMaxInFlight(%d)", r.InFlight)
	if r.Warm > 0 {
		options += fmt.Sprintf(", runpod.WithWarmup(%d)", r.Warm)
	}
	words := []string{"client, err := runpod.New(" + options + ")"}
	if r.Min > 0 {
		words = append(words, fmt.Sprintf("hold, err := client.HoldWorkers(ctx, %d)   // needs WithControl; a cold start before the burst", r.Min),
			"hold.Release(ctx)   // after the burst")
	}
	words = append(words, fmt.Sprintf("runpod-workers set -max %d", r.Max))
	if r.Value != c.ScalerValue {
		words = append(words, fmt.Sprintf("in the endpoint's settings: scaler value %d instead of %d", r.Value, c.ScalerValue))
	}
	if r.Idle != c.IdleTimeout {
		words = append(words, fmt.Sprintf("in the endpoint's settings: idle timeout %v instead of %v", r.Idle, c.IdleTimeout))
	}
	return words
}

// Rows are the frontier as a table, its heads first.
func (p *Plan) Rows() [][]string {
	rows := [][]string{{"95 % within", "median", "cost", "kept", "min", "max", "scaler", "in flight", "warm-up", "idle"}}
	for _, r := range p.Frontier {
		rows = append(rows, []string{duration(r.Time.P95), duration(r.Time.P50), p.cost(r.Billed), fmt.Sprintf("%.1f %%", 100*r.Kept),
			fmt.Sprint(r.Min), fmt.Sprint(r.Max), fmt.Sprint(r.Value), fmt.Sprint(r.InFlight), fmt.Sprint(r.Warm), r.Idle.String()})
	}
	return rows
}

// Answer is that to the question of the stress tests.
func (p *Plan) Answer() (lines []string) {
	q, n := p.Question, p.Options.Requests
	for _, r := range q.Plain {
		lines = append(lines, fmt.Sprintf("%2d minimum workers, no retries: all %d served in %.0f of 100 bursts (%.1f on the average), 95 %% within %s, %s",
			r.Min, n, 100*r.Whole, r.SucceededMean, duration(r.Time.P95), p.cost(r.Billed)))
	}
	r := q.Retries
	lines = append(lines, fmt.Sprintf(" 0 minimum workers, retries alone: all %d served in %.0f of 100 bursts, 95 %% within %s, %s", n, 100*r.Whole, duration(r.Time.P95), p.cost(r.Billed)))
	if !q.Found {
		return append(lines, fmt.Sprintf("No number of minimum workers up to %d serves all %d without retries.", q.Plain[len(q.Plain)-1].Min, n))
	}
	need := q.Plain[len(q.Plain)-1]
	return append(lines, fmt.Sprintf("So %d of %d without retries takes %d minimum workers, at %.2f times the cost of retries alone if they are held for the burst alone; left on, they cost %s an hour.",
		n, n, need.Min, need.Billed.Seconds()/max(r.Billed.Seconds(), 1e-9), p.cost(time.Duration(need.Min)*time.Hour)))
}
