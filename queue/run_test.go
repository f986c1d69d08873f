package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestFromQueueToOutput(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job := runJob(t, q, "world")
		if st, err := job.Status(t.Context()); err != nil || st.State != StateInQueue || st.ID != job.ID {
			t.Errorf("%+v, %v", st, err)
		}
		result, err := job.Wait(t.Context())
		if err != nil || result.State != StateCompleted || result.Output.Hello != "world" {
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

func TestRunSync(t *testing.T) {
	for name, tt := range map[string]struct {
		wait   time.Duration
		status bool // the service's hold is over first
	}{"longer than the service holds it": {0, true}, "within what was asked for": {5 * time.Minute, false}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				result, err := RunSync[greeting](t.Context(), q, Request{Input: "you", Wait: tt.wait})
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

func TestResultOfRunSyncIsKeptAMinute(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		result, err := RunSync[greeting](t.Context(), q, Request{Input: "x", Wait: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		job := Open[greeting](q, result.ID)
		if _, err := job.Status(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		if _, err := job.Status(t.Context()); !errors.Is(err, ErrExpired) || !errors.Is(err, runpod.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// What /run and /runsync answer with 200 that is no report: the reason is kept,
// and whether the job may have run.
func TestRunAnsweredWithoutAReport(t *testing.T) {
	for _, tt := range []struct {
		body string
		run  bool // MayHaveRun after /run
		says string
	}{
		{page, true, "Just a moment"},
		{`{"error":"insufficient funds"}`, false, "insufficient funds"},
		{`{"error":"no GPU"}`, false, "no GPU"},
		{`{}`, true, "no report"},
		{``, true, "no report"},
		{`{"status":"IN_QUEUE"}`, true, "no job id"},
	} {
		q := answering(t, 200, tt.body)
		_, err := Run[greeting](t.Context(), q, Request{Input: 1})
		if e := problem(t, err); e.MayHaveRun != tt.run || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "Idempotent") {
			t.Errorf("/run: %s: %v", tt.body, err)
		}
		result, err := RunSync[greeting](t.Context(), q, Request{Input: 1})
		if e := problem(t, err); !e.MayHaveRun || !strings.Contains(err.Error(), tt.says) || result.Output != (greeting{}) {
			t.Errorf("/runsync: %s: %v", tt.body, err)
		}
	}
}

// A job whose answer is lost may be queued. There is no option to have it sent
// again, and no advice to use it.
func TestAdviceForJobsThatMayHaveRun(t *testing.T) {
	var log logs
	for status, kind := range map[int]error{500: nil, 504: nil, 524: nil, 520: nil} {
		q := answering(t, status, "boom", runpod.WithLogger(log.logger()))
		_, err1 := Run[any](t.Context(), q, Request{Input: 1})
		_, err2 := RunSync[any](t.Context(), q, Request{Input: 1})
		for _, err := range []error{err1, err2} {
			e := problem(t, err)
			if !e.MayHaveRun || e.Kind != kind || e.Advice == "" || strings.Contains(e.Advice, "Idempotent") || strings.Contains(e.Advice, "request smaller") {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
	if text := log.String(); strings.Contains(text, "Idempotent") || !strings.Contains(text, "gave up") {
		t.Errorf("the log says %s", text)
	}
	_, err := Run[any](t.Context(), answering(t, 404, `{"error":"not found"}`), Request{Input: 1})
	if !errors.Is(err, runpod.ErrNotFound) || errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "load-balancing") {
		t.Errorf("no such endpoint: %v", err)
	}
}
