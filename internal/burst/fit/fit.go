// Package fit finds the simulated endpoint that explains the records of bursts.
//
// It rests on what a client sees: when each attempt was sent and answered, by
// which worker, or that it was refused. If the endpoint's own records are in the
// file, as after a simulated burst, they are not needed and not used: a fit of a
// live endpoint and one of a simulated endpoint have the same worth.
package fit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Fit is an endpoint that explains records.
type Fit struct {
	Config  runpodtest.Config
	Known   []Finding
	Unknown []Finding

	file map[string]any
}

// Finding is one setting of the endpoint and why it is believed, or what stands
// in for it.
type Finding struct{ Field, Value, Why string }

// New fits an endpoint to runs, which are taken to be of the same endpoint.
func New(logs []*burst.Log) (*Fit, error) {
	s := &sample{}
	for _, l := range logs {
		s.add(l)
	}
	switch {
	case s.served == 0:
		return nil, errors.New("no attempt in the records was served by a worker that is named; a fit needs answers with X-Runpod-Worker-Id")
	case len(s.service) < 5:
		return nil, fmt.Errorf("the records show the working time of only %d requests; a fit needs 5, from a burst of more requests", len(s.service))
	}
	f := &Fit{file: map[string]any{}}
	f.serviceTime(s)
	f.coldStart(s)
	f.workers(s)
	f.queueWait(s)
	f.unfairness(s)
	f.unseen(s)
	return f, nil
}

// Write writes the endpoint as runpodtest.ReadConfig reads it.
func (f *Fit) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(f.file)
}

// Print says what was found and what could not be known.
func (f *Fit) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		title string
		all   []Finding
	}{{"The endpoint that explains the records:", f.Known}, {"\nWhat could not be known, and what stands in for it:", f.Unknown}} {
		fmt.Fprintln(t, part.title)
		for _, one := range part.all {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", one.Field, one.Value, one.Why)
		}
	}
	return t.Flush()
}

func (f *Fit) know(field, value, why string, args ...any) {
	f.Known = append(f.Known, Finding{field, value, fmt.Sprintf(why, args...)})
}

func (f *Fit) doubt(field, value, why string, args ...any) {
	f.Unknown = append(f.Unknown, Finding{field, value, fmt.Sprintf(why, args...)})
}

func (f *Fit) serviceTime(s *sample) {
	d, text, json := family(s.service)
	f.Config.ServiceTime = d
	f.file["service_time"] = json
	f.know("service_time", text, "%d working times, %v to %v", len(s.service), short(slices.Min(s.service)), short(slices.Max(s.service)))
}

// coldStart takes the spread of working times off: a worker's first answer has
// both in it.
func (f *Fit) coldStart(s *sample) {
	if len(s.cold) == 0 {
		f.doubt("cold_start", "default", "no worker was seen to start: 40 to 90 s are assumed")
		return
	}
	mean, variance := moments(s.cold)
	_, working := moments(s.service)
	half := math.Sqrt(3 * max(0, variance-working))
	lo, hi := max(0, mean-half), max(0, mean+half)
	d := runpodtest.Range(millis(lo), millis(hi))
	text := fmt.Sprintf("%v-%v", millis(lo), millis(hi))
	if len(s.cold) == 1 || half < 0.05 {
		d, text = runpodtest.Fixed(millis(mean)), millis(mean).String()
	}
	f.Config.ColdStart, f.file["cold_start"] = d, text
	f.know("cold_start", text, "%d starts, each to within a working time", len(s.cold))
	if len(s.cold) < 5 {
		f.doubt("cold_start's spread", text, "%d starts say little about how much cold starts differ; more bursts would", len(s.cold))
	}
}

func (f *Fit) workers(s *sample) {
	f.Config.MaxWorkers, f.file["max_workers"] = s.peakWorkers, s.peakWorkers
	f.Config.MinWorkers, f.file["min_workers"] = s.warm, s.warm
	f.know("max_workers", fmt.Sprint(s.peakWorkers), "so many served at once; more may be allowed, had the scaler wanted them")
	f.know("min_workers", fmt.Sprint(s.warm), "so many answered at once, without a cold start; a burst shortly before would look the same")
	// The largest value that still asks for the workers that were seen.
	most := math.MaxInt
	if s.peakWorkers > 1 {
		most = max(1, (s.peakInFlight-1)/(s.peakWorkers-1))
	}
	v := min(4, most)
	f.Config.ScalerValue, f.file["scaler_value"] = v, v
	if most == math.MaxInt {
		f.doubt("scaler_value", fmt.Sprint(v), "one worker served: nothing is known of the scaler's value; the default is assumed")
	} else {
		f.doubt("scaler_value", fmt.Sprint(v), "%d requests in flight had %d workers: any value from 1 to %d explains that", s.peakInFlight, s.peakWorkers, most)
	}
}

func (f *Fit) queueWait(s *sample) {
	if len(s.refusals) == 0 {
		f.doubt("queue_wait", "2m0s", "nothing was refused; the longest wait was %v; the documented 2 minutes are assumed", short(s.longestWait))
		return
	}
	slices.Sort(s.refusals) // delays make them late, nothing makes them early
	wait := millis(s.refusals[len(s.refusals)/10])
	f.Config.QueueWait, f.file["queue_wait"] = wait, wait.String()
	f.know("queue_wait", wait.String(), "%d refusals, after %v to %v", len(s.refusals), short(s.refusals[0]), short(s.refusals[len(s.refusals)-1]))
}

// unseen says what no burst shows.
func (f *Fit) unseen(s *sample) {
	why := "no worker stopped and came back in view; the default is assumed"
	if s.longestIdle > 5 {
		idle := millis(math.Ceil(s.longestIdle))
		f.Config.IdleTimeout, f.file["idle_timeout"] = idle, idle.String()
		f.doubt("idle_timeout", idle.String(), "a worker served again after %v without a request: it is at least that", short(s.longestIdle))
	} else {
		f.doubt("idle_timeout", "5s", "%s", why)
	}
	f.doubt("concurrency", "1", "a worker is taken to do one request at a time")
	if s.instant > 2 {
		f.doubt("all times", "", "the simulated endpoint's time ran so fast that delays of this machine count as seconds; a lower -speed shows them better")
	}
	if s.failed > 0 {
		f.doubt("crash_rate, faults", "none", "%d attempts failed in other ways than for want of a worker; they are left out", s.failed)
	}
}

// family is the simplest distribution that fits the values: one value, a range, a
// lognormal, or else the values themselves.
func family(values []float64) (d runpodtest.Dist, text string, file any) {
	v := slices.Sorted(slices.Values(values))
	lo, hi, median, p90 := v[0], v[len(v)-1], v[len(v)/2], v[len(v)*9/10]
	if hi-lo < 0.02*median {
		return runpodtest.Fixed(millis(median)), millis(median).String(), millis(median).String()
	}
	uniform := distance(v, func(x float64) float64 { return (x - lo) / (hi - lo) })
	sigma := math.Log(p90/median) / 1.2815515655446004
	logNormal := distance(v, func(x float64) float64 { return 0.5 * math.Erfc(-math.Log(x/median)/sigma/math.Sqrt2) })
	// What 95 of 100 true samples stay below (Kolmogorov and Smirnov).
	tolerance := 1.36 / math.Sqrt(float64(len(v)))
	switch {
	case min(uniform, logNormal) > tolerance:
		return recorded(values)
	case uniform <= logNormal:
		text = fmt.Sprintf("%v-%v", millis(lo), millis(hi))
		return runpodtest.Range(millis(lo), millis(hi)), text, text
	}
	text = fmt.Sprintf("%v~%v", millis(median), millis(p90))
	return runpodtest.LogNormal(millis(median), millis(p90)), text, text
}

func recorded(values []float64) (runpodtest.Dist, string, any) {
	if len(values) > 2000 {
		values = values[:2000]
	}
	ds, texts := make([]time.Duration, len(values)), make([]string, len(values))
	for i, v := range values {
		ds[i] = millis(v)
		texts[i] = ds[i].String()
	}
	return runpodtest.Recorded(ds...), fmt.Sprintf("%d values as measured", len(ds)), texts
}

// distance is that of Kolmogorov and Smirnov between sorted values and a
// distribution.
func distance(sorted []float64, cdf func(float64) float64) (d float64) {
	n := float64(len(sorted))
	for i, x := range sorted {
		p := cdf(x)
		if math.IsNaN(p) {
			return 1
		}
		d = max(d, p-float64(i)/n, float64(i+1)/n-p)
	}
	return d
}

func moments(v []float64) (mean, variance float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean) / float64(max(1, len(v)-1))
	}
	return mean, variance
}

func millis(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds*1000)) * time.Millisecond
}

func short(seconds float64) burst.Seconds { return burst.Seconds(seconds) }

var byEnd = func(a, b attempt) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start)) }
