package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// A job that was queued a moment ago may not be known everywhere: a 404 then is
// no result that has expired. Later it is.
func TestNotFoundRightAfterRun(t *testing.T) {
	unknown := runpodtest.Answer(404, `{"error":"job not found"}`)
	for _, path := range []string{"*/status/*", "*/stream/*", "*/status-sync/*"} {
		inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
			srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: path, Times: 3, Do: unknown})
			job := runJob(t, q, "stream")
			n := 0
			for part, err := range Stream[string](t.Context(), q, job.ID) {
				if n++; err != nil {
					t.Errorf("%s: %q, %v", path, part, err)
				}
			}
			result, err := Open[greeting](q, job.ID).Wait(t.Context(), LongPoll())
			if err != nil || result.Output.Hello != "stream" || n != 5 {
				t.Errorf("%s: %d parts, %+v, %v", path, n, result, err)
			}
		})
	}
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job := runJob(t, q, "x")
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/" + job.ID, Times: runpodtest.Always, Do: unknown})
		_, err1 := job.Status(t.Context())
		err2 := job.Cancel(t.Context())
		for _, err := range []error{err1, err2} {
			if errors.Is(err, ErrExpired) || !errors.Is(err, runpod.ErrNotFound) || !strings.Contains(err.Error(), "does not know the job yet") {
				t.Errorf("at once: %v", err)
			}
		}
		start := time.Now()
		if _, err := job.Wait(t.Context()); !errors.Is(err, ErrExpired) || time.Since(start) < 30*time.Second || time.Since(start) > 40*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := Open[greeting](q, "somebody-else's").Status(t.Context()); !errors.Is(err, ErrExpired) {
			t.Errorf("of another process: %v", err)
		}
	})
}

// Queued once more, a job may be unknown for a moment too.
func TestNotFoundRightAfterRetry(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job := runJob(t, q, "fail")
		job.Wait(t.Context())
		if err := job.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/status/*", Times: 3, Do: runpodtest.Answer(404, "")})
		if _, err := job.Wait(t.Context()); !errors.Is(err, ErrFailed) || rule.Fired() != 3 {
			t.Errorf("%v after %d", err, rule.Fired())
		}
	})
}
