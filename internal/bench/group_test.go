package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// way is one way to use two endpoints. Its function says where the n-th job goes;
// nil: a runpod.Group chooses.
type way struct {
	name   string
	choose func(random *rand.Rand, n int) int
}

// ways are those that are compared; the group is the last.
var ways = []way{
	{"the first alone", func(*rand.Rand, int) int { return 0 }},
	{"a random choice", func(r *rand.Rand, _ int) int { return r.IntN(2) }},
	{"round robin", func(_ *rand.Rand, n int) int { return n % 2 }},
	{"group", nil},
}

// theSecond is the way that the first scenario's bound is measured with.
var theSecond = way{"the second alone", func(*rand.Rand, int) int { return 1 }}

// groupScenario is what two endpoints meet, and what is wanted of the group.
type groupScenario struct {
	name, what string
	jobs       int
	warm       bool // 3 workers of each are up at the start
	blind      bool // there is no control plane to ask
	unmarked   bool // jobs are not idempotent
	trouble    func(ctx context.Context, first *runpodtest.Server)
	targets    func(name string, of func(way) []groupFigures, rest groupRest) []target
}

// groupFigures is what one way came to on one seed.
type groupFigures struct {
	makespan, billed  float64 // seconds
	failed, silent    int     // jobs; those that failed and do not say that they may have run, though they have begun
	twice, overlapped int     // jobs that a worker got twice; whose requests were out at both endpoints at once
	refused           int     // attempts
}

// groupRest is what targets are held against, one value a seed.
type groupRest struct{ second, work []float64 }

// noGPU is for how long the first endpoint of the first scenario gets no worker.
const noGPU = 30 * time.Minute

// death is when the first endpoint dies.
const death = time.Minute

var groupScenarios = []groupScenario{
	{name: "no GPU", what: "the first has no GPU for 30 min, the second is cold", jobs: 30, blind: true, trouble: withoutGPU, targets: noGPUTargets},
	{name: "both well", what: "both have 3 warm workers", jobs: 120, warm: true, targets: wellTargets},
	{name: "dies", what: "both have 3 warm workers, and the first dies after 1 min", jobs: 60, warm: true, trouble: dies, targets: diesTargets},
	{name: "dies, once", what: "the same, with jobs that are not idempotent", jobs: 60, warm: true, unmarked: true, trouble: dies, targets: onceTargets},
	{name: "no GPU, once", what: "the first has no GPU for 30 min, with jobs that are not idempotent", jobs: 30, blind: true, unmarked: true, trouble: withoutGPU, targets: noGPUTargets},
	{name: "both cold", what: "both are cold, and the first suffices", jobs: 30, targets: coldTargets},
}

func withoutGPU(ctx context.Context, first *runpodtest.Server) {
	first.SetWorkers(0, 0)
	if sleep(ctx, noGPU) {
		first.SetWorkers(0, 3)
	}
}

// dies makes the balancer answer 502 and kills the workers, for good.
func dies(ctx context.Context, first *runpodtest.Server) {
	if !sleep(ctx, death) {
		return
	}
	first.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(http.StatusBadGateway, "error code: 502")})
	first.SetWorkers(0, 0)
	for _, w := range first.Workers() {
		first.CrashWorker(w.ID) // one that has stopped already is none any more
	}
}

// TestGroup prints what a group of two endpoints comes to beside simpler ways to
// use them, with every target as met or missed, and fails on a missed one.
//
//	go -C internal/bench test -run Group -v .
func TestGroup(t *testing.T) {
	var all []target
	for i := range groupScenarios {
		all = append(all, groupScenarios[i].compare(t, os.Stdout)...)
	}
	printTargets(os.Stdout, all)
	for _, x := range all {
		if !x.met {
			t.Errorf("%s: %s: want %s, got %s", x.scenario, x.name, x.want, x.got)
		}
	}
}

// compare lets every way meet the scenario on every seed.
func (sc *groupScenario) compare(t *testing.T, out io.Writer) []target {
	volume := t.TempDir()
	got := map[string][]groupFigures{}
	var rest groupRest
	for seed := range uint64(chosenSeeds()) {
		run := func(w way, trouble bool) groupFigures {
			m := sc.meeting(seed+1, w, trouble)
			synctest.Test(t, func(t *testing.T) { m.hold(t, volume) })
			return m.figures
		}
		for _, w := range ways {
			got[w.name] = append(got[w.name], run(w, true))
		}
		second := run(theSecond, false)
		work := sc.meeting(seed+1, theSecond, false).plans[0].work().Seconds()
		rest.second = append(rest.second, second.makespan)
		rest.work = append(rest.work, work)
	}
	sc.print(out, got)
	return sc.targets(sc.name, func(w way) []groupFigures { return got[w.name] }, rest)
}

// print writes the scenario's table as docs/group.md has it.
func (sc *groupScenario) print(out io.Writer, got map[string][]groupFigures) {
	fmt.Fprintf(out, "\n**%s**: %s; %d jobs.\n\n| %-15s | makespan, s | worker-seconds | requests refused | jobs failed | ran twice |\n|---|--:|--:|--:|--:|--:|\n", sc.name, sc.what, sc.jobs, "")
	for _, w := range ways {
		fs := got[w.name]
		fmt.Fprintf(out, "| %-15s | %11.0f | %14.0f | %16.0f | %11s | %9s |\n", w.name, middle(fs, makespanOf), middle(fs, billOf), middle(fs, refusedOf),
			fmt.Sprintf("%d of %d", total(fs, func(f groupFigures) int { return f.failed }), sc.jobs*len(fs)),
			fmt.Sprint(total(fs, func(f groupFigures) int { return f.twice })))
	}
}

func refusedOf(f groupFigures) float64  { return float64(f.refused) }
func makespanOf(f groupFigures) float64 { return f.makespan }
func billOf(f groupFigures) float64     { return f.billed }

func middle(fs []groupFigures, of func(groupFigures) float64) float64 {
	var values []float64
	for _, f := range fs {
		values = append(values, of(f))
	}
	return median(values)
}

func total(fs []groupFigures, of func(groupFigures) int) (sum int) {
	for _, f := range fs {
		sum += of(f)
	}
	return sum
}

// meeting is one way's meeting with a scenario on one seed.
type meeting struct {
	sc      *groupScenario
	way     way
	trouble bool
	seed    uint64
	plans   [2]*plan // of the endpoints; their jobs are the same
	figures groupFigures
}

func (sc *groupScenario) meeting(seed uint64, w way, trouble bool) *meeting {
	m := &meeting{sc: sc, way: w, trouble: trouble && sc.trouble != nil, seed: seed}
	s := burst("group", "", func(s *scenario) { s.jobs = sc.jobs })
	m.plans[0], m.plans[1] = newPlan(&s, seed), newPlan(&s, seed+1000)
	return m
}

// hold runs the jobs, all of them handed over at once. It is to be called in a
// time bubble.
func (m *meeting) hold(t *testing.T, volume string) {
	floor := &shop{plan: m.plans[0], worked: make([]int, m.sc.jobs), sent: make([]int, m.sc.jobs)}
	var servers []*runpodtest.Server
	var clients []*runpod.Client
	for i, p := range m.plans {
		cfg := p.config(floor, volume)
		cfg.EndpointID = fmt.Sprint("endpoint", i+1)
		if m.sc.warm {
			cfg.MinWorkers = p.sc.workers
		}
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if m.sc.warm { // from now on they idle out
			srv.SetWorkers(0, p.sc.workers)
		}
		servers = append(servers, srv)
		clients = append(clients, m.client(t, srv))
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.plans[0].sc.horizon)
	defer cancel()
	var wg sync.WaitGroup
	if m.trouble {
		wg.Go(func() { m.sc.trouble(ctx, servers[0]) })
	}
	errs := m.run(ctx, t, clients)
	cancel()
	wg.Wait()
	for i, srv := range servers {
		m.plans[i].settle(srv)
		m.figures.billed += srv.Stats().Billed().Seconds()
		m.figures.refused += srv.Stats().Refused
	}
	m.count(errs, floor, servers)
}

func (m *meeting) client(t *testing.T, srv *runpodtest.Server) *runpod.Client {
	transport := &http.Transport{DialContext: srv.DialContext}
	opts := []runpod.Option{
		runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL), runpod.WithHTTPTransport(transport),
		runpod.WithMaxInFlight(m.plans[0].sc.atOnce),
	}
	if !m.sc.blind {
		plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithHTTPTransport(transport))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { plane.Close() })
		opts = append(opts, runpod.WithControl(plane.For(srv.EndpointID)))
	}
	c, err := runpod.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs the jobs and returns how each ended.
func (m *meeting) run(ctx context.Context, t *testing.T, clients []*runpod.Client) []error {
	group, err := runpod.NewGroup(clients)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	random := rand.New(rand.NewPCG(m.seed, 7))
	errs := make([]error, m.sc.jobs)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range errs {
		do := group.Run
		if m.way.choose != nil {
			do = clients[m.way.choose(random, n)].Run
		}
		wg.Go(func() {
			_, errs[n] = do(ctx, runpod.Job{ID: fmt.Sprint(n), Path: jobPath(n), Body: func([]runpod.Object) (any, error) { return map[string]int{"job": n}, nil }, Idempotent: !m.sc.unmarked})
		})
		time.Sleep(handOver)
	}
	wg.Wait()
	m.figures.makespan = time.Since(start).Seconds()
	return errs
}

// count fills in what became of the jobs.
func (m *meeting) count(errs []error, floor *shop, servers []*runpodtest.Server) {
	for n, err := range errs {
		if floor.worked[n] > 1 {
			m.figures.twice++
		}
		if outAtBoth(jobPath(n), servers) {
			m.figures.overlapped++
		}
		if err == nil {
			continue
		}
		m.figures.failed++
		if e, ok := errors.AsType[*runpod.Error](err); floor.worked[n] > 0 && (!ok || !e.MayHaveRun) {
			m.figures.silent++
		}
	}
}

// outAtBoth reports whether requests of a job were at both endpoints at once.
func outAtBoth(path string, servers []*runpodtest.Server) bool {
	var of [2][]runpodtest.Request
	for i, srv := range servers {
		of[i] = slices.DeleteFunc(srv.Requests(), func(r runpodtest.Request) bool { return r.Path != path })
	}
	for _, a := range of[0] {
		if slices.ContainsFunc(of[1], func(b runpodtest.Request) bool { return a.Arrived < b.Ended && b.Arrived < a.Ended }) {
			return true
		}
	}
	return false
}

// atMostPrinted is a target that the figure is held against as it is printed.
func atMostPrinted(scenario, name string, want, got float64) target {
	return atMostFigure(scenario, name, want, math.Round(got*1000)/1000)
}

// groupWay is the way that is under test.
var groupWay = ways[len(ways)-1]

func noneLost(name string, of func(way) []groupFigures) target {
	return atMostFigure(name, "jobs that failed, all seeds", 0, float64(total(of(groupWay), func(f groupFigures) int { return f.failed })))
}

// runOnce is what holds for jobs that are not idempotent.
func runOnce(name string, of func(way) []groupFigures) []target {
	return []target{
		atMostFigure(name, "jobs that ran twice, all seeds", 0, float64(total(of(groupWay), func(f groupFigures) int { return f.twice }))),
		atMostFigure(name, "jobs at both endpoints at once, all seeds", 0, float64(total(of(groupWay), func(f groupFigures) int { return f.overlapped }))),
		atMostFigure(name, "jobs that may have run and do not say so, all seeds", 0, float64(total(of(groupWay), func(f groupFigures) int { return f.silent }))),
	}
}

func noGPUTargets(name string, of func(way) []groupFigures, rest groupRest) []target {
	var over []float64
	for i, f := range of(groupWay) {
		over = append(over, f.makespan/(rest.second[i]+queueWait.Seconds()))
	}
	all := []target{noneLost(name, of), atMostFigure(name, "makespan / the second alone and one refusal, worst seed", 1.05, slices.Max(over))}
	if strings.Contains(name, "once") {
		all = append(all, runOnce(name, of)...)
	}
	return all
}

func wellTargets(name string, of func(way) []groupFigures, rest groupRest) []target {
	var over []float64
	for i, f := range of(groupWay) {
		over = append(over, f.makespan/(rest.work[i]/6))
	}
	return []target{
		noneLost(name, of),
		atMostFigure(name, "makespan / bound of the 6 workers", 1.03, median(over)),
		atMostFigure(name, "worker-seconds / best of the others'", 1.05, middle(of(groupWay), billOf)/bestOther(of, billOf)),
	}
}

func bestOther(of func(way) []groupFigures, figure func(groupFigures) float64) float64 {
	var values []float64
	for _, w := range ways[:len(ways)-1] {
		if total(of(w), func(f groupFigures) int { return f.failed }) == 0 {
			values = append(values, middle(of(w), figure))
		}
	}
	return slices.Min(values)
}

// diesTargets: the bound is what 6 workers do until the first endpoint dies, and 3
// do after it.
func diesTargets(name string, of func(way) []groupFigures, rest groupRest) []target {
	var over []float64
	for i, f := range of(groupWay) {
		bound := death.Seconds() + (rest.work[i]-6*death.Seconds())/3
		over = append(over, f.makespan/bound)
	}
	return []target{noneLost(name, of), atMostFigure(name, "makespan / bound of the workers that live", 1.15, median(over))}
}

func onceTargets(name string, of func(way) []groupFigures, rest groupRest) []target {
	// What the 3 workers that die have begun may have run: nobody can save it.
	lost := slices.Max(slices.Collect(func(yield func(int) bool) {
		for _, f := range of(groupWay) {
			if !yield(f.failed) {
				return
			}
		}
	}))
	return append([]target{atMostFigure(name, "jobs that failed, most of any seed", 3, float64(lost))}, runOnce(name, of)...)
}

func coldTargets(name string, of func(way) []groupFigures, _ groupRest) []target {
	alone := of(ways[0])
	var over []float64
	for i, f := range of(groupWay) {
		over = append(over, f.billed/alone[i].billed)
	}
	return []target{
		noneLost(name, of),
		atMostPrinted(name, "worker-seconds / the first alone, worst seed", 1, slices.Max(over)),
		atMostFigure(name, "makespan / the first alone", 1.01, middle(of(groupWay), makespanOf)/middle(alone, makespanOf)),
	}
}
