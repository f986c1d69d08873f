package burst

import (
	"sync"
	"time"
)

// Every calls f so often, until stop is called: then once more. After stop has
// returned f is not called again.
func Every(d time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-done:
				f()
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}
