package runpod

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// phasesOf are the phases that came, each once in a row.
func phasesOf(told []JobProgress) (phases []JobPhase) {
	for _, p := range told {
		phases = append(phases, p.Phase)
	}
	return slices.Compact(phases)
}

// A job on a cold endpoint says everything that a person who waits for it would
// ask.
func TestOnStateTellsHowFarAJobIs(t *testing.T) {
	cfg := coldEndpoint(1)
	cfg.MaxWorkers, cfg.QueueWait, cfg.ColdStart = 1, 20*time.Second, runpodtest.Fixed(50*time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Do: runpodtest.SlowReply(5)})
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy")})
		var told []JobProgress
		var calls atomic.Int64
		returned := false
		job := tryonJob(t.TempDir(), 1)
		job.OnState = func(p JobProgress) {
			if calls.Add(1) != 1 || returned {
				t.Error("called twice at once, or after Run")
			}
			told = append(told, p)
			calls.Add(-1)
		}
		r, err := c.Run(t.Context(), job)
		if returned = true; err != nil {
			t.Fatal(err)
		}
		phases := phasesOf(told)
		if phases[0] != JobUploading || phases[1] != JobSent || phases[2] != JobWaiting || !slices.Contains(phases, JobCold) ||
			phases[len(phases)-2] != JobFetching || phases[len(phases)-1] != JobDone {
			t.Errorf("phases %v", phases)
		}
		var last JobProgress
		fetched, refused := 0, 0
		for _, p := range told {
			switch p.Phase {
			case JobSent:
				if p.Attempt == 0 || p.Since.IsZero() {
					t.Errorf("%+v", p)
				}
			case JobCold:
				refused++
				if p.Attempt != refused || p.Next.Before(p.Since) {
					t.Errorf("refused %d times: %+v", refused, p)
				}
			case JobFetching:
				if fetched++; p.Bytes < last.Bytes && last.Phase == JobFetching || p.Bytes > r.Output.Size {
					t.Errorf("%d bytes after %d of %d", p.Bytes, last.Bytes, r.Output.Size)
				}
			}
			last = p
		}
		if refused == 0 || fetched < 4 || fetched > 30 {
			t.Errorf("refused %d times, %d looks at the download", refused, fetched)
		}
		if st := c.Stats(); int64(refused) != st.ColdRefusals {
			t.Errorf("%d refusals told of %d", refused, st.ColdRefusals)
		}
	})
}

// Jobs that wait for a place say how many are in front, as the line moves on.
func TestOnStateCountsThoseAhead(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1, MaxWorkers: 1, ServiceTime: runpodtest.Fixed(5 * time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		seen := make([][]int, 4)
		jobs := func(yield func(Job) bool) {
			for i := range seen {
				job := Job{Path: "/x", OnState: func(p JobProgress) {
					if p.Phase == JobWaiting {
						seen[i] = append(seen[i], p.Ahead)
					}
				}}
				if !yield(job) {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
		for r, err := range c.RunAll(t.Context(), jobs) {
			if err != nil {
				t.Error(r.JobID, err)
			}
		}
		for i, want := range [][]int{nil, {0}, {1, 0}, {2, 1, 0}} {
			if !slices.Equal(seen[i], want) {
				t.Errorf("job %d: ahead of it %v, want %v", i, seen[i], want)
			}
		}
	}, WithMaxInFlight(1))
}

// What OnState does that is no telling is the job's error, and ends the job.
func TestOnStateThatPanics(t *testing.T) {
	for how, f := range map[string]func(){"panics": func() { panic("at the disco") }, "exits": runtime.Goexit} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			start := time.Now()
			job := Job{ID: "a", Path: "/x", OnState: func(p JobProgress) {
				if p.Phase == JobSent {
					f()
				}
			}}
			_, err := c.Run(t.Context(), job)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.JobID != "a" || e.Field != "OnState" || how == "panics" && !strings.Contains(err.Error(), "at the disco") {
				t.Errorf("%s: got %v", how, err)
			}
			if took := time.Since(start); took >= time.Second {
				t.Errorf("%s: the job went on for %s", how, took)
			}
			nothingHeld(t, c)
		})
	}
}

// A failed job ends with done too, and a job that is refused says nothing.
func TestOnStateOfJobsThatFail(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var told []JobProgress
		job := Job{Path: "/x", OnState: func(p JobProgress) { told = append(told, p) }}
		job.Output = func(*Response) (string, error) { return "", errors.New("there is none") }
		if _, err := c.Run(t.Context(), job); err == nil {
			t.Error("no error")
		}
		if got := phasesOf(told); !slices.Equal(got, []JobPhase{JobSent, JobDone}) {
			t.Errorf("phases %v", got)
		}
		told, job.SaveTo = nil, filepath.Join(t.TempDir(), "no", "folder")
		if _, err := c.Run(t.Context(), job); fieldOf(err) != "SaveTo" || told != nil {
			t.Errorf("%v, %v", told, err)
		}
	})
}
