package queue

import (
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestStats(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/run", Times: 1, Do: runpodtest.Answer(502, "")})
		job := runJob(t, q, "fail")
		job.Wait(t.Context(), LongPoll())
		Open[greeting](q, "nobody").Status(t.Context())
		s := q.Stats()
		if s.Calls != 4 || s.CallsFailed != 1 || s.Attempts != 5 || s.Troubles != 1 {
			t.Errorf("%+v", s)
		}
	})
}
