package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
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
		if left := inputsLeft(t, srv); len(left) > 0 {
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

// unwell is a set of jobs one of which does something bad.
func unwell(n int, at int, spoil func(*Job)) []Job {
	jobs := slices.Collect(tryonlessJobs(n))
	spoil(&jobs[at])
	return jobs
}

// A job whose function panics or exits fails alone, with the stack; its place is
// free again and the others go on.
func TestRunAllOutlivesItsJobs(t *testing.T) {
	input := func(f func()) []JobInput {
		return []JobInput{{Input: Reader("r", 5, func(context.Context) (io.ReadCloser, error) { f(); return nil, nil })}}
	}
	kinds := map[string]func(*Job, func()){
		"Body":   func(j *Job, f func()) { j.Body = func([]Object) (any, error) { f(); return nil, nil } },
		"Output": func(j *Job, f func()) { j.Output = func(*Response) (string, error) { f(); return "", nil } },
		"Input":  func(j *Job, f func()) { j.Inputs = input(f) },
	}
	for name, spoil := range kinds {
		for how, f := range map[string]func(){"panics": func() { panic("at the disco") }, "exits": runtime.Goexit} {
			t.Run(name+" "+how, func(t *testing.T) {
				inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
					seen := map[int]int{}
					for r, err := range c.RunAll(t.Context(), slices.Values(unwell(20, 7, func(j *Job) { spoil(j, f) }))) {
						seen[r.Index]++
						if (err != nil) != (r.Index == 7) {
							t.Errorf("%d: %v", r.Index, err)
						}
						if e, ok := errors.AsType[*Error](err); r.Index == 7 && (!ok || e.JobID != "7") {
							t.Errorf("the error does not name the job: %v", err)
						}
						if text := fmt.Sprint(err); r.Index == 7 && how == "panics" && !(strings.Contains(text, "at the disco") && strings.Contains(text, "job_all_test.go")) {
							t.Errorf("no stack in %q", text)
						} else if r.Index == 7 && how == "exits" && !strings.Contains(text, "Goexit") {
							t.Errorf("%q does not say what happened", text)
						}
					}
					if len(seen) != 20 || seen[7] != 1 {
						t.Errorf("reported: %v", seen)
					}
					nothingHeld(t, c)
				})
			})
		}
	}
}

// nothingHeld fails the test if a place is still taken, and if the Client cannot
// be closed at once.
func nothingHeld(t *testing.T, c *Client) {
	t.Helper()
	if st := c.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("left behind: %+v", st)
	}
	if held, _, waiting := c.volume.gw.pool.Counts(); held != 0 || waiting != 0 {
		t.Errorf("S3 places: %d held, %d waited for", held, waiting)
	}
	start := time.Now()
	if err := c.Close(); err != nil || time.Since(start) > 0 {
		t.Errorf("closing took %s: %v", time.Since(start), err)
	}
}

// What the sequence does that is no error, the loop does too, once the jobs that
// were read have ended.
func TestRunAllDoesWhatItsSequenceDoes(t *testing.T) {
	for _, how := range []string{"panics", "exits"} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			jobs := func(yield func(Job) bool) {
				for range 3 {
					yield(Job{Path: "/x"})
				}
				if how == "exits" {
					runtime.Goexit()
				}
				panic("at the disco")
			}
			reported, after := 0, false
			var got any
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { got = recover() }()
				for _, err := range c.RunAll(t.Context(), jobs) {
					if err == nil {
						reported++
					}
				}
				after = true
			})
			wg.Wait()
			if text := fmt.Sprint(got); reported != 3 || after || strings.Contains(text, "at the disco") != (how == "panics") {
				t.Errorf("%s: %d reported, went on: %t, recovered %q", how, reported, after, text)
			}
			nothingHeld(t, c)
		})
	}
}

// The loop may close the Client: what had begun is reported, and nothing else.
func TestCloseWithinRunAll(t *testing.T) {
	inBubble(t, coldEndpoint(4), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		closed, after := false, 0
		for r, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 200)) {
			switch {
			case !closed:
				if err != nil {
					t.Fatal(err)
				}
				closed = true
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			case errors.Is(err, ErrClosed):
				after++
			case err != nil:
				t.Errorf("%s: %v", r.JobID, err)
			}
		}
		if !closed || after == 0 || after > 100 {
			t.Errorf("closed: %t, %d jobs after that", closed, after)
		}
		nothingHeld(t, c)
	})
}

func TestRunAllWithoutJobs(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for r, err := range c.RunAll(t.Context(), nil) {
			if r.Index != -1 || fieldOf(err) != "jobs" {
				t.Errorf("%+v, %v", r, err)
			}
		}
		var none context.Context
		for r, err := range c.RunAll(none, tryonlessJobs(1)) {
			if r.Index != -1 || fieldOf(err) != "ctx" {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}
