package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

const page = "<html><body>Just a moment...</body></html>"

// While a job runs, answers that say nothing of it come and go. The job is not
// lost with them.
func TestWaitLivesThroughAnswersThatAreNoReports(t *testing.T) {
	for _, tt := range []struct {
		name  string
		times int
		do    runpodtest.Action
	}{
		{"500 three times", 3, runpodtest.Answer(500, "boom")},
		{"500 nine times", 9, runpodtest.Answer(500, "boom")},
		{"an HTML page with 200", 1, runpodtest.Answer(200, page)},
		{"an empty 200", 2, runpodtest.Answer(200, "")},
		{"200 without a state", 3, runpodtest.Answer(200, `{"id":"x"}`)},
		{"an error with 200", 1, runpodtest.Answer(200, `{"error":"try again"}`)},
		{"a problem with 200", 1, runpodtest.Answer(200, `{"status":500,"title":"Internal Server Error"}`)},
		{"no JSON object", 1, runpodtest.Answer(200, `"ok"`)},
		{"204", 1, runpodtest.Answer(204, "")},
		{"520", 2, runpodtest.Answer(520, "")},
		{"an answer cut short", 2, runpodtest.TruncateReply(10)},
	} {
		for _, opts := range [][]WaitOption{nil, {LongPoll()}} {
			t.Run(fmt.Sprint(tt.name, ", long poll: ", len(opts) > 0), func(t *testing.T) {
				inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
					rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status*", Skip: 1, Times: tt.times, Do: tt.do})
					result, err := runJob(t, q, "world").Wait(t.Context(), opts...)
					if err != nil || result.Output.Hello != "world" {
						t.Errorf("%+v, %v", result, err)
					}
					if rule.Fired() != tt.times {
						t.Errorf("it came %d times, not %d", rule.Fired(), tt.times)
					}
				})
			})
		}
	}
}

// For ever they do not come and go: the wait ends within minutes, and the error
// shows the last one.
func TestWaitEndsAfterAStreakOfAnswersThatAreNoReports(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"HTML pages", page, 200, "Just a moment"},
		{"no state", `{"id":"x"}`, 200, `{"id":"x"}`},
		{"errors", `{"error":"no such tenant"}`, 200, "no such tenant"},
		{"500", "boom", 500, "boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				job := runJob(t, q, "for ever")
				srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status*", Skip: 20, Times: runpodtest.Always, Do: runpodtest.Answer(tt.status, tt.body)})
				start := time.Now()
				result, err := job.Wait(t.Context())
				e := problem(t, err)
				if e.JobID != job.ID || string(e.Body) != tt.body || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "10 looks") {
					t.Errorf("got %v", err)
				}
				if result.ID != job.ID || result.State != StateInProgress || time.Since(start) > 6*time.Minute {
					t.Errorf("%+v after %v", result, time.Since(start))
				}
				if _, err := job.Status(t.Context()); !strings.Contains(err.Error(), tt.says) {
					t.Errorf("a single look: %v", err)
				}
			})
		})
	}
}

// What cannot pass ends the wait at once.
func TestWaitEndsAtOnceIfTheCallIsRefused(t *testing.T) {
	for status, kind := range map[int]error{401: runpod.ErrUnauthorized, 403: runpod.ErrUnauthorized, 400: runpod.ErrBadRequest, 501: runpod.ErrBadRequest} {
		inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
			job := runJob(t, q, "x")
			rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status*", Times: runpodtest.Always, Do: runpodtest.Answer(status, "")})
			if _, err := job.Wait(t.Context()); !errors.Is(err, kind) || errors.Is(err, ErrExpired) || rule.Fired() != 1 {
				t.Errorf("%d: %v after %d looks", status, err, rule.Fired())
			}
		})
	}
}

// The name server fails for a moment: that is no job that has expired.
func TestWaitLivesThroughAHostNameNotFound(t *testing.T) {
	var refuse atomic.Int64
	var dial func(ctx context.Context, network, addr string) (net.Conn, error)
	lookup := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if refuse.Add(-1) >= 0 {
			return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
		}
		return dial(ctx, network, addr)
	}
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
		dial = srv.DialContext
		q := newClient(t, srv.JobsURL, runpod.WithAPIKey(srv.APIKey), runpod.WithDialContext(lookup),
			runpod.WithHTTPTransport(&http.Transport{DisableKeepAlives: true}))
		job := runJob(t, q, "world")
		refuse.Store(9)
		if result, err := job.Wait(t.Context()); err != nil || result.Output.Hello != "world" {
			t.Errorf("%+v, %v", result, err)
		}
		refuse.Store(1000)
		_, err := job.Wait(t.Context())
		if errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("got %v", err)
		}
	})
}

// A gateway that cuts requests after a minute costs a long poll that minute and
// no more: plain looks follow, and the job ends well.
func TestLongPollThatIsCutOnItsWay(t *testing.T) {
	for name, cut := range map[string]runpodtest.Action{
		"504":        runpodtest.Answer(504, "gateway time-out").Later(time.Minute),
		"524":        runpodtest.Answer(524, "").Later(time.Minute),
		"reset":      runpodtest.ResetAfterRead().Later(time.Minute),
		"HTML page":  runpodtest.Answer(200, page).Later(time.Minute),
		"500":        runpodtest.Answer(500, "").Later(time.Minute),
		"no answer":  runpodtest.Delay(time.Hour),
		"rate limit": runpodtest.Answer(403, "blocked"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
				rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status-sync/*", Times: runpodtest.Always, Do: cut})
				start := time.Now()
				result, err := runJob(t, q, "world").Wait(t.Context(), LongPoll())
				if err != nil || result.Output.Hello != "world" || time.Since(start) > 141*time.Second {
					t.Errorf("%+v, %v after %v", result, err, time.Since(start))
				}
				if calls, _ := srv.JobCalls(); rule.Fired() != 1 || calls["status"] == 0 {
					t.Errorf("held %d times, calls %v", rule.Fired(), calls)
				}
			})
		})
	}
}
