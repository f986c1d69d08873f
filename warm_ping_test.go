package runpod

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// What a light request has shown, by how it was answered.
func TestPingFindsOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   runpodtest.Action
		want finding // refused: any error
		kind error
	}{
		{"a worker answers", runpodtest.WorkerAnswer(200, "ok"), finding{answered: true, ready: true}, nil},
		{"a worker without that path", runpodtest.WorkerAnswer(404, ""), finding{answered: true, ready: true}, nil},
		{"a worker that is initialising", runpodtest.WorkerAnswer(204, ""), finding{answered: true}, nil},
		{"a worker that is loading", runpodtest.WorkerAnswer(503, `{"detail":"loading"}`), finding{answered: true}, nil},
		{"no worker at once", runpodtest.Answer(400, `{"error":"no workers available"}`), finding{}, nil},
		{"the key is refused", runpodtest.Answer(401, `{"detail":"invalid api key"}`), finding{}, ErrUnauthorized},
		{"another kind of endpoint", runpodtest.Answer(400, `{"error":"not allowed for QB API"}`), finding{}, ErrBadRequest},
		{"the connection breaks", runpodtest.ResetAfterRead(), finding{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				srv.Fault(runpodtest.Fault{Path: "/ping", Times: runpodtest.Always, Do: tt.do})
				got := pinger{c.ep, "/ping"}.ping(t.Context(), "")
				if !errors.Is(got.refused, tt.kind) || (got.refused != nil) != (tt.kind != nil) || got.refused != nil && strings.Contains(got.refused.Error(), srv.APIKey) {
					t.Errorf("refused: %v, want %v", got.refused, tt.kind)
				}
				if tt.want.answered != (got.worker != "") {
					t.Errorf("answered by worker %q", got.worker)
				}
				got.refused, got.worker = nil, ""
				if got != tt.want {
					t.Errorf("%+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// A light request that has waited for as long as the balancer waits was in vain.
func TestPingInVain(t *testing.T) {
	cfg := runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		start := time.Now()
		if got := (pinger{c.ep, "/ping"}).ping(t.Context(), ""); got != (finding{inVain: true}) || time.Since(start) < 2*time.Minute {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
	})
}
