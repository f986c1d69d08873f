package runpod

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Stats says who waits for what, and how long all have waited.
func TestStatsShowWaiting(t *testing.T) {
	cfg := runpodtest.Config{MaxWorkers: 1, ColdStart: runpodtest.Fixed(150 * time.Second), ServiceTime: runpodtest.Fixed(10 * time.Second)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { c.Call(t.Context(), "POST", "/x", nil, nil) })
		}
		synctest.Wait()
		if s := c.Stats(); s.InFlight != 1 || s.Waiting != 1 || s.Limit != 1 || s.S3Limit != 2 || s.S3InUse != 0 || s.RetryTokens != 100 {
			t.Errorf("%+v", s)
		}
		wg.Wait()
		s := c.Stats()
		if s.WaitedPlace < 2*time.Minute || s.WaitedCold < 2*time.Minute || s.WaitedBackoff > s.WaitedCold || s.TransfersFailed != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := c.Stat(t.Context(), "nothing"); err == nil {
			t.Error("there is something")
		}
		if s := c.Stats(); s.TransfersFailed != 1 {
			t.Errorf("%d transfers failed, want 1", s.TransfersFailed)
		}
	}, WithMaxInFlight(1), WithS3Conns(2))
}
