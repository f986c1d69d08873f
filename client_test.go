package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
			if left := inputsLeft(t, srv); len(left) > 0 {
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

// refuses fails the test unless every error is one that says what is wrong.
func refuses(t *testing.T, want string, errs map[string]error) {
	t.Helper()
	for what, err := range errs {
		if !errors.Is(err, ErrBadRequest) || fieldOf(err) == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a refusal with %q in it", what, err, want)
		}
	}
}

// second drops a result.
func second[T any](_ T, err error) error { return err }

// A Client, a Session or a Hold that nobody has made refuses everything, at once.
func TestZeroValuesRefuse(t *testing.T) {
	clearEnvironment(t)
	req, _ := http.NewRequest("POST", "/x", strings.NewReader("body"))
	for name, c := range map[string]*Client{"zero": {}, "nil": nil} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			errs := map[string]error{
				"Run":          second(c.Run(ctx, Job{Path: "/x"})),
				"Upload":       second(c.Upload(ctx, "k", Bytes("k", nil))),
				"Download":     second(c.Download(ctx, "k", io.Discard)),
				"DownloadFile": second(c.DownloadFile(ctx, "k", "/tmp/k")),
				"Stat":         second(c.Stat(ctx, "k")),
				"Delete":       c.Delete(ctx, "k"),
				"UploadDir":    second(c.UploadDir(ctx, t.TempDir(), "k")),
				"DownloadDir":  second(c.DownloadDir(ctx, "k", t.TempDir())),
				"DeleteAll":    second(c.DeleteAll(ctx, "k")),
				"Call":         second(c.Call(ctx, "GET", "/x", nil, nil)),
				"Do":           second(c.Do(req)),
				"Transport":    second(c.Transport().RoundTrip(req)),
				"HTTPClient":   second(c.HTTPClient().Get("/x")),
				"Session":      second(c.Session().Call(ctx, "GET", "/x", nil, nil)),
				"Warm":         second(c.Warm(ctx, 1)),
				"HoldWorkers":  second(c.HoldWorkers(ctx, 1)),
				"Holds":        second(c.Holds(ctx)),
				"ClearHolds":   second(c.ClearHolds(ctx, true)),
				"Ready":        second(c.Ready(ctx)),
			}
			for _, err := range c.List(ctx, "") {
				errs["List"] = err
			}
			for _, err := range c.RunAll(ctx, tryonlessJobs(1)) {
				errs["RunAll"] = err
			}
			refuses(t, "make one with New", errs)
			if len(errs) != 21 {
				t.Errorf("%d methods", len(errs))
			}
			if st := c.Stats(); st.Calls != 0 || c.Progress() != (Transferred{}) || c.RetryPolicy() != DefaultRetryPolicy() {
				t.Errorf("%s: %+v", name, st)
			}
			if err := errors.Join(c.Shutdown(ctx), c.Close(), c.Close()); err != nil {
				t.Errorf("%s: closing: %v", name, err)
			}
		})
	}
	for _, s := range []*Session{{}, nil} {
		refuses(t, "make one with Client.Session", map[string]error{
			"Call":      second(s.Call(t.Context(), "GET", "/x", nil, nil)),
			"Do":        second(s.Do(req)),
			"Transport": second(s.Transport().RoundTrip(req)),
			"KeepAlive": s.KeepAlive(t.Context(), "/ping", 0),
		})
		if s.End(); s.WorkerID() != "" {
			t.Error("a session without a worker has one")
		}
	}
	for _, h := range []*Hold{{}, nil} {
		refuses(t, "HoldWorkers", map[string]error{"Release": h.Release(t.Context()), "Err": h.Err()})
		if h.Workers() != 0 {
			t.Error("a hold of nothing holds")
		}
	}
}

// What is only data is usable at its zero value.
func TestZeroValuesAreUsable(t *testing.T) {
	var p Progress
	var none context.Context
	text := fmt.Sprint(p.Now(), Object{}.WorkerPath(), Attempt{}, Result{}, Stats{}, Verdict(0), Verdict(99), HoldRecord{}.Stale(),
		Readiness{}, &Error{}, (&Error{}).Unwrap(), RetryPolicy{}.Scaled(2), Event{}, Observation{}, AttemptInfo{}, WorkerState{}, Scaling{})
	if text == "" || none != nil {
		t.Error("nothing to say")
	}
	if err := (&Response{}).JSON(new(any)); err == nil {
		t.Error("an answer without a body decodes")
	}
	if _, known := (Readiness{}).Up(); known {
		t.Error("what nobody asked for is known")
	}
	for _, resp := range []*http.Response{nil, {}} {
		for _, err := range Events(resp) {
			refuses(t, "it is nil", map[string]error{"Events": err})
		}
	}
	if _, err := ContentKey(t.Context(), "", Input{}); err == nil {
		t.Error("there is a key for no input")
	}
}

// What must not be nil is refused by name, before any traffic.
func TestNilArgumentsAreRefused(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var none context.Context
		s := c.Session(nil)
		bodies := new(trackedBody)
		req, _ := http.NewRequestWithContext(WithCallOptions(t.Context(), Idempotent(), nil), "POST", "/x", bodies)
		errs := map[string]error{
			"ctx of Call":      second(c.Call(none, "GET", "/x", nil, nil)),
			"ctx of Run":       second(c.Run(none, Job{Path: "/x"})),
			"ctx of Upload":    second(c.Upload(none, "k", Bytes("k", nil))),
			"ctx of Stat":      second(c.Stat(none, "k")),
			"ctx of Warm":      second(c.Warm(none, 1)),
			"ctx of Ready":     second(c.Ready(none)),
			"ctx of Shutdown":  c.Shutdown(none),
			"ctx of a session": second(s.Call(none, "GET", "/x", nil, nil)),
			"ctx of KeepAlive": s.KeepAlive(none, "/ping", time.Second),
			"req of Do":        second(c.Do(nil)),
			"req of RoundTrip": second(c.Transport().RoundTrip(nil)),
			"req of a session": second(s.Do(nil)),
			"w":                second(c.Download(t.Context(), "k", nil)),
			"an option":        second(c.Call(t.Context(), "GET", "/x", nil, nil, Idempotent(), nil)),
			"an option of Do":  second(c.Do(req)),
			"a job's option":   second(c.Run(t.Context(), Job{Path: "/x", Options: []CallOption{nil}})),
		}
		for _, err := range c.List(none, "") {
			errs["ctx of List"] = err
		}
		refuses(t, "it is nil", errs)
		if !bodies.closed.Load() {
			t.Error("a refused request's body is open")
		}
		if st := srv.Stats(); st.Requests+st.S3Requests > 0 {
			t.Errorf("there was traffic: %+v", st)
		}
		nothingHeld(t, c)
	})
}
