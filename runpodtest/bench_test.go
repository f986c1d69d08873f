package runpodtest_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/internal/cputime"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// inBubble runs f in virtual time. synctest wants a *testing.T, which a
// benchmark gets by running a test of its own.
func inBubble(b *testing.B, f func(t *testing.T)) {
	ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) { synctest.Test(t, f) }}})
	if !ok {
		b.Fatal("the test inside failed")
	}
}

// load sends requests, so many at once, and expects them all to be served.
func load(t *testing.T, cfg runpodtest.Config, requests, atOnce int) {
	tw := newTwin(t, cfg)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for next.Add(1) <= int64(requests) {
				if g := tw.send("POST", "/api/v1/tryon", `{"person":"a.jpg"}`); g.status != 200 {
					t.Errorf("status %d, error %v", g.status, g.err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkTwinBurst is the stress tests' burst, 30 jobs and 15 at once, in
// virtual time.
func BenchmarkTwinBurst(b *testing.B) {
	for b.Loop() {
		inBubble(b, func(t *testing.T) {
			load(t, runpodtest.Config{ColdStart: runpodtest.Fixed(60 * time.Second)}, 30, 15)
		})
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "real-ms/burst")
	if perBurst := b.Elapsed() / time.Duration(b.N); perBurst > 100*time.Millisecond {
		b.Errorf("a burst takes %v of real time, allowed are 100 ms", perBurst)
	}
}

// BenchmarkTwin keeps 2,000 requests in flight on 500 workers.
func BenchmarkTwin(b *testing.B) {
	cost := map[int]time.Duration{}
	for _, size := range []struct {
		name     string
		requests int
	}{{"10k", 10_000}, {"100k", 100_000}} {
		b.Run(size.name, func(b *testing.B) {
			before := cputime.Used()
			for b.Loop() {
				inBubble(b, func(t *testing.T) {
					load(t, runpodtest.Config{MaxWorkers: 500, ColdStart: runpodtest.Fixed(30 * time.Second)}, size.requests, 2000)
				})
			}
			each := (cputime.Used() - before) / time.Duration(b.N*size.requests)
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			cost[size.requests] = each
			b.ReportMetric(each.Seconds()*1e3, "cpu-ms/attempt")
			b.ReportMetric(float64(mem.Sys)/1e6, "MB-from-system")
			if each > 500*time.Microsecond || mem.Sys > 2e9 {
				b.Errorf("%v of processor time an attempt and %d MB, allowed are 0.5 ms and 2 GB", each, mem.Sys/1e6)
			}
		})
	}
	if small, large := cost[10_000], cost[100_000]; small > 0 && float64(large) > 1.5*float64(small) {
		b.Errorf("an attempt costs %v of 100,000 and %v of 10,000: more than 1.5 times", large, small)
	}
}
