package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		fault    *runpodtest.Fault
		parts    int
		kind     error
		lost     bool
	}{
		{name: "to its end", in: "stream", parts: 5},
		{name: "of a job that fails", in: "stream and fail", parts: 5, kind: ErrFailed},
		{name: "of a job without parts", in: "x"},
		{name: "an answer refused with 503", in: "stream", parts: 5,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Times: 3, Do: runpodtest.Answer(503, "")}},
		{name: "an answer lost with its parts", in: "stream", parts: 0, lost: true,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Skip: 3, Do: runpodtest.ResetAfterWork()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := jobEndpoint()
			cfg.ServiceTime = runpodtest.Fixed(200 * time.Second)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
				if tt.fault != nil {
					srv.Fault(*tt.fault)
				}
				job := runJob(t, q, tt.in)
				n := 0
				var end error
				for part, err := range Stream[string](t.Context(), q, job.ID) {
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
				if e, _ := errors.AsType[*runpod.Error](end); tt.lost && (e == nil || !e.MayHaveRun || e.JobID != job.ID) {
					t.Errorf("parts may be lost, and the error is %v", end)
				}
			})
		})
	}
}
