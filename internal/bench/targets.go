package bench

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gpuburst/runpod-go"
)

// target is one of the targets that this comparison was written for, in one
// scenario.
type target struct {
	scenario string
	name     string
	want     string
	got      string
	met      bool
	hard     bool // missing it is a failure: calls lost, or done twice
}

// judge holds the library's figures against every target. Figures are medians
// over the seeds, except where a target is about every single call.
func (t *table) judge() (all []target) {
	for i := range t.scenarios {
		sc := &t.scenarios[i]
		us := t.find("runpod-go", ours)
		if us == nil {
			return nil
		}
		j := &judge{table: t, sc: sc, fs: t.of(sc, *us)}
		j.row = rowOf(j.fs)
		j.calls()
		if sc.serves() {
			j.makespan()
			j.bill()
			j.idle()
		}
		j.attempts()
		all = append(all, j.targets...)
	}
	return all
}

// find is a client of the table; nil: it was not run.
func (t *table) find(name string, f form) *client {
	for i, c := range t.clients {
		if c.name == name && c.form == f {
			return &t.clients[i]
		}
	}
	return nil
}

// judge collects the targets of one scenario.
type judge struct {
	table   *table
	sc      *scenario
	fs      []figures // the library's
	row     row
	targets []target
}

func (j *judge) add(hard bool, name, want, got string, met bool) {
	j.targets = append(j.targets, target{j.sc.name, name, want, got, met, hard})
}

// atMost adds a target with an upper bound. The figure is held against it as it
// is printed.
func (j *judge) atMost(hard bool, name string, got, want float64, digits int) {
	scale := math.Pow10(digits)
	met := math.Round(got*scale) <= math.Round(want*scale)
	j.add(hard, name, "at most "+number(want, digits), number(got, digits), met)
}

func count(of func(figures) int) func(figures) float64 {
	return func(f figures) float64 { return float64(of(f)) }
}

// calls is what becomes of calls: none is lost, none is done twice.
func (j *judge) calls() {
	switch {
	case !j.sc.serves():
		failed := j.row.everFailed
		clear := 0
		for _, f := range j.fs {
			clear += f.noWorkers
		}
		j.add(true, "failed calls that say there is no worker", fmt.Sprintf("%d of %d", failed, failed),
			fmt.Sprintf("%d of %d", clear, failed), clear == failed && failed == j.row.calls)
		bounded := (runpod.DefaultRetryPolicy().GiveUp + queueWait).Seconds()
		j.atMost(true, "longest call, s (the give-up time and one wait)", most(j.fs, func(f figures) float64 { return f.longest }), bounded, 0)
	case j.sc.unmarked:
		j.atMost(true, "calls begun twice, worst seed", most(j.fs, count(func(f figures) int { return f.repeated })), 0, 0)
		j.atMost(true, "losses not reported as perhaps run, worst seed", most(j.fs, count(func(f figures) int { return f.silent })), 0, 0)
	default:
		j.add(true, "success, all seeds together", "100 %", fmt.Sprintf("%d of %d calls", j.row.calls-j.row.everFailed, j.row.calls), j.row.losesNothing)
	}
	switch again := count(func(f figures) int { return f.malformedMost }); {
	case j.sc.malformed > 0 && j.sc.noWorkerID:
		j.atMost(true, "a malformed call sent again, worst call", most(j.fs, again), 1, 0)
	case j.sc.malformed > 0:
		j.atMost(true, "a malformed call sent again, worst call", most(j.fs, again), 0, 0)
	}
}

// makespans is what the makespan may be over the bound.
var makespans = map[string]float64{
	"w3v1":      1.03,
	"w3v4":      1.06,
	"w2v1-slow": 1.11,
	"w2v4-slow": 1.11,
}

func (j *judge) makespan() {
	if most, ok := makespans[j.sc.name]; ok {
		j.atMost(false, "makespan / bound", j.row.makespan, most, 3)
	}
	best, who := j.bestPeer()
	if who == "" {
		return // nobody to be compared with: every other client loses calls
	}
	j.atMost(false, "makespan / best configured peer's ("+who+")", j.row.makespanSeconds/best, 1.01, 3)
}

// bestPeer is the shortest makespan of the configured peers that lose no more
// than the library does.
func (j *judge) bestPeer() (best float64, who string) {
	for _, c := range j.table.clients {
		if c.form != configured {
			continue
		}
		if r := rowOf(j.table.of(j.sc, c)); r.success >= j.row.success && (who == "" || r.makespanSeconds < best) {
			best, who = r.makespanSeconds, c.name
		}
	}
	return best, who
}

func (j *judge) attempts() {
	policy := runpod.DefaultRetryPolicy()
	switch {
	case !j.sc.serves():
		calls := float64(j.fs[0].calls)
		alone := calls * math.Ceil(float64(policy.GiveUp)/float64(queueWait))
		j.atMost(false, "attempts with no capacity (1.1 x one every 2 min)", over(j.fs, count(func(f figures) int { return f.attempts })), 1.1*alone, 0)
	case j.sc.outage > 0:
		alone := float64(j.sc.atOnce) * backoffAlone(policy, outageLength)
		j.atMost(false, "attempts in the outage (1.1 x the backoff alone)", over(j.fs, count(func(f figures) int { return f.inOutage })), 1.1*alone, 0)
		j.atMost(false, "first attempt served after the outage, s (the backoff's cap)", over(j.fs, func(f figures) float64 { return f.afterOutage }), policy.MaxBackoff.Seconds(), 1)
	case j.sc.maxWaiting > 0:
		j.atMost(false, "attempts / success", j.row.attempts, 5, 2)
	default:
		j.atMost(false, "attempts / least possible", j.row.overLeast, 1.1, 3)
	}
}

// backoffAlone is how many attempts one call makes on average in a time in which
// every one fails at once, if nothing but the backoff's full jitter spaces them.
func backoffAlone(p runpod.RetryPolicy, in time.Duration) (n float64) {
	for ceiling := p.BaseBackoff; in > 0; ceiling = min(2*ceiling, p.MaxBackoff) {
		n++
		in -= ceiling / 2
	}
	return n
}

func (j *judge) bill() {
	plain := j.table.find("net/http", asShipped)
	if plain == nil {
		return
	}
	r := rowOf(j.table.of(j.sc, *plain))
	if math.IsInf(r.billedSeconds, 0) || math.IsNaN(r.billedSeconds) {
		j.add(false, "billed seconds a success, to "+plain.name+"'s", "at most theirs", "it has no success", true)
		return
	}
	j.atMost(false, "billed seconds a success / "+plain.name+"'s", j.row.billedSeconds/r.billedSeconds, 1, 3)
}

func (j *judge) idle() {
	j.atMost(false, "a worker idle while a call is pending, p99, s", j.row.idleP99, 0.25, 3)
}

// printTargets writes every target as met or missed, and says how many are.
func printTargets(w io.Writer, all []target) {
	met := 0
	fmt.Fprintf(w, "\n%-7s %-15s %-66s %-16s %s\n", "", "scenario", "target", "want", "got")
	for _, t := range all {
		if t.met {
			met++
		}
		fmt.Fprintf(w, "%-7s %-15s %-66s %-16s %s\n", t.verdict(), t.scenario, t.name, t.want, t.got)
	}
	fmt.Fprintf(w, "\n%d of %d targets met\n", met, len(all))
}

func (t target) verdict() string {
	if t.met {
		return "met"
	}
	return "MISSED"
}

func targetsMarkdown(w io.Writer, all []target) {
	fmt.Fprint(w, "\n| scenario | target | want | got | |\n|---|---|---|---|---|\n")
	for _, t := range all {
		verdict := t.verdict()
		if !t.met {
			verdict = "**" + verdict + "**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", t.scenario, t.name, t.want, t.got, verdict)
	}
}
