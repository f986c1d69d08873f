package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// Verdict says in words how a run went.
type Verdict struct {
	Good     bool   // nothing was lost
	Headline string // one sentence
	Why      []string
}

// cause is why jobs were lost, with how many.
type cause struct {
	text string
	jobs []int // numbers, from 1
}

func (r *run) verdict() Verdict {
	f := &r.Figures
	v := Verdict{Good: f.Succeeded == f.Requests, Headline: fmt.Sprintf("%s of %s succeeded", count(f.Succeeded), jobs(f.Requests))}
	causes := causesOf(r.log)
	switch {
	case len(causes) == 1:
		v.Headline += fmt.Sprintf("; %s lost: %s", wereLost(f.Failed), causes[0].text)
	case f.Failed > 0:
		v.Headline += fmt.Sprintf("; %s lost, for %d reasons", wereLost(f.Failed), len(causes))
	}
	v.Headline += "."
	if len(causes) > 1 {
		for _, c := range causes {
			v.Why = append(v.Why, fmt.Sprintf("%s: %s.", capital(jobs(len(c.jobs))), c.text))
		}
	}
	v.Why = append(v.Why, r.unfinished()...)
	v.Why = append(v.Why, r.pattern()...)
	return v
}

func wereLost(n int) string {
	if n == 1 {
		return "1 was"
	}
	return count(n) + " were"
}

// unfinished says what was not done because the run ended early.
func (r *run) unfinished() (why []string) {
	f := &r.Figures
	if f.Interrupted+f.NotStarted == 0 {
		return nil
	}
	text := "The run was stopped"
	if r.log.End == nil {
		text = "The records end before the run did"
	}
	return []string{fmt.Sprintf("%s: %s in flight, %s not begun. runpod-burst -resume does what is missing.", text, count(f.Interrupted), count(f.NotStarted))}
}

// pattern says what the run's time went into.
func (r *run) pattern() (why []string) {
	f := &r.Figures
	gap, uploads := oneByOne(r.log)
	if uploads {
		why = append(why, fmt.Sprintf("Uploads arrived one by one, one every %v: a job waited %v for the upload pool, so the endpoint never saw the burst and %s.",
			gap, f.Stages[stPool]/seconds(max(1, len(r.log.Jobs))), workersStarted(f.Workers)))
	}
	if text, ok := r.refusals(); ok {
		why = append(why, text)
	}
	if first, ok := firstReady(r.log); ok && first > 1 {
		text := fmt.Sprintf("The endpoint was cold: its first worker was ready after %v", first)
		if !uploads {
			text += ", " + workersStarted(f.Workers)
		}
		why = append(why, text+".")
	}
	return why
}

// refusals says what became of refused attempts, where the headline does not.
func (r *run) refusals() (string, bool) {
	f, lost := &r.Figures, len(lostToRefusals(r.log))
	if f.Refusals == lost {
		return "", false
	}
	text := fmt.Sprintf("%s refused after waiting %s for a worker", capital(attempts(f.Refusals)), minutes(waited(r.log)))
	switch {
	case lost > 0:
		text += fmt.Sprintf("; %s of them ended a job, the others were sent again", count(lost))
	case f.Failed+f.Interrupted == 0:
		text += "; each was sent again, and every job succeeded"
	}
	return text + ".", true
}

// lostToRefusals is the jobs that ended with a refusal, by their place in the log.
func lostToRefusals(l *burst.Log) (lost []int) {
	for i := range l.Jobs {
		j := &l.Jobs[i]
		if n := len(j.Attempts); n > 0 && !j.OK && !j.Interrupted && refused(&j.Attempts[n-1]) {
			lost = append(lost, i)
		}
	}
	return lost
}

func workersStarted(n int) string {
	switch n {
	case 0:
		return "no worker was started"
	case 1:
		return "only one worker was started"
	}
	return fmt.Sprintf("%d workers were started", n)
}

// waited is how long the refused attempts had waited: the median.
func waited(l *burst.Log) seconds {
	var all []seconds
	for _, j := range l.Jobs {
		for i := range j.Attempts {
			if a := &j.Attempts[i]; refused(a) {
				all = append(all, a.End-a.Start)
			}
		}
	}
	slices.Sort(all)
	return quantile(all, 0.5)
}

// minutes is a time in words where it is about whole minutes: "2 minutes".
func minutes(s seconds) string {
	for m := 1; m <= 10; m++ {
		if whole := seconds(60 * m); s > whole-2 && s < whole+6 {
			return strings.TrimSuffix(fmt.Sprintf("%d minutes", m), map[bool]string{true: "s"}[m == 1])
		}
	}
	return s.String()
}

// firstReady is when the first worker was ready.
func firstReady(l *burst.Log) (first seconds, ok bool) {
	for _, w := range l.Workers {
		if !w.Seen && w.Ready > 0 && (!ok || w.Ready < first) {
			first, ok = w.Ready, true
		}
	}
	return first, ok
}

// oneByOne reports whether uploads ended one after another, evenly, although
// the jobs were there at once, and the median gap between them.
func oneByOne(l *burst.Log) (gap seconds, ok bool) {
	var ends, gaps []seconds
	var pool, all seconds
	for i := range l.Jobs {
		j := &l.Jobs[i]
		all += j.End - j.Due
		if j.Uploaded > 0 {
			ends = append(ends, j.Uploaded)
			pool += j.Uploaded - j.Begin
		}
	}
	if len(ends) < 5 || pool < all/5 {
		return 0, false
	}
	slices.Sort(ends)
	for i := range ends[1:] {
		gaps = append(gaps, ends[i+1]-ends[i])
	}
	slices.Sort(gaps)
	gap = quantile(gaps, 0.5)
	return gap, gap > 1 && quantile(gaps, 0.1) > gap/4
}

// causesOf groups the jobs that were lost by why, the most frequent first.
func causesOf(l *burst.Log) []cause {
	at, typical := map[string]*cause{}, waited(l)
	for i := range l.Jobs {
		j := &l.Jobs[i]
		if j.OK || j.Interrupted {
			continue
		}
		text := why(j, typical)
		if at[text] == nil {
			at[text] = &cause{text: text}
		}
		at[text].jobs = append(at[text].jobs, j.Index+1)
	}
	var all []cause
	for _, c := range at {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b cause) int { return cmp.Or(len(b.jobs)-len(a.jobs), strings.Compare(a.text, b.text)) })
	return all
}

// why says why a job was lost. A wait that is about the run's typical one is given
// as that: refusals after 120 s and 122 s have one cause.
func why(j *burst.Job, typical seconds) string {
	n := len(j.Attempts)
	switch {
	case n == 0 && j.Uploaded == 0:
		return "an upload failed"
	case n == 0:
		return "nothing could be sent"
	case j.Answered > 0:
		return "the answer came, its result could not be fetched"
	}
	a := &j.Attempts[n-1]
	wait := a.End - a.Start
	if wait > 0.8*typical && wait < 1.2*typical {
		wait = typical
	}
	switch {
	case refused(a) && n == 1:
		return fmt.Sprintf("refused after %s waiting for workers, and not sent again", minutes(wait))
	case refused(a):
		return fmt.Sprintf("refused %d times, the last time after %s waiting for workers", n, minutes(wait))
	case a.Status >= 400 && a.Status < 500 && a.Worker != "":
		return fmt.Sprintf("a worker refused the request itself, with status %d", a.Status)
	case a.Status == 0:
		return "the connection failed"
	case a.Status < 300:
		return "the answer came, and no result was in it"
	}
	return fmt.Sprintf("the endpoint answered with status %d", a.Status)
}

func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func jobs(n int) string { return plural(n, "job") }
func attempts(n int) string {
	return plural(n, "attempt") + map[bool]string{true: " was", false: " were"}[n == 1]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
