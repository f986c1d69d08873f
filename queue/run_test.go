package queue

import (
	"errors"
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
