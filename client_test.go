package runpod

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func tryonJobs(dir string, n int) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for i := range n {
			if !yield(tryonJob(dir, i)) {
				return
			}
		}
	}
}

// coldEndpoint is like those of the stress tests: a burst of 30 at 15 in flight
// is more than it serves within the balancer's 2 minutes.
func coldEndpoint(seed uint64) runpodtest.Config {
	return runpodtest.Config{
		Seed: seed, MaxWorkers: 3, ScalerValue: 4,
		ColdStart:   runpodtest.Range(60*time.Second, 110*time.Second),
		ServiceTime: runpodtest.Range(15*time.Second, 35*time.Second),
		Handler:     tryon,
	}
}

// The burst of the stress tests, 30 jobs at 15 in flight, on 50 seeds of a cold
// endpoint: none may be lost.
func TestBurstLosesNothing(t *testing.T) {
	const seeds, jobs = 50, 30
	total, refused := 0, 0
	for seed := range uint64(seeds) {
		cfg := coldEndpoint(seed)
		cfg.Refusal = runpodtest.Refusal(seed % 2)
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			dir, done := t.TempDir(), 0
			for r, err := range c.RunAll(t.Context(), tryonJobs(dir, jobs)) {
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					continue
				}
				done++
				want := fmt.Sprintf("person %d+garment %d", r.Index, r.Index)
				if got, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint(r.Index, ".jpg"))); string(got) != want {
					t.Errorf("seed %d: %s brought %q", seed, r.JobID, got)
				}
			}
			st := srv.Stats()
			total, refused = total+done, refused+st.Refused
			if st.WorkersStarted < 2 || st.S3Conns.Opened > 10 {
				t.Errorf("seed %d: %d workers, %d S3 connections", seed, st.WorkersStarted, st.S3Conns.Opened)
			}
			if left := remains(t, srv, "inputs"); len(left) > 0 {
				t.Errorf("seed %d: inputs left on the volume: %v", seed, left)
			}
		}, WithMaxInFlight(15), WithS3Conns(10))
	}
	t.Logf("%d of %d jobs done on %d seeds, %d refusals on the way", total, seeds*jobs, seeds, refused)
	if total != seeds*jobs || refused == 0 {
		t.Errorf("%d of %d jobs, %d refusals (a test without refusals shows nothing)", total, seeds*jobs, refused)
	}
}

// A malformed job is sent once and reported in the worker's own words; the
// others do not suffer.
func TestMalformedJobAmongGoodOnes(t *testing.T) {
	inBubble(t, coldEndpoint(7), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		dir := t.TempDir()
		jobs := func(yield func(Job) bool) {
			for job := range tryonJobs(dir, 8) {
				if job.ID == "job-3" {
					job.Body = func([]Object) (any, error) { return map[string]string{"person": "/runpod-volume/nobody.jpg"}, nil }
				}
				if !yield(job) {
					return
				}
			}
		}
		for r, err := range c.RunAll(t.Context(), jobs) {
			if r.JobID != "job-3" {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, ErrBadRequest) || e.Status != 422 || e.WorkerID == "" || e.JobID != "job-3" {
				t.Errorf("got %v", err)
			} else if !strings.Contains(err.Error(), "no such picture") {
				t.Errorf("the worker's words are lost: %v", err)
			}
			sent := 0
			for _, a := range r.Attempts {
				if a.WorkerID != "" {
					sent++
				}
			}
			if sent != 1 {
				t.Errorf("a worker got it %d times", sent)
			}
		}
	})
}

// No key may be seen in any error or log line, even where a server echoes it.
func TestNoSecretIsShown(t *testing.T) {
	var out logs
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		echo := `{"detail":"your token ` + srv.APIKey + ` and ` + srv.SecretAccessKey + `"}`
		srv.Fault(runpodtest.Fault{On: runpodtest.OnEndpoint, Times: runpodtest.Always, Do: runpodtest.Answer(403, echo)})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: runpodtest.Always, Do: runpodtest.Answer(403, "<Error><Code>SignatureDoesNotMatch</Code><Message>"+srv.SecretAccessKey+"</Message></Error>")})
		_, err1 := c.Call(t.Context(), "POST", "/x?token=hush", nil, nil)
		_, err2 := c.Upload(t.Context(), "k", Bytes("k", []byte("k")))
		text := fmt.Sprintf("%v %v %+v %s", err1, err2, c.Stats(), out.String())
		for _, secret := range []string{srv.APIKey, srv.SecretAccessKey, "hush"} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is shown in: %s", text)
			}
		}
		if !errors.Is(err1, ErrUnauthorized) || !errors.Is(err2, ErrUnauthorized) {
			t.Error(err1, err2)
		}
	}, WithLogger(out.logger()))
}
