package runpod

import (
	"context"
	"sync"
	"time"
)

// tidyWait is how long an upload that has failed, or a Client that is closed,
// waits for what is tidied up after it.
const tidyWait = 5 * time.Second

// tidying is what goes on after uploads have failed: aborts whose gateway does
// not answer. Whoever was cancelled returns within seconds; closing waits for
// the rest and ends it. It is safe for concurrent use.
type tidying struct {
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

func newTidying() *tidying {
	t := &tidying{}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// do calls f, with a context that ends after limit, and returns when f has, but
// after tidyWait at the latest.
func (t *tidying) do(ctx context.Context, limit time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(t.life, cancel)
	done := make(chan struct{})
	t.running.Go(func() {
		defer close(done)
		defer cancel()
		defer stop()
		f(ctx)
	})
	waitBriefly(done)
}

// finish ends what is still going on after tidyWait, and returns when it has
// ended. Nothing may be begun meanwhile. It may be called again.
func (t *tidying) finish() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.running.Wait()
	}()
	waitBriefly(done)
	t.end()
	<-done
}

// waitBriefly waits until done is closed, for tidyWait at most.
func waitBriefly(done <-chan struct{}) {
	timer := time.NewTimer(tidyWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
