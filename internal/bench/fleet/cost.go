package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

// cost is what a job costs, of many.
type cost struct {
	submit, bare time.Duration // on the clock: by Submit, and by a bare publish of the same bytes
	job, call    time.Duration // processor time: by a fleet with its server, and by Client.Call alone
}

func (c cost) String() string {
	return fmt.Sprintf("submit %s, bare %s; processor: job %s, call %s", c.submit, c.bare, c.job, c.call)
}

func medianCost(of []cost) cost {
	return cost{
		submit: median(of, func(c cost) time.Duration { return c.submit }), bare: median(of, func(c cost) time.Duration { return c.bare }),
		job: median(of, func(c cost) time.Duration { return c.job }), call: median(of, func(c cost) time.Duration { return c.call }),
	}
}

func measure(ctx context.Context, n int) (c cost, err error) {
	answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Runpod-Worker-Id", "w1")
		fmt.Fprint(w, `{"ok":true}`)
	}))
	defer answer.Close()
	client, err := runpod.New(runpod.WithEndpoint(answer.URL), runpod.WithAPIKey("key"))
	if err != nil {
		return c, err
	}
	defer client.Close()
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	engine, err := embedded.Start(filepath.Join(dir, "queue"))
	if err != nil {
		return c, err
	}
	defer engine.Close()
	f, err := fleet.Open(ctx, engine.Conn(), fleet.Config{Name: "bench", InFlight: inFlight})
	if err != nil {
		return c, err
	}
	defer f.Close()
	start := time.Now()
	if _, err := f.Submit(ctx, nil, specs(n)); err != nil {
		return c, err
	}
	c.submit = time.Since(start) / time.Duration(n)
	if c.bare, err = publish(ctx, engine, n); err != nil {
		return c, err
	}
	if c.job, err = jobs(ctx, f, client, n); err != nil {
		return c, err
	}
	c.call, err = calls(ctx, client, n)
	return c, err
}

func specs(n int) func(func(fleet.Spec) bool) {
	return func(yield func(fleet.Spec) bool) {
		for i := range n {
			if !yield(fleet.Spec{ID: fmt.Sprintf("job-%d", i), Path: "/do", Body: map[string]any{"n": i}, Idempotent: true}) {
				return
			}
		}
	}
}

// publish publishes what Submit has published, to a stream of the same kind.
func publish(ctx context.Context, engine *embedded.Server, n int) (time.Duration, error) {
	js, err := jetstream.New(engine.Conn(), jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		return 0, err
	}
	from, err := js.Stream(ctx, "FLEET_bench_jobs")
	if err != nil {
		return 0, err
	}
	var data [][]byte
	for i := range n {
		m, err := from.GetMsg(ctx, uint64(i+1))
		if err != nil {
			return 0, err
		}
		data = append(data, m.Data)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "bare", Subjects: []string{"bare.>"}}); err != nil {
		return 0, err
	}
	start := time.Now()
	for i, d := range data {
		if _, err := js.PublishAsync(fmt.Sprintf("bare.bench.jobs.job-%d", i), d, jetstream.WithStallWait(time.Minute)); err != nil {
			return 0, err
		}
	}
	<-js.PublishAsyncComplete()
	return time.Since(start) / time.Duration(n), nil
}

// jobs has a machine do the jobs, and returns the processor time of each.
func jobs(ctx context.Context, f *fleet.Fleet, client *runpod.Client, n int) (time.Duration, error) {
	before := processor()
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.Work(working, client, fleet.Slots(inFlight)) }()
	done := 0
	var failed error
	for _, err := range f.Results(ctx) {
		if done++; err != nil {
			failed = err
			break
		}
	}
	stop()
	if err := <-ended; err != nil || failed != nil || done != n {
		return 0, fmt.Errorf("%d of %d done: %v, %v", done, n, failed, err)
	}
	return (processor() - before) / time.Duration(n), nil
}

// calls makes the same calls without a fleet.
func calls(ctx context.Context, client *runpod.Client, n int) (time.Duration, error) {
	before := processor()
	var wg sync.WaitGroup
	errs := make([]error, inFlight)
	for w := range inFlight {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += inFlight {
				var out []byte
				_, errs[w] = client.Call(ctx, "POST", "/do", map[string]any{"n": i}, &out, runpod.Idempotent())
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return (processor() - before) / time.Duration(n), nil
}

// processor is the processor time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
