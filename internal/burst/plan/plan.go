// Package plan finds the cheapest setting of an endpoint and a client with which
// a burst is done in time, by computing many bursts with each of many settings.
package plan

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst/model"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Options say what is to be planned.
type Options struct {
	Config      runpodtest.Config // the endpoint as it is
	Requests    int
	Concurrency int           // requests in flight at the most
	Upload      time.Duration // of each request's inputs
	Within      time.Duration // every request is served in that time ...
	Share       float64       // ... in this share of bursts
	MaxWorkers  int           // the most to consider
	Price       float64       // of a worker-second; 0: not known
	Seed        uint64
	Runs        int // bursts computed for a setting that may be chosen

	Computed *atomic.Int64 // bursts so far; may be nil
}

// Setting is what can be chosen.
type Setting struct {
	Min, Max, Value int           // of the endpoint
	Idle            time.Duration // of the endpoint
	InFlight, Warm  int           // of the client
}

// Result is what bursts with a setting come to.
type Result struct {
	Setting
	Kept          float64       // share of bursts that kept the promise
	Whole         float64       // share of bursts in which every request was served
	Time          Percentiles   // of whole bursts; one that lost a request counts as endless
	Billed        time.Duration // the mean, from the first start to the last stop
	BilledP95     time.Duration
	Refused       float64 // refusals a burst, on the average
	SucceededMean float64
}

// Percentiles of the time that a burst takes. Endless is one that is not reached.
type Percentiles struct{ P50, P90, P95, P99 time.Duration }

// Endless is a burst that lost a request.
const Endless = 1<<63 - 1

// Plan is what was found.
type Plan struct {
	Options  Options
	Best     *Result  // nil: nothing keeps the promise
	Closest  *Result  // then: what keeps it most often
	Frontier []Result // nothing is both faster and cheaper; fastest first
	Question Question
	Settings int
	Bursts   int64
}

// Question is that of the stress tests: how many minimum workers a client without
// retries needs so as to lose nothing, and what they cost against retries alone.
type Question struct {
	Plain   []Result // by minimum workers, from 0 to the first that loses nothing
	Found   bool
	Retries Result // no minimum workers, with retries
}

// firstRuns is how many bursts a setting is judged by before it may be chosen.
const firstRuns = 6

// Make finds the plan. It uses all processors. The same options have the same
// plan.
func Make(ctx context.Context, o Options) (*Plan, error) {
	if o.Computed == nil {
		o.Computed = new(atomic.Int64)
	}
	d, err := o.Config.Draws()
	if err != nil {
		return nil, err
	}
	o.Config = d.Config()
	o.Config.Preset = runpodtest.Preset{}
	p := &Plan{Options: o}
	settings := o.settings()
	p.Settings = len(settings)
	rough := o.all(ctx, settings, true, firstRuns)
	p.choose(ctx, rough)
	p.frontier(ctx, rough)
	p.ask(ctx)
	p.Bursts = o.Computed.Load()
	return p, ctx.Err()
}

// Estimate is about how many bursts Make computes.
func (o Options) Estimate() int {
	d, err := o.Config.Draws()
	if err != nil {
		return 1
	}
	o.Config = d.Config()
	return len(o.settings())*firstRuns + 90*o.Runs
}

// ladder is the numbers to try up to most: each one at first, then wider apart.
func ladder(most int, more ...int) (all []int) {
	for n := 1; n <= most; n += max(1, n/4) {
		all = append(all, n)
	}
	all = append(append(all, most), more...)
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(n int) bool { return n > most || n < 0 })
}

// settings are those to try.
func (o Options) settings() (all []Setting) {
	c := o.Config
	idles := []time.Duration{5 * time.Second, 30 * time.Second}
	if !slices.Contains(idles, c.IdleTimeout) {
		idles = append(idles, c.IdleTimeout)
	}
	values := []int{1, 2, 4, 8}
	if !slices.Contains(values, c.ScalerValue) {
		values = append(values, c.ScalerValue)
	}
	inFlight := []int{o.Concurrency}
	for _, n := range []int{o.Concurrency / 2, o.Concurrency / 4} {
		if n > 0 && !slices.Contains(inFlight, n) {
			inFlight = append(inFlight, n)
		}
	}
	for _, most := range ladder(o.MaxWorkers, c.MaxWorkers) {
		if most == 0 {
			continue
		}
		for _, least := range ladder(most, 0) {
			warm := []int{0, most}
			if least == most {
				warm = warm[:1]
			}
			for _, w := range warm {
				for _, v := range values {
					for _, n := range inFlight {
						for _, idle := range idles {
							all = append(all, Setting{Min: least, Max: most, Value: v, Idle: idle, InFlight: n, Warm: w})
						}
					}
				}
			}
		}
	}
	return all
}

// all computes bursts with each setting, on all processors.
func (o Options) all(ctx context.Context, settings []Setting, retry bool, runs int) []Result {
	results := make([]Result, len(settings))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(settings)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				results[i] = o.judge(ctx, settings[i], retry, runs)
			}
		})
	}
	wg.Wait()
	return results
}

// judge computes bursts with one setting.
func (o Options) judge(ctx context.Context, s Setting, retry bool, runs int) Result {
	c := o.Config
	c.MinWorkers, c.MaxWorkers, c.ScalerValue, c.IdleTimeout = s.Min, cmp.Or(s.Max, runpodtest.NoWorkers), s.Value, s.Idle
	client := model.Client{Requests: o.Requests, InFlight: s.InFlight, Retry: retry, Warm: s.Warm, Upload: o.Upload}
	r := Result{Setting: s}
	times, bills := make([]time.Duration, 0, runs), make([]time.Duration, 0, runs)
	for i := range runs {
		if ctx.Err() != nil {
			return r
		}
		c.Seed = o.Seed*1_000_003 + uint64(i)
		d, err := c.Draws()
		if err != nil {
			panic(fmt.Sprintf("plan: %v", err)) // Make has checked the endpoint, settings makes sense
		}
		b := model.Run(d, client)
		o.Computed.Add(1)
		r.add(b, o, runs)
		if b.Succeeded < o.Requests {
			b.Makespan = Endless
		}
		times, bills = append(times, b.Makespan), append(bills, b.Billed)
	}
	slices.Sort(times)
	slices.Sort(bills)
	at := func(all []time.Duration, share float64) time.Duration {
		return all[min(len(all)-1, int(share*float64(len(all))))]
	}
	r.Time = Percentiles{at(times, .5), at(times, .9), at(times, .95), at(times, .99)}
	r.BilledP95 = at(bills, .95)
	return r
}

// add counts one of so many bursts.
func (r *Result) add(b model.Outcome, o Options, runs int) {
	part := 1 / float64(runs)
	if b.Succeeded == o.Requests {
		r.Whole += part
		if b.Makespan <= o.Within {
			r.Kept += part
		}
	}
	r.Refused += part * float64(b.Refused)
	r.SucceededMean += part * float64(b.Succeeded)
	r.Billed += b.Billed / time.Duration(runs)
}

// cheaper orders by cost, then by time, then by how little is asked for.
func cheaper(a, b Result) int {
	return cmp.Or(cmp.Compare(a.Billed, b.Billed), cmp.Compare(a.Time.P95, b.Time.P95), cmp.Compare(a.Min, b.Min), cmp.Compare(a.Max, b.Max),
		cmp.Compare(b.Value, a.Value), cmp.Compare(a.Warm, b.Warm), cmp.Compare(b.InFlight, a.InFlight), cmp.Compare(a.Idle, b.Idle))
}

func settingsOf(all []Result) []Setting {
	out := make([]Setting, len(all))
	for i, r := range all {
		out[i] = r.Setting
	}
	return out
}

// round is how many settings are looked at closely in one go.
const round = 32

// choose looks closely at what promises to be cheapest, until something is sure
// to keep the promise.
func (p *Plan) choose(ctx context.Context, rough []Result) {
	o := p.Options
	hopeful := slices.DeleteFunc(slices.Clone(rough), func(r Result) bool { return r.Kept < o.Share-0.35 })
	slices.SortFunc(hopeful, cheaper)
	for len(hopeful) > 0 && p.Best == nil && ctx.Err() == nil {
		n := min(round, len(hopeful))
		judged := o.all(ctx, settingsOf(hopeful[:n]), true, o.Runs)
		hopeful = hopeful[n:]
		slices.SortFunc(judged, cheaper)
		for _, r := range judged {
			if p.Best == nil && r.Kept >= o.Share-1e-9 {
				p.Best = &r
			}
		}
		p.nearest(judged)
	}
	p.nearest(rough)
}

// nearest keeps what keeps the promise most often, or is fastest.
func (p *Plan) nearest(all []Result) {
	for _, r := range all {
		if p.Closest == nil || r.Kept > p.Closest.Kept || r.Kept == p.Closest.Kept && r.Time.P95 < p.Closest.Time.P95 {
			p.Closest = &r
		}
	}
}

// frontier is what nothing else beats in both time and cost.
func (p *Plan) frontier(ctx context.Context, rough []Result) {
	const most = 40
	front := pareto(rough)
	for len(front) > most { // thin it out evenly
		kept := front[:0:0]
		for i, r := range front {
			if i%2 == 0 || i == len(front)-1 {
				kept = append(kept, r)
			}
		}
		front = kept
	}
	judged := p.Options.all(ctx, settingsOf(front), true, p.Options.Runs)
	if p.Best != nil {
		judged = append(judged, *p.Best)
	}
	p.Frontier = pareto(judged)
}

// pareto returns the results that no other beats in both, fastest first.
func pareto(all []Result) (front []Result) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Result) int { return cmp.Or(cmp.Compare(a.Time.P95, b.Time.P95), cheaper(a, b)) })
	for _, r := range all {
		if r.Time.P95 != Endless && (len(front) == 0 || r.Billed < front[len(front)-1].Billed) {
			front = append(front, r)
		}
	}
	return front
}

// ask answers the question of the stress tests for the endpoint as it is.
func (p *Plan) ask(ctx context.Context) {
	o, c := p.Options, p.Options.Config
	own := Setting{Max: c.MaxWorkers, Value: c.ScalerValue, Idle: c.IdleTimeout, InFlight: o.Concurrency}
	p.Question.Retries = o.judge(ctx, own, true, o.Runs)
	for n := 0; n <= max(c.MaxWorkers, o.MaxWorkers) && ctx.Err() == nil && !p.Question.Found; n++ {
		s := own
		s.Min, s.Max = n, max(n, own.Max)
		r := o.judge(ctx, s, false, o.Runs)
		p.Question.Plain = append(p.Question.Plain, r)
		p.Question.Found = r.Whole >= o.Share-1e-9
	}
}
