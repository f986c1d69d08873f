package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

func TestRunRefusesBeforeTraffic(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		good := Bytes("a", []byte("a"))
		for field, job := range map[string]Job{
			"Path":            {Path: "https://elsewhere.example/x"},
			"Method":          {Path: "/", Method: "GE T"},
			"SaveTo":          {Path: "/", SaveTo: "/no/such/folder/x"},
			"Inputs[0].Input": {Path: "/", Inputs: []JobInput{{Key: "k"}}},
			"Inputs[1].Input": {Path: "/", Inputs: []JobInput{{Input: good}, {Input: File("/no/such/file")}}},
			"Inputs[0].Key":   {Path: "/", Inputs: []JobInput{{Key: "a/../b", Input: good}}},
			"Inputs[1].Key":   {Path: "/", Inputs: []JobInput{{Key: "k", Input: good}, {Key: "k", Input: good}}},
		} {
			_, err := c.Run(t.Context(), job)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Field != field || e.JobID == "" {
				t.Errorf("%s: got %v", field, err)
			}
		}
		if _, err := c.Run(t.Context(), Job{Path: "/", Inputs: []JobInput{{Input: File("/no/such/file")}}}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
		if st := srv.Stats(); st.Requests+st.S3Requests > 0 {
			t.Errorf("there was traffic: %+v", st)
		}
	})
}

func TestRunSavesTheResponseItself(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		path := filepath.Join(t.TempDir(), "out.json")
		r, err := c.Run(t.Context(), Job{Path: "/echo", SaveTo: path, Body: func([]Object) (any, error) { return "hello", nil }})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if string(got) != `"hello"` || r.Response.WorkerID == "" || len(r.Attempts) != 1 {
			t.Errorf("saved %q; %+v", got, r)
		}
	})
}

func TestInputsAreKeptWhenAsked(t *testing.T) {
	cfg := coldEndpoint(3)
	cfg.MinWorkers = 1
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job := tryonJob(t.TempDir(), 1)
		job.KeepInputs = true
		r, err := c.Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if left := remains(t, srv, "inputs"); len(left) != 2 {
			t.Errorf("%d inputs on the volume", len(left))
		}
		for _, in := range r.Inputs {
			if err := c.Delete(t.Context(), in.Key); err != nil {
				t.Error(err)
			}
			if err := c.Delete(t.Context(), in.Key); err != nil {
				t.Errorf("deleting again: %v", err)
			}
		}
	})
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		errs := make(chan error, 3)
		go func() {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			errs <- err
		}()
		go func() {
			_, err := c.Run(t.Context(), tryonJob(t.TempDir(), 1))
			errs <- err
		}()
		go func() {
			for _, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 1)) {
				errs <- err
			}
		}()
		time.Sleep(10 * time.Second)
		start := time.Now()
		c.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %s", took)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		c.Close()
		if _, err := c.Call(t.Context(), "GET", "/", nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		if _, err := c.Upload(t.Context(), "k", Bytes("k", nil)); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		for r, err := range c.RunAll(t.Context(), tryonJobs("", 5)) {
			if !errors.Is(err, ErrClosed) || r.Index != -1 {
				t.Errorf("after closing: %v, %v", r, err)
			}
		}
	})
}

func TestCloseEndsOpenBodies(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "beginning")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "/stream", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		go func() {
			time.Sleep(time.Minute)
			c.Close()
		}()
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		if got.String() != "beginning" || !errors.Is(err, ErrClosed) {
			t.Errorf("read %q, then %v", got.String(), err)
		}
		synctest.Wait()
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

// A job deletes what it uploaded, not what it found there.
func TestInputsThatWereThereStay(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		shared := JobInput{Key: "shared/cat.jpg", Input: Bytes("cat.jpg", []byte("meow"))}
		if _, err := c.Upload(t.Context(), shared.Key, shared.Input); err != nil {
			t.Fatal(err)
		}
		own := JobInput{Key: "own/dog.jpg", Input: Bytes("dog.jpg", []byte("woof"))}
		r, err := c.Run(t.Context(), Job{Path: "/x", Inputs: []JobInput{shared, own}})
		if err != nil || !r.Inputs[0].Existed || r.Inputs[1].Existed {
			t.Fatalf("got %+v, %v", r, err)
		}
		if left := remains(t, srv, "shared"); len(left) != 1 {
			t.Errorf("the shared input is gone")
		}
		if left := remains(t, srv, "own"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}, WithSkipExisting())
}
