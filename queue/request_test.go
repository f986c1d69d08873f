package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		big := strings.Repeat("x", maxRun)
		for field, r := range map[string]Request{
			"Request.Input":            {},
			"Request.Webhook":          {Input: 1, Webhook: "example.org"},
			"Request.ExecutionTimeout": {Input: 1, ExecutionTimeout: 5 * time.Second},
			"Request.TTL":              {Input: 1, TTL: time.Second},
			"Request.Wait":             {Input: 1, Wait: 6 * time.Minute},
		} {
			_, err := Run[greeting](t.Context(), q, r)
			if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != field || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := Run[greeting](t.Context(), q, Request{Input: big}); !errors.Is(err, runpod.ErrTooLarge) {
			t.Errorf("10 MB and more: %v", err)
		}
		if _, err := Open[greeting](q, "").Status(t.Context()); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("no id: %v", err)
		}
		if calls, _ := srv.JobCalls(); len(calls) != 0 {
			t.Errorf("sent: %v", calls)
		}
		if _, err := RunSync[greeting](t.Context(), q, Request{Input: big}); err != nil {
			t.Errorf("10 MB for RunSync: %v", err)
		}
	})
}
