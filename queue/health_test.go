package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestHealthAndPurge(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		var handles []*Handle[greeting]
		for range 5 {
			handles = append(handles, runJob(t, q, "x"))
		}
		h, err := q.Health(t.Context())
		if err != nil || h.Jobs.InQueue != 5 || h.Workers.Initializing == 0 {
			t.Errorf("%+v, %v", h, err)
		}
		time.Sleep(80 * time.Second)
		h, err = q.Health(t.Context())
		running := h.Jobs.InProgress
		if err != nil || running == 0 || h.Workers.Running != running {
			t.Errorf("%+v, %v", h, err)
		}
		if n, err := q.PurgeQueue(t.Context()); err != nil || n != 5-running {
			t.Errorf("purged %d of %d, %v", n, 5-running, err)
		}
		cancelled := 0
		for _, job := range handles {
			if _, err := job.Wait(t.Context()); errors.Is(err, ErrCancelled) {
				cancelled++
			}
		}
		if cancelled != 5-running {
			t.Errorf("%d cancelled", cancelled)
		}
	})
}
