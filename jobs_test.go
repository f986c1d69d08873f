package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// greeting is what the jobs of these tests give.
type greeting struct{ Hello string }

// jobEndpoint is an endpoint whose jobs take a minute on a cold worker. Their
// input says what becomes of them.
func jobEndpoint() runpodtest.Config {
	return runpodtest.Config{
		ColdStart: runpodtest.Fixed(75 * time.Second), ServiceTime: runpodtest.Fixed(time.Minute),
		JobHandler: func(ctx context.Context, job runpodtest.Job) (any, error) {
			var in string
			json.Unmarshal(job.Input, &in)
			switch in {
			case "fail":
				return nil, errors.New("CUDA out of memory")
			case "crash":
				panic("segmentation fault")
			case "for ever":
				<-ctx.Done()
			case "stream", "stream and fail":
				for i := range 5 {
					job.Emit(fmt.Sprint("part ", i))
					time.Sleep(2 * time.Second)
				}
				if in != "stream" {
					return nil, errors.New("out of tokens")
				}
			}
			return greeting{in}, nil
		},
	}
}

func runJob(t *testing.T, c *Client, in string) *JobHandle[greeting] {
	t.Helper()
	job, err := RunJob[greeting](t.Context(), c, JobRequest{Input: in})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestJobFromQueueToOutput(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job := runJob(t, c, "world")
		if st, err := job.Status(t.Context()); err != nil || st.State != JobInQueue || st.ID != job.ID {
			t.Errorf("%+v, %v", st, err)
		}
		result, err := job.Wait(t.Context())
		if err != nil || result.State != JobCompleted || result.Output.Hello != "world" {
			t.Errorf("%+v, %v", result, err)
		}
		if result.WorkerID != srv.Workers()[0].ID || result.Delay != 75*time.Second || result.Execution != time.Minute {
			t.Errorf("%+v", result)
		}
		calls, _ := srv.JobCalls()
		if n := calls["status"]; n < 20 || n > 60 { // 135 s, at last every 5 s
			t.Errorf("asked %d times", n)
		}
	})
}

func TestJobRunSync(t *testing.T) {
	for name, tt := range map[string]struct {
		wait   time.Duration
		status bool // the service's hold is over first
	}{"longer than the service holds it": {0, true}, "within what was asked for": {5 * time.Minute, false}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				result, err := RunSync[greeting](t.Context(), c, JobRequest{Input: "you", Wait: tt.wait})
				if err != nil || result.Output.Hello != "you" {
					t.Errorf("%+v, %v", result, err)
				}
				if calls, _ := srv.JobCalls(); calls["runsync"] != 1 || (calls["status"] > 0) != tt.status {
					t.Errorf("calls: %v", calls)
				}
			})
		})
	}
}

// A long poll has the result as it is there; without the call behind it, which
// is not documented, Wait looks as it does otherwise.
func TestJobLongPoll(t *testing.T) {
	polls := func(answer runpodtest.Action) *runpodtest.Fault {
		return &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status-sync/*", Times: runpodtest.Always, Do: answer}
	}
	for _, tt := range []struct {
		name         string
		fault        *runpodtest.Fault
		late         time.Duration // at most, after the job's end
		held, looked [2]int        // how many requests: at least, at most
	}{
		{"the service holds the request", nil, 0, [2]int{2, 2}, [2]int{0, 0}},
		{"there is no such call", polls(runpodtest.Answer(404, "not found")), 5 * time.Second, [2]int{1, 1}, [2]int{20, 60}},
		{"it is another method's", polls(runpodtest.Answer(405, "")), 5 * time.Second, [2]int{1, 1}, [2]int{20, 60}},
		{"it answers at once", polls(runpodtest.Answer(200, `{"id":"x","status":"IN_QUEUE"}`)), time.Hour, [2]int{40, 90}, [2]int{0, 0}},
		{"it fails once", &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status-sync/*", Do: runpodtest.Answer(502, "")}, 0, [2]int{3, 3}, [2]int{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				if tt.fault != nil {
					srv.Fault(*tt.fault)
				}
				job := runJob(t, c, "world")
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				result, err := job.Wait(ctx, LongPoll())
				late := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) - 135*time.Second
				if tt.late < time.Hour && (err != nil || result.Output.Hello != "world" || late > tt.late) {
					t.Errorf("%+v, %v, %v late", result, err, late)
				}
				calls, _ := srv.JobCalls()
				held := int(c.Stats().JobAttempts) - calls["run"] - calls["status"] // faults are no calls of the twin's
				within := func(n int, bounds [2]int) bool { return n >= bounds[0] && n <= bounds[1] }
				if !within(held, tt.held) || !within(calls["status"], tt.looked) {
					t.Errorf("%d held, calls: %v", held, calls)
				}
			})
		})
	}
}

func TestJobLongPollOfAnExpiredResult(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job := runJob(t, c, "x")
		time.Sleep(33 * time.Minute)
		if _, err := job.Wait(t.Context(), LongPoll()); !errors.Is(err, ErrJobExpired) {
			t.Errorf("got %v", err)
		}
	})
}

// 250 long polls at once leave room for other calls, and all end well.
func TestJobLongPollsLeaveRoom(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		jobs := []*JobHandle[greeting]{runJob(t, c, "one"), runJob(t, c, "two")}
		var wg sync.WaitGroup
		for i := range 250 {
			wg.Go(func() {
				if _, err := jobs[i%2].Wait(t.Context(), LongPoll()); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(30 * time.Second)
		start := time.Now()
		if _, err := c.Health(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		wg.Wait()
		if calls, limited := srv.JobCalls(); calls["status-sync"] < 200 || calls["status"] == 0 || limited != 0 {
			t.Errorf("calls: %v, %d over the limit", calls, limited)
		}
	})
}

func TestJobStats(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/run", Times: 1, Do: runpodtest.Answer(502, "")})
		job := runJob(t, c, "fail")
		job.Wait(t.Context(), LongPoll())
		OpenJob[greeting](c, "nobody").Status(t.Context())
		s := c.Stats()
		if s.JobCalls != 4 || s.JobCallsFailed != 1 || s.JobAttempts != 5 || s.JobTroubles != 1 || s.Calls != 0 || s.Attempts != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// How a job can end otherwise than well.
func TestJobThatEndsBadly(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		kind     error
		says     string
		act      func(t *testing.T, job *JobHandle[greeting])
	}{
		{name: "its program fails", in: "fail", kind: ErrJobFailed, says: "CUDA out of memory"},
		{name: "its worker dies", in: "crash", kind: ErrJobFailed, says: "exit code"},
		{name: "it takes too long", in: "for ever", kind: ErrJobTimedOut, says: "ExecutionTimeout"},
		{name: "it is cancelled", in: "x", kind: ErrJobCancelled, act: func(t *testing.T, job *JobHandle[greeting]) {
			time.AfterFunc(time.Minute, func() {
				if err := job.Cancel(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}},
		{name: "its result has expired", in: "x", kind: ErrJobExpired, says: "webhook", act: func(t *testing.T, job *JobHandle[greeting]) {
			time.Sleep(33 * time.Minute)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				job := runJob(t, c, tt.in)
				if tt.act != nil {
					tt.act(t, job)
				}
				_, err := job.Wait(t.Context())
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, tt.kind) || e.JobID != job.ID || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				failure, ok := errors.AsType[*JobFailure](err)
				if tt.in == "fail" && (!ok || failure.Type == "" || failure.Message != tt.says) {
					t.Errorf("the worker's report is lost: %+v", failure)
				}
			})
		})
	}
}

func TestJobResultOfRunSyncIsKeptAMinute(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		result, err := RunSync[greeting](t.Context(), c, JobRequest{Input: "x", Wait: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		job := OpenJob[greeting](c, result.ID)
		if _, err := job.Status(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		if _, err := job.Status(t.Context()); !errors.Is(err, ErrJobExpired) || !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestJobRetry(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job := runJob(t, c, "fail")
		if err := job.Retry(t.Context()); !errors.Is(err, ErrBadRequest) {
			t.Errorf("a job that has not failed: %v", err)
		}
		job.Wait(t.Context())
		if err := job.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st, err := job.Status(t.Context()); err != nil || st.State.Final() || st.Retries != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := job.Wait(t.Context()); !errors.Is(err, ErrJobFailed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestJobStream(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		fault    *runpodtest.Fault
		parts    int
		kind     error
		lost     bool
	}{
		{name: "to its end", in: "stream", parts: 5},
		{name: "of a job that fails", in: "stream and fail", parts: 5, kind: ErrJobFailed},
		{name: "of a job without parts", in: "x"},
		{name: "an answer refused with 503", in: "stream", parts: 5,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Times: 3, Do: runpodtest.Answer(503, "")}},
		{name: "an answer lost with its parts", in: "stream", parts: 0, lost: true,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Skip: 3, Do: runpodtest.ResetAfterWork()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := jobEndpoint()
			cfg.ServiceTime = runpodtest.Fixed(200 * time.Second)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				if tt.fault != nil {
					srv.Fault(*tt.fault)
				}
				job := runJob(t, c, tt.in)
				n := 0
				var end error
				for part, err := range StreamJob[string](t.Context(), c, job.ID) {
					if end = err; err == nil && part != fmt.Sprint("part ", n) {
						t.Errorf("got %q", part)
					}
					if err == nil {
						n++
					}
				}
				if n != tt.parts || !errors.Is(end, tt.kind) && !tt.lost {
					t.Errorf("%d parts, then %v", n, end)
				}
				if e, _ := errors.AsType[*Error](end); tt.lost && (e == nil || !e.MayHaveRun || e.JobID != job.ID) {
					t.Errorf("parts may be lost, and the error is %v", end)
				}
			})
		})
	}
}

func TestJobHealthAndPurge(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var handles []*JobHandle[greeting]
		for range 5 {
			handles = append(handles, runJob(t, c, "x"))
		}
		h, err := c.Health(t.Context())
		if err != nil || h.Jobs.InQueue != 5 || h.Workers.Initializing == 0 {
			t.Errorf("%+v, %v", h, err)
		}
		time.Sleep(80 * time.Second)
		h, err = c.Health(t.Context())
		running := h.Jobs.InProgress
		if err != nil || running == 0 || h.Workers.Running != running {
			t.Errorf("%+v, %v", h, err)
		}
		if n, err := c.PurgeQueue(t.Context()); err != nil || n != 5-running {
			t.Errorf("purged %d of %d, %v", n, 5-running, err)
		}
		cancelled := 0
		for _, job := range handles {
			if _, err := job.Wait(t.Context()); errors.Is(err, ErrJobCancelled) {
				cancelled++
			}
		}
		if cancelled != 5-running {
			t.Errorf("%d cancelled", cancelled)
		}
	})
}

// 1,100 jobs at once, each looked at by an impatient caller: the service refuses
// none, since the Client keeps to its limits.
func TestJobRateLimitsAreKept(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime, cfg.MaxWorkers, cfg.Concurrency = runpodtest.Fixed(time.Second), 3, 500
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		for range 1100 {
			wg.Go(func() {
				job, err := RunJob[greeting](t.Context(), c, JobRequest{Input: "x"})
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if _, err := job.Status(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		calls, limited := srv.JobCalls()
		if calls["run"] != 1100 || calls["status"] != 2200 || limited != 0 {
			t.Errorf("calls %v, %d over the limit", calls, limited)
		}
		if n, err := c.PurgeQueue(t.Context()); err != nil {
			t.Error(n, err)
		}
		start := time.Now()
		for range 4 {
			if _, err := c.PurgeQueue(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, limited := srv.JobCalls(); limited != 0 || time.Since(start) < 10*time.Second {
			t.Errorf("5 purges in %v, %d over the limit", time.Since(start), limited)
		}
	})
}

// Where somebody else uses the limits up, the service's 429 is obeyed.
func TestJobRateLimitOfOthers(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/run", Times: 2, Do: runpodtest.Answer(429, "", "Retry-After", "7")})
		start := time.Now()
		runJob(t, c, "x")
		if took := time.Since(start); took < 14*time.Second {
			t.Errorf("queued after %v: Retry-After was undercut", took)
		}
	})
}

func TestJobRefusedBeforeAnythingIsSent(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		big := strings.Repeat("x", maxRun)
		for field, r := range map[string]JobRequest{
			"JobRequest.Input":            {},
			"JobRequest.Webhook":          {Input: 1, Webhook: "example.org"},
			"JobRequest.ExecutionTimeout": {Input: 1, ExecutionTimeout: 5 * time.Second},
			"JobRequest.TTL":              {Input: 1, TTL: time.Second},
			"JobRequest.Wait":             {Input: 1, Wait: 6 * time.Minute},
		} {
			_, err := RunJob[greeting](t.Context(), c, r)
			if e, ok := errors.AsType[*Error](err); !ok || e.Field != field || !errors.Is(err, ErrBadRequest) {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := RunJob[greeting](t.Context(), c, JobRequest{Input: big}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("10 MB and more: %v", err)
		}
		if _, err := OpenJob[greeting](c, "").Status(t.Context()); !errors.Is(err, ErrBadRequest) {
			t.Errorf("no id: %v", err)
		}
		if calls, _ := srv.JobCalls(); len(calls) != 0 {
			t.Errorf("sent: %v", calls)
		}
		if _, err := RunSync[greeting](t.Context(), c, JobRequest{Input: big}); err != nil {
			t.Errorf("10 MB for RunSync: %v", err)
		}
	})
}

func TestJobAPIsAddress(t *testing.T) {
	for endpoint, want := range map[string]string{
		"abc123":                           "https://api.runpod.ai/v2/abc123",
		"https://ABC123.api.runpod.ai":     "https://api.runpod.ai/v2/abc123",
		"https://proxy.example.org/runpod": "",
	} {
		c := must(New(WithAPIKey("k"), WithEndpoint(endpoint)))
		defer c.Close()
		got := ""
		if c.jobs.ep.base != nil {
			got = c.jobs.ep.base.String()
		}
		if got != want {
			t.Errorf("%s: %q", endpoint, got)
		}
		if want != "" {
			continue
		}
		if _, err := c.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "WithJobsURL") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestJobWaitsEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *Client, cancel func())
		want error
	}{
		{"with the context", func(_ *Client, cancel func()) { cancel() }, context.Canceled},
		{"with the client", func(c *Client, _ func()) { c.Close() }, ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				job := runJob(t, c, "for ever")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(30*time.Second, func() { tt.end(c, cancel) })
				start := time.Now()
				_, err := job.Wait(ctx)
				if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, tt.want) || e.JobID != job.ID || time.Since(start) != 30*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestJobOutputOfAnotherType(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job, _ := RunJob[[]int](t.Context(), c, JobRequest{Input: "x"})
		if _, err := job.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "[]int") || !strings.Contains(err.Error(), `{"Hello":"x"}`) {
			t.Errorf("got %v", err)
		}
		raw, err := OpenJob[json.RawMessage](c, job.ID).Status(t.Context())
		if err != nil || string(raw.Output) != `{"Hello":"x"}` {
			t.Errorf("%s, %v", raw.Output, err)
		}
	})
}

func TestJobFailureForms(t *testing.T) {
	for in, want := range map[string]JobFailure{
		`"out of memory"`: {Message: "out of memory"},
		`"{\"error_type\":\"<class 'ValueError'>\",\"error_message\":\"bad seed\",\"error_traceback\":\"line 1\"}"`: {"<class 'ValueError'>", "bad seed", "line 1"},
		`{"error_type":"E","error_message":"m"}`: {Type: "E", Message: "m"},
		`"{not json"`:                            {Message: "{not json"},
		`{"other":1}`:                            {Message: `{"other":1}`},
		`42`:                                     {Message: "42"},
	} {
		var report jobReport
		if err := json.Unmarshal([]byte(`{"error":`+in+`}`), &report); err != nil || *report.Error != want {
			t.Errorf("%s: %+v, %v", in, report.Error, err)
		}
	}
}

// A service that echoes what it was sent puts no secret into an error.
func TestJobErrorsShowNoSecret(t *testing.T) {
	log := new(logs)
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Times: runpodtest.Always, Do: runpodtest.Answer(400, "bad: hush-hush "+srv.APIKey)})
		r := JobRequest{Input: 1, S3: &JobS3{AccessID: "i", AccessSecret: "hush-hush"}}
		_, err1 := RunJob[any](t.Context(), c, r)
		_, err2 := RunSync[any](t.Context(), c, r)
		_, err3 := NewBatch[any](t.Context(), c, r)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !errors.Is(err, ErrBadRequest) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), srv.APIKey) {
				t.Errorf("got %v", err)
			}
		}
		if strings.Contains(log.String(), srv.APIKey) {
			t.Error("the log shows the key")
		}
	}, WithLogger(log.logger()))
}

func TestJobBatch(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime, cfg.Concurrency = runpodtest.Fixed(time.Second), 8
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var requests []JobRequest
		for i := range 250 {
			in := any(fmt.Sprint("item ", i))
			if i == 100 {
				in = "fail"
			}
			requests = append(requests, JobRequest{Input: in})
		}
		b, err := NewBatch[greeting](t.Context(), c, requests[:200]...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Wait(t.Context()); !errors.Is(err, ErrBadRequest) || !strings.Contains(err.Error(), "Finalize") {
			t.Errorf("waiting for a draft: %v", err)
		}
		if err := errors.Join(b.Add(t.Context(), requests[200:]...), b.Finalize(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(t.Context(), requests[0]); !errors.Is(err, ErrBadRequest) {
			t.Errorf("adding to a finalized batch: %v", err)
		}
		st, err := b.Wait(t.Context())
		if err != nil || st.Total != 250 || st.Completed != 249 || st.Failed != 1 || !st.Done() || st.Created().IsZero() {
			t.Errorf("%+v, %v", st, err)
		}
		seen := map[string]bool{}
		failed := 0
		for result, err := range b.Results(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if result.State == JobFailed && result.Failure.Message == "CUDA out of memory" {
				failed++
				continue
			}
			seen[result.Output.Hello] = true
		}
		if len(seen) != 249 || failed != 1 {
			t.Errorf("%d results, %d failed", len(seen), failed)
		}
	})
}

func TestJobBatchLimitsAndCancel(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := NewBatch[greeting](t.Context(), c, make([]JobRequest, maxBatch+1)...); !errors.Is(err, ErrBadRequest) {
			t.Errorf("5,001 requests: %v", err)
		}
		_, err := NewBatch[greeting](t.Context(), c, JobRequest{Input: 1}, JobRequest{})
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != "requests[1].JobRequest.Input" {
			t.Errorf("got %v", err)
		}
		large := JobRequest{Input: strings.Repeat("x", 4<<20)} // two fit into a call
		b, err := NewBatch[greeting](t.Context(), c, large, large, large, large, large)
		if err != nil {
			t.Fatal(err)
		}
		if calls, _ := srv.JobCalls(); calls["batch"] != 3 {
			t.Errorf("5 x 4 MiB took %d calls", calls["batch"])
		}
		if st, err := b.Status(t.Context()); err != nil || st.Total != 5 || st.State != BatchDraft {
			t.Errorf("%+v, %v", st, err)
		}
		if err := errors.Join(b.Finalize(t.Context()), b.Cancel(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := b.Wait(t.Context()); !errors.Is(err, ErrJobCancelled) {
			t.Errorf("got %v", err)
		}
		if _, err := OpenBatch[greeting](c, "none").Status(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// A draft can be changed until it is finalized.
func TestJobBatchRemove(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime = runpodtest.Fixed(time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		b, err := NewBatch[greeting](t.Context(), c, JobRequest{Input: "keep"}, JobRequest{Input: "drop"}, JobRequest{Input: "lost"})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for r, err := range b.Results(t.Context()) {
			if err != nil || r.State != JobInQueue {
				t.Fatalf("%+v, %v", r, err)
			}
			ids = append(ids, r.ID)
		}
		if err := b.Remove(t.Context(), ids[1]); err != nil {
			t.Error(err)
		}
		if err := b.Remove(t.Context(), ids[1]); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/requests/*", Do: runpodtest.ResetAfterWork()})
		if err := b.Remove(t.Context(), ids[2]); err != nil {
			t.Errorf("removed by an attempt whose answer was lost: %v", err)
		}
		if err := b.Remove(t.Context(), ""); !errors.Is(err, ErrBadRequest) {
			t.Errorf("no id: %v", err)
		}
		if err := b.Finalize(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), ids[0]); !errors.Is(err, ErrBadRequest) {
			t.Errorf("from a finalized batch: %v", err)
		}
		if st, err := b.Wait(t.Context()); err != nil || st.Total != 1 || st.Completed != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := OpenJob[greeting](c, ids[1]).Status(t.Context()); !errors.Is(err, ErrJobExpired) {
			t.Errorf("the removed request is still there: %v", err)
		}
	})
}

func TestJobBatches(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime = runpodtest.Fixed(time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		list := func() (ids []string) {
			for status, err := range c.Batches(t.Context()) {
				if err != nil || status.Created().IsZero() {
					t.Fatalf("%+v, %v", status, err)
				}
				ids = append(ids, status.ID)
			}
			return ids
		}
		if ids := list(); len(ids) != 0 {
			t.Errorf("before there are any: %v", ids)
		}
		var made []string
		for i := range 450 { // more than two pages; of the cancelled ones there is no limit
			b, err := NewBatch[greeting](t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, b.ID)
			if i < 445 {
				if err := b.Cancel(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		slices.Reverse(made)
		if ids := list(); !slices.Equal(ids, made) {
			t.Errorf("%d of %d batches, or in another order", len(ids), len(made))
		}
		if calls, _ := srv.JobCalls(); calls["batch"] < 4 {
			t.Error("the list came in one page: this test shows nothing")
		}
		for range c.Batches(t.Context()) {
			break // and no call more
		}
	})
}

// What the service says around a list of batches is not documented.
func TestJobBatchListForms(t *testing.T) {
	for in, want := range map[string]int{
		`[{"id":"a","status":"DRAFT"},{"id":"b"}]`:           2,
		`{"batches":[{"id":"a"}],"total":1,"hasMore":false}`: 1,
		`{"data":[{"id":"a"}],"nextCursor":null}`:            1,
		`{"batches":null,"total":0}`:                         0,
		`[]`:                                                 0,
		`{"id":"a"}`:                                         -1,
		`{"batches":[],"errors":[]}`:                         -1,
		`{"batches":[],"hasMore":1}`:                         -1,
		`{"batches":[7]}`:                                    -1,
		`"none"`:                                             -1,
	} {
		var l batchList
		if err := json.Unmarshal([]byte(in), &l); (err != nil) != (want < 0) || err == nil && len(l.batches) != want {
			t.Errorf("%s: %+v, %v", in, l, err)
		}
	}
}

// The requests are those of docs/jobs.md, call by call.
func TestJobRequestShapes(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		if r.Header.Get("Authorization") != "Bearer the-key" {
			t.Errorf("%s: %v", got, r.Header)
		}
		io.WriteString(w, `{"id":"j1","status":"COMPLETED","requests":[]}`)
	}))
	defer srv.Close()
	c := clientFor(t, "https://elsewhere.example.org", WithJobsURL(srv.URL+"/v2/abc"))
	ctx := t.Context()
	full := JobRequest{
		Input: map[string]string{"prompt": "Hello"}, Webhook: "https://example.org/hook",
		ExecutionTimeout: 15 * time.Minute, TTL: time.Hour, LowPriority: true, Wait: 2 * time.Minute,
		S3: &JobS3{AccessID: "i", AccessSecret: "s", BucketName: "b", EndpointURL: "https://s3.example.org"},
	}
	const body = `{"input":{"prompt":"Hello"},"webhook":"https://example.org/hook",` +
		`"policy":{"executionTimeout":900000,"ttl":3600000,"lowPriority":true},` +
		`"s3Config":{"accessId":"i","accessSecret":"s","bucketName":"b","endpointUrl":"https://s3.example.org"}}`
	job, batch := OpenJob[any](c, "j1"), OpenBatch[any](c, "b1")
	for _, tt := range []struct {
		want string
		call func() error
	}{
		{`POST /v2/abc/run {"input":1}`, func() error { _, err := RunJob[any](ctx, c, JobRequest{Input: 1}); return err }},
		{"POST /v2/abc/run " + body, func() error { _, err := RunJob[any](ctx, c, full); return err }},
		{`POST /v2/abc/runsync {"input":1}`, func() error { _, err := RunSync[any](ctx, c, JobRequest{Input: 1}); return err }},
		{"POST /v2/abc/runsync?wait=120000 " + body, func() error { _, err := RunSync[any](ctx, c, full); return err }},
		{"GET /v2/abc/status/j1", func() error { _, err := job.Status(ctx); return err }},
		{"GET /v2/abc/status/j1", func() error { _, err := job.Wait(ctx); return err }},
		{"GET /v2/abc/status-sync/j1?wait=90000", func() error { _, err := job.Wait(ctx, LongPoll()); return err }},
		{"GET /v2/abc/stream/j1", func() error {
			for _, err := range StreamJob[any](ctx, c, "j1") {
				return err
			}
			return nil
		}},
		{"POST /v2/abc/cancel/j1", func() error { return job.Cancel(ctx) }},
		{"POST /v2/abc/retry/j1", func() error { return job.Retry(ctx) }},
		{"POST /v2/abc/purge-queue", func() error { _, err := c.PurgeQueue(ctx); return err }},
		{"GET /v2/abc/health", func() error { _, err := c.Health(ctx); return err }},
		{`POST /v2/abc/batch []`, func() error { _, err := NewBatch[any](ctx, c); return err }},
		{`POST /v2/abc/batch [{"input":1}]`, func() error { _, err := NewBatch[any](ctx, c, JobRequest{Input: 1}); return err }},
		{`POST /v2/abc/batch/b1/requests {"requests":[{"input":1}]}`, func() error { return batch.Add(ctx, JobRequest{Input: 1}) }},
		{"DELETE /v2/abc/batch/b1/requests/r1", func() error { return batch.Remove(ctx, "r1") }},
		{"GET /v2/abc/batch?offset=0&limit=200", func() error {
			for _, err := range c.Batches(ctx) {
				return err
			}
			return nil
		}},
		{"POST /v2/abc/batch/b1/finalize", func() error { return batch.Finalize(ctx) }},
		{"POST /v2/abc/batch/b1/cancel", func() error { return batch.Cancel(ctx) }},
		{"GET /v2/abc/batch/b1", func() error { _, err := batch.Status(ctx); return err }},
		{"GET /v2/abc/batch/b1/requests?offset=0&limit=200", func() error {
			for _, err := range batch.Results(ctx) {
				return err
			}
			return nil
		}},
		{"GET /v2/abc/status/a%2Fb%3F", func() error { _, err := OpenJob[any](c, "a/b?").Status(ctx); return err }},
	} {
		if err := tt.call(); err != nil || got != tt.want {
			t.Errorf("sent %s\nwant %s (%v)", got, tt.want, err)
		}
	}
}
