package queue

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestOutputOfAnotherType(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job, _ := Run[[]int](t.Context(), q, Request{Input: "x"})
		if _, err := job.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "[]int") || !strings.Contains(err.Error(), `{"Hello":"x"}`) {
			t.Errorf("got %v", err)
		}
		raw, err := Open[json.RawMessage](q, job.ID).Status(t.Context())
		if err != nil || string(raw.Output) != `{"Hello":"x"}` {
			t.Errorf("%s, %v", raw.Output, err)
		}
	})
}
