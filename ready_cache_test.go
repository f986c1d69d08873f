package runpod_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Any number of health checks make one request in 5 s, and one that is
// impatient spoils nothing for the others.
func TestReadyIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{MinWorkers: 1})
		c := steered(t, srv)
		check := func(want int) {
			t.Helper()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if _, err := c.Ready(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := srv.Stats().ControlRequests; n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		}
		check(2)
		time.Sleep(4 * time.Second)
		check(2)
		time.Sleep(time.Second)
		check(4)
		c.Close()
		if _, err := c.Ready(t.Context()); !errors.Is(err, runpod.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
