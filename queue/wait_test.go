package queue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// A long poll has the result as it is there; without the call behind it, which
// is not documented, Wait looks as it does otherwise.
func TestLongPoll(t *testing.T) {
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
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				if tt.fault != nil {
					srv.Fault(*tt.fault)
				}
				job := runJob(t, q, "world")
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				result, err := job.Wait(ctx, LongPoll())
				late := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) - 135*time.Second
				if tt.late < time.Hour && (err != nil || result.Output.Hello != "world" || late > tt.late) {
					t.Errorf("%+v, %v, %v late", result, err, late)
				}
				calls, _ := srv.JobCalls()
				held := int(q.Stats().Attempts) - calls["run"] - calls["status"] // faults are no calls of the twin's
				within := func(n int, bounds [2]int) bool { return n >= bounds[0] && n <= bounds[1] }
				if !within(held, tt.held) || !within(calls["status"], tt.looked) {
					t.Errorf("%d held, calls: %v", held, calls)
				}
			})
		})
	}
}

func TestLongPollOfAnExpiredResult(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job := runJob(t, q, "x")
		time.Sleep(33 * time.Minute)
		if _, err := job.Wait(t.Context(), LongPoll()); !errors.Is(err, ErrExpired) {
			t.Errorf("got %v", err)
		}
	})
}

// 250 long polls at once leave room for other calls, and all end well.
func TestLongPollsLeaveRoom(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		jobs := []*Handle[greeting]{runJob(t, q, "one"), runJob(t, q, "two")}
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
		if _, err := q.Health(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		wg.Wait()
		if calls, limited := srv.JobCalls(); calls["status-sync"] < 200 || calls["status"] == 0 || limited != 0 {
			t.Errorf("calls: %v, %d over the limit", calls, limited)
		}
	})
}

// How a job can end otherwise than well.
func TestThatEndsBadly(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		kind     error
		says     string
		act      func(t *testing.T, job *Handle[greeting])
	}{
		{name: "its program fails", in: "fail", kind: ErrFailed, says: "CUDA out of memory"},
		{name: "its worker dies", in: "crash", kind: ErrFailed, says: "exit code"},
		{name: "it takes too long", in: "for ever", kind: ErrTimedOut, says: "ExecutionTimeout"},
		{name: "it is cancelled", in: "x", kind: ErrCancelled, act: func(t *testing.T, job *Handle[greeting]) {
			time.AfterFunc(time.Minute, func() {
				if err := job.Cancel(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}},
		{name: "its result has expired", in: "x", kind: ErrExpired, says: "webhook", act: func(t *testing.T, job *Handle[greeting]) {
			time.Sleep(33 * time.Minute)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				job := runJob(t, q, tt.in)
				if tt.act != nil {
					tt.act(t, job)
				}
				_, err := job.Wait(t.Context())
				e, ok := errors.AsType[*runpod.Error](err)
				if !ok || !errors.Is(err, tt.kind) || e.JobID != job.ID || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				failure, ok := errors.AsType[*Failure](err)
				if tt.in == "fail" && (!ok || failure.Type == "" || failure.Message != tt.says) {
					t.Errorf("the worker's report is lost: %+v", failure)
				}
			})
		})
	}
}

func TestWaitsEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(q *Client, cancel func())
		want error
	}{
		{"with the context", func(_ *Client, cancel func()) { cancel() }, context.Canceled},
		{"with the client", func(q *Client, _ func()) { q.Close() }, runpod.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				job := runJob(t, q, "for ever")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(30*time.Second, func() { tt.end(q, cancel) })
				start := time.Now()
				_, err := job.Wait(ctx)
				if e, ok := errors.AsType[*runpod.Error](err); !ok || !errors.Is(err, tt.want) || e.JobID != job.ID || time.Since(start) != 30*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}
