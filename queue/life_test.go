package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

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
