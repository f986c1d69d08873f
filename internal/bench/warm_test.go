package bench

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// warmSeeds is how many seeds the medians of TestWarm are over.
const warmSeeds = 20

// warmed is an endpoint whose workers take a minute to start, a client of it, and
// the burst that meets it.
type warmed struct {
	plan   *plan
	srv    *runpodtest.Server
	client *runpod.Client
	made   time.Time
	begun  time.Time
	first  time.Duration // from the burst's begin to its first result
	whole  time.Duration // to its last
	failed int
}

// warmPlan is a burst of jobs at most 15 at once, on 3 workers with a cold start
// of a minute.
func warmPlan(jobs int, seed uint64) *plan {
	sc := burst("warm", "", func(s *scenario) { s.jobs, s.cold = jobs, fixed(time.Minute) })
	return newPlan(&sc, seed)
}

// inWarm lets a client with these options meet a plan, in a time bubble.
func inWarm(t *testing.T, p *plan, volume string, do func(t *testing.T, w *warmed), opts ...runpod.Option) {
	synctest.Test(t, func(t *testing.T) {
		floor := &shop{plan: p, worked: make([]int, p.sc.jobs), sent: make([]int, p.sc.jobs)}
		cfg := p.config(floor, volume)
		cfg.Handler = func(w runpodtest.Worker) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", floor.worker(w))
			mux.HandleFunc("/ping", func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
			return mux
		}
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		w := &warmed{plan: p, srv: srv, made: time.Now()}
		w.client = w.open(t, opts...)
		defer w.client.Close()
		do(t, w)
	})
}

// open makes a client of the endpoint, with its control plane.
func (w *warmed) open(t *testing.T, opts ...runpod.Option) *runpod.Client {
	transport := &http.Transport{DialContext: w.srv.DialContext}
	plane, err := control.New(control.WithAPIKey(w.srv.APIKey), control.WithURL(w.srv.ControlURL), control.WithHTTPTransport(transport))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plane.Close() })
	c, err := runpod.New(append([]runpod.Option{
		runpod.WithAPIKey(w.srv.APIKey), runpod.WithEndpoint(w.srv.EndpointURL), runpod.WithControl(plane.For(w.srv.EndpointID)),
		runpod.WithS3Endpoint(w.srv.S3URL, w.srv.Region, w.srv.Bucket), runpod.WithS3Credentials(w.srv.AccessKeyID, w.srv.SecretAccessKey),
		runpod.WithHTTPTransport(transport), runpod.WithMaxInFlight(w.plan.sc.atOnce),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run bursts the plan's jobs, each with so many inputs of which every one takes
// so long to upload.
func (w *warmed) run(inputs int, upload time.Duration) {
	w.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(upload)})
	jobs := func(yield func(runpod.Job) bool) {
		for i := range w.plan.sc.jobs {
			job := runpod.Job{Path: jobPath(i), Idempotent: true, KeepInputs: true}
			for range inputs {
				job.Inputs = append(job.Inputs, runpod.JobInput{Input: runpod.Bytes("photo.jpg", []byte("x"))})
			}
			if !yield(job) {
				return
			}
			time.Sleep(handOver) // the order of the jobs is the same with and without the wake
		}
	}
	w.begun = time.Now()
	for _, err := range w.client.RunAll(context.Background(), jobs) {
		w.whole = time.Since(w.begun)
		if w.first == 0 {
			w.first = w.whole
		}
		if err != nil {
			w.failed++
		}
	}
}

// bill lets the workers idle out and is what they have cost, in worker-seconds.
func (w *warmed) bill() float64 {
	w.plan.settle(w.srv)
	return w.srv.Stats().Billed().Seconds()
}

// TestWarm prints what waking workers during the uploads and holding them before
// a burst come to, with every target as met or missed, and fails on a missed one.
//
//	go -C internal/bench test -run Warm -v .
func TestWarm(t *testing.T) {
	volume := t.TempDir()
	var all []target
	all = append(all, warmOverlap(t, volume, "uploads 20 s", 1, 20*time.Second, true, runpod.WithS3Conns(30))...)
	all = append(all, warmOverlap(t, volume, "uploads 2.5 s", 2, 2500*time.Millisecond, false)...)
	all = append(all, warmHold(t, volume)...)
	all = append(all, warmEndings(t, volume)...)
	printTargets(os.Stdout, all)
	for _, x := range all {
		if !x.met {
			t.Errorf("%s: %s: want %s, got %s", x.scenario, x.name, x.want, x.got)
		}
	}
}

// warmOverlap compares a burst of 30 with and without a wake of 3 workers during
// its uploads. Where the first call comes before all uploads are done (not whole:
// 60 inputs through the default pool of 8 connections take 20 s in all), less can
// be saved: only the bound and the bill are targets then.
func warmOverlap(t *testing.T, volume, name string, inputs int, upload time.Duration, whole bool, opts ...runpod.Option) []target {
	with := append([]runpod.Option{runpod.WithWarmup(3)}, opts...)
	var first, makespan, bound, billed, was []float64
	for seed := range uint64(warmSeeds) {
		p := warmPlan(30, seed+1)
		var cold, warm warmed
		var coldBill, warmBill float64
		inWarm(t, p, volume, func(t *testing.T, w *warmed) { w.run(inputs, upload); coldBill = w.bill(); cold = *w }, opts...)
		inWarm(t, p, volume, func(t *testing.T, w *warmed) { w.run(inputs, upload); warmBill = w.bill(); warm = *w }, with...)
		if cold.failed+warm.failed > 0 {
			t.Errorf("%s, seed %d: %d and %d jobs failed", name, seed, cold.failed, warm.failed)
		}
		gain := min(upload, time.Minute).Seconds()
		first = append(first, (cold.first-warm.first).Seconds()/gain)
		makespan = append(makespan, (cold.whole-warm.whole).Seconds()/gain)
		bound = append(bound, warm.whole.Seconds()/p.bound().Seconds())
		was = append(was, cold.whole.Seconds()/p.bound().Seconds())
		billed = append(billed, warmBill/coldBill)
	}
	fmt.Printf("%s: saved on the first result %.1f s, on the makespan %.1f s; makespan/bound %.3f, without the wake %.3f; bill x %.3f\n",
		name, median(first)*min(upload, time.Minute).Seconds(), median(makespan)*min(upload, time.Minute).Seconds(), median(bound), median(was), median(billed))
	var all []target
	if whole {
		all = append(all, atLeastFigure(name, "saved on the first result / min(upload, cold start)", 0.95, median(first)),
			atLeastFigure(name, "saved on the makespan / min(upload, cold start)", 0.95, median(makespan)))
	}
	return append(all, atMostFigure(name, "makespan / bound with the cold start at time zero", 1.03, median(bound)),
		atMostFigure(name, "worker-seconds billed / without the wake", 1.05, median(billed)))
}

func atLeastFigure(scenario, name string, want, got float64) target {
	return target{scenario: scenario, name: name, want: fmt.Sprintf("at least %.2f", want), got: fmt.Sprintf("%.3f", got), met: got >= want}
}

func atMostFigure(scenario, name string, want, got float64) target {
	return target{scenario: scenario, name: name, want: fmt.Sprintf("at most %.2f", want), got: fmt.Sprintf("%.3f", got), met: got <= want}
}

// warmHold holds 3 workers one cold start before a burst of 15.
func warmHold(t *testing.T, volume string) []target {
	const name = "held before"
	var third, refused, withHold, without, held []float64
	for seed := range uint64(warmSeeds) {
		p := warmPlan(15, seed+1)
		inWarm(t, p, volume, func(t *testing.T, w *warmed) { w.run(0, 0); without = append(without, w.bill()) })
		inWarm(t, p, volume, func(t *testing.T, w *warmed) {
			h, err := w.client.HoldWorkers(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			w.run(0, 0)
			if err := h.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			var starts []time.Duration
			for _, r := range w.srv.Requests() {
				if r.Path != "/ping" && r.Worker != "" {
					starts = append(starts, r.Started-w.begun.Sub(w.made))
				}
			}
			slices.Sort(starts)
			third = append(third, starts[2].Seconds())
			refused = append(refused, float64(w.srv.Stats().Refused))
			withHold = append(withHold, w.bill())
			held = append(held, w.client.Stats().HeldWorkerSeconds)
		})
	}
	fmt.Printf("%s a burst of 15: billed %.0f worker-seconds, without the hold %.0f (Stats counts %.0f held). Three cold starts "+
		"are paid either way; the hold adds what workers stand idle before the burst, and after it until the release: here next to nothing\n",
		name, median(withHold), median(without), median(held))
	worst := slices.Max(refused)
	return []target{
		atMostFigure(name, "seconds from the burst's begin until 3 jobs have a worker, most of any seed", 1, slices.Max(third)),
		atMostFigure(name, "cold 400s, most of any seed", 0, worst),
	}
}

// warmEndings is what can go wrong while workers are held: each ends with the
// minimum that there was before, or that a person chose, or with an error that
// says what to run, which then does it.
func warmEndings(t *testing.T, volume string) (all []target) {
	endings := map[string]func(t *testing.T, w *warmed, b *runpod.Client) (want int){
		"killed while holding, then the next to hold": func(t *testing.T, w *warmed, b *runpod.Client) int {
			kill(t, w)
			time.Sleep(2 * time.Minute)
			h, err := b.HoldWorkers(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Release(t.Context()); err != nil {
				t.Error(err)
			}
			return 0
		},
		"a stale record, then runpod-workers release": func(t *testing.T, w *warmed, b *runpod.Client) int {
			kill(t, w)
			time.Sleep(2 * time.Minute)
			if gone, err := b.ClearHolds(t.Context(), false); err != nil || len(gone) != 1 {
				t.Error(gone, err)
			}
			return 0
		},
		"control plane down at release, then runpod-workers release": func(t *testing.T, w *warmed, b *runpod.Client) int {
			rule := w.srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: runpodtest.Always, Do: runpodtest.Answer(503, "")})
			if err := w.client.Close(); err == nil {
				t.Error("released, without a control plane")
			} else {
				fmt.Println("control plane down at release:", err)
			}
			rule.Remove()
			if _, err := b.ClearHolds(t.Context(), false); err != nil {
				t.Error(err)
			}
			return 0
		},
		"two clients in one process": func(t *testing.T, w *warmed, b *runpod.Client) int {
			if _, err := b.HoldWorkers(t.Context(), 3); err != nil {
				t.Error(err)
			}
			w.client.Close()
			if n, _ := w.srv.WorkerBounds(); n != 3 {
				t.Errorf("minimum %d while one still holds 3", n)
			}
			b.Close()
			return 0
		},
		"a person's change in between": func(t *testing.T, w *warmed, b *runpod.Client) int {
			if err := w.srv.SetWorkers(1, 3); err != nil {
				t.Error(err)
			}
			w.client.Close()
			return 1
		},
	}
	for _, name := range slices.Sorted(maps.Keys(endings)) {
		inWarm(t, warmPlan(1, 1), volume, func(t *testing.T, w *warmed) {
			b := w.open(t)
			defer b.Close()
			if _, err := w.client.HoldWorkers(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			want := endings[name](t, w, b)
			got, _ := w.srv.WorkerBounds()
			all = append(all, target{scenario: "minimum after", name: name, want: fmt.Sprint(want), got: fmt.Sprint(got), met: got == want})
		})
	}
	return all
}

// kill makes of the client what kill -9 leaves: nothing of it reaches anybody.
func kill(t *testing.T, w *warmed) {
	var rules []*runpodtest.Rule
	for _, on := range []runpodtest.Service{runpodtest.OnControl, runpodtest.OnS3} {
		rules = append(rules, w.srv.Fault(runpodtest.Fault{On: on, Times: runpodtest.Always, Do: runpodtest.Answer(503, "")}))
	}
	if err := w.client.Close(); err == nil {
		t.Error("closed in good order, without any connection")
	}
	for _, r := range rules {
		r.Remove()
	}
	if n, _ := w.srv.WorkerBounds(); n != 2 {
		t.Errorf("the minimum is %d: nothing was left raised", n)
	}
}
