package runpod

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRunAllIsDrivenByItsConsumer(t *testing.T) {
	cfg := warm()
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var pulled atomic.Int64
		jobs := func(yield func(Job) bool) {
			for range 100 {
				pulled.Add(1)
				if !yield(Job{Method: "GET", Path: "/x"}) {
					return
				}
			}
		}
		next, stop := iter.Pull2(c.RunAll(t.Context(), jobs))
		defer stop()
		next()
		time.Sleep(time.Hour) // nobody takes results
		// One result was taken; 2 + 3 more may be ready or running, one is read ahead.
		if n, most := pulled.Load(), int64(1+2+3); n > most {
			t.Errorf("%d jobs were read, want at most %d", n, most)
		}
		if in, _, _ := c.ep.admission.gate.Counts(); in != 0 {
			t.Errorf("%d requests hang on a slow consumer", in)
		}
		seen := 1
		for {
			r, err, ok := next()
			if !ok {
				break
			}
			if err != nil {
				t.Error(r.JobID, err)
			}
			seen++
		}
		if seen != 100 {
			t.Errorf("%d results", seen)
		}
	}, WithMaxInFlight(2), WithS3Conns(3))
}

func TestRunAllBreakCancelsAndWaits(t *testing.T) {
	cfg := warm()
	cfg.MinWorkers, cfg.ServiceTime = 1, runpodtest.Fixed(30*time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		for _, err := range c.RunAll(t.Context(), tryonlessJobs(20)) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if took := time.Since(start); took > 31*time.Second {
			t.Errorf("breaking out took %s", took)
		}
		if st := c.Stats(); st.InFlight != 0 || st.Waiting != 0 {
			t.Errorf("left behind: %+v", st)
		}
		if _, err := c.Call(t.Context(), "GET", "/", nil, nil); err != nil {
			t.Errorf("the client is of no more use: %v", err)
		}
	})
}

func tryonlessJobs(n int) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for range n {
			if !yield(Job{Path: "/x"}) {
				return
			}
		}
	}
}

// When the context ends, each job that had begun is reported once, and no
// other is begun.
func TestRunAllReportsStartedJobsOnce(t *testing.T) {
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // workers take longer
		defer cancel()
		var pulled []string
		jobs := func(yield func(Job) bool) {
			for job := range tryonJobs(t.TempDir(), 1000) {
				pulled = append(pulled, job.ID)
				if !yield(job) {
					return
				}
			}
		}
		var reported []string
		for r, err := range c.RunAll(ctx, jobs) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", r.JobID, err)
			}
			reported = append(reported, r.JobID)
		}
		slices.Sort(pulled)
		slices.Sort(reported)
		if !slices.Equal(pulled, reported) || len(pulled) == 0 || len(pulled) == 1000 {
			t.Errorf("%d read, %d reported", len(pulled), len(reported))
		}
		if left := remains(t, srv, "inputs"); len(left) > 0 {
			t.Errorf("inputs left on the volume: %v", left)
		}
	}, WithMaxInFlight(4), WithS3Conns(4))
}

// What RunAll did not bring, jobs that failed and jobs that were never read
// alike, is found by the Index of what it brought, and can be run again.
func TestRunAllTellsWhatToRunAgain(t *testing.T) {
	cfg := coldEndpoint(5)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		const n = 40
		dir := t.TempDir()
		jobs := slices.Collect(tryonJobs(dir, n))
		refused := jobs[0].Body
		jobs[0].Body = func([]Object) (any, error) { return nil, errors.New("not today") }
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var read, failed int
		done := make([]bool, n)
		for r, err := range c.RunAll(ctx, slices.Values(jobs)) {
			read = max(read, r.Index+1)
			if err == nil {
				done[r.Index] = true
			} else {
				failed++
			}
		}
		var again []Job
		for i, job := range jobs {
			if !done[i] {
				again = append(again, job)
			}
		}
		if finished := n - len(again); finished == 0 || failed < 2 || read == n || finished+failed != read {
			t.Fatalf("of %d jobs %d were read: %d finished, %d failed: the test shows nothing", n, read, finished, failed)
		}
		again[0].Body = refused
		for r, err := range c.RunAll(t.Context(), slices.Values(again)) {
			if err != nil {
				t.Error(r.JobID, err)
			}
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*.jpg")); len(files) != n {
			t.Errorf("%d results of %d", len(files), n)
		}
	}, WithMaxInFlight(8))
}
