package bench

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// site is what a client is told of the endpoint and of its caller's wishes.
type site struct {
	url, key   string
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	atOnce     int           // how many calls the caller makes at once
	idempotent bool          // running a call twice does no harm
	patience   time.Duration // after which the caller is no longer interested
}

// report is what a client says of a call besides success or error.
type report struct {
	mayHaveRun bool   // its error says that the call may have been carried out
	noWorkers  bool   // its error says that there is no worker
	pauses     []span // when it waited before another attempt
}

// span is a stretch of time, counted from the run's start or in wall time.
type span struct{ from, to time.Time }

// caller makes one call, with whatever resilience the client has. It is safe for
// concurrent use.
type caller func(ctx context.Context, path string, body []byte) (report, error)

// jobLog is what the caller saw of one job.
type jobLog struct {
	handed, done time.Time
	err          error
	report       report
}

// run is one client's meeting with a plan: what is needed to measure it.
type run struct {
	plan     *plan
	start    time.Time
	jobs     []jobLog
	worked   []int // executions by job, malformed ones included
	requests []runpodtest.Request
	workers  []runpodtest.WorkerLife
	peak     int // requests at the endpoint at once
}

// simulate lets a client meet a plan. It is to be called in a time bubble.
func simulate(p *plan, c client, volume string) (*run, error) {
	r := &run{plan: p, start: time.Now(), jobs: make([]jobLog, p.sc.jobs), worked: make([]int, p.sc.jobs)}
	floor := &shop{plan: p, worked: r.worked, sent: make([]int, p.sc.jobs)}
	srv, err := runpodtest.NewServer(p.config(floor, volume))
	if err != nil {
		return nil, err
	}
	defer srv.Close()
	floor.arm(srv)
	ctx, cancel := context.WithTimeout(context.Background(), p.sc.horizon)
	defer cancel()
	ctx, outage := p.startOutage(ctx, srv)
	s := site{
		url: srv.EndpointURL, key: srv.APIKey, dial: srv.DialContext,
		atOnce: p.sc.atOnce, idempotent: !p.sc.unmarked, patience: p.sc.horizon,
	}
	if p.sc.strangeRefusal {
		s.dial = estranged(s.dial)
	}
	call, closeClient := c.open(s)
	r.drive(ctx, call)
	cancel()
	outage.Wait()
	closeClient()
	p.settle(srv)
	r.requests, r.workers, r.peak = srv.Requests(), srv.Workers(), srv.Stats().PeakInFlight
	return r, nil
}

func (p *plan) config(floor *shop, volume string) runpodtest.Config {
	return runpodtest.Config{
		Seed: p.seed, VolumeDir: volume,
		MaxWorkers: p.sc.workers, ScalerValue: p.sc.scaler,
		ColdStart: runpodtest.Recorded(p.cold...), Handler: floor.worker,
		Unfairness: p.sc.unfairness, CancelStarting: p.sc.cancelStarting, MaxWaiting: p.sc.maxWaiting, OmitWorkerID: p.sc.noWorkerID,
		Refusal: runpodtest.Refusal(p.seed % 2),
	}
}

// handOver is the time between two calls of a burst, so that their order is the
// same for all clients.
const handOver = 100 * time.Microsecond

// drive makes the calls as the scenario's caller does.
func (r *run) drive(ctx context.Context, call caller) {
	var wg sync.WaitGroup
	places := make(chan struct{}, r.plan.sc.atOnce)
	for job := range r.jobs {
		places <- struct{}{}
		if wait := time.Until(r.start.Add(time.Duration(job) * r.plan.sc.every)); wait > 0 {
			time.Sleep(wait)
		}
		time.Sleep(handOver)
		wg.Go(func() {
			r.one(ctx, job, call)
			<-places
		})
	}
	wg.Wait()
}

func (r *run) one(ctx context.Context, job int, call caller) {
	l := &r.jobs[job]
	l.handed = time.Now()
	if l.err = ctx.Err(); l.err == nil {
		body, _ := json.Marshal(map[string]any{"job": job})
		l.report, l.err = call(ctx, jobPath(job), body)
	}
	l.done = time.Now()
}

// settle lets the workers idle out, so that their whole cost is known.
func (p *plan) settle(srv *runpodtest.Server) {
	for range 60 {
		alive := false
		for _, w := range srv.Workers() {
			alive = alive || w.Stopped == 0
		}
		if !alive {
			return
		}
		time.Sleep(30 * time.Second)
	}
}

// startOutage makes nothing work for a while: the balancer answers 503 and all
// workers are gone.
func (p *plan) startOutage(ctx context.Context, srv *runpodtest.Server) (context.Context, *sync.WaitGroup) {
	var wg sync.WaitGroup
	if p.sc.outage == 0 {
		return ctx, &wg
	}
	wg.Go(func() {
		if !sleep(ctx, p.sc.outage) {
			return
		}
		rule := srv.Fault(runpodtest.Fault{Times: runpodtest.Always,
			Do: runpodtest.Answer(http.StatusServiceUnavailable, "upstream connect error")})
		srv.SetWorkers(0, 0)
		for _, w := range srv.Workers() {
			srv.CrashWorker(w.ID) // one that has stopped already is none any more
		}
		sleep(ctx, outageLength)
		rule.Remove()
		srv.SetWorkers(0, p.sc.workers)
	})
	return ctx, &wg
}

// sleep waits for d, and reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func jobPath(job int) string { return "/job/" + strconv.Itoa(job) }

// jobOf is the job that a request's path names.
func jobOf(path string) int {
	job, err := strconv.Atoi(strings.TrimPrefix(path, "/job/"))
	if err != nil {
		panic("no job: " + path)
	}
	return job
}

// shop is what the workers of a run do. Its methods are safe for concurrent use.
type shop struct {
	plan   *plan
	mu     sync.Mutex
	worked []int // executions by job
	sent   []int // attempts by job, where the plan asks
}

// refusing is how long a worker takes to see that a call is malformed.
const refusing = 200 * time.Millisecond

// worker is the program of one worker: it works for as long as the plan says,
// also when its client has left, as a busy GPU does.
func (f *shop) worker(w runpodtest.Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		job := jobOf(req.URL.Path)
		n := f.count(f.worked, job)
		rw.Header().Set("Content-Type", "application/json")
		if f.plan.malformed[job] {
			sleep(w.Context, refusing)
			rw.WriteHeader(http.StatusBadRequest)
			rw.Write([]byte(`{"detail":"person: cannot identify image file"}`))
			return
		}
		if d := f.plan.service[job]; f.plan.sc.crash > 0 && f.plan.crashes(job, n) {
			sleep(w.Context, d/2)
			panic("out of memory")
		} else {
			sleep(w.Context, d)
		}
		rw.Write([]byte(`{"result_image_path":"/runpod-volume/results/1.png"}`))
	})
}

// count gives the number of this occasion, from 1.
func (f *shop) count(of []int, job int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	of[job]++
	return of[job]
}

// arm sets the 502s of the plan.
func (f *shop) arm(srv *runpodtest.Server) {
	if f.plan.sc.badGateway == 0 {
		return
	}
	const text = "error code: 502"
	srv.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(http.StatusBadGateway, text),
		Match: func(r *http.Request) bool {
			job := jobOf(r.URL.Path)
			return f.plan.gateway(job, f.count(f.sent, job)) == faultAtArrival
		}})
	srv.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.AnswerAfterWork(http.StatusBadGateway, text),
		Match: func(r *http.Request) bool { // asked only where the first rule did not match
			job := jobOf(r.URL.Path)
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.plan.gateway(job, f.sent[job]) == faultAfterWork
		}})
}
