package queue

import (
	"errors"
	"testing"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRetry(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job := runJob(t, q, "fail")
		if err := job.Retry(t.Context()); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("a job that has not failed: %v", err)
		}
		job.Wait(t.Context())
		if err := job.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st, err := job.Status(t.Context()); err != nil || st.State.Final() || st.Retries != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := job.Wait(t.Context()); !errors.Is(err, ErrFailed) {
			t.Errorf("got %v", err)
		}
	})
}
