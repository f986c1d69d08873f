package runpod

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// tidyWait is how long an upload that has failed, or a Client that is closed,
// waits for what is tidied up after it.
const tidyWait = 5 * time.Second

// tidying is what is done on the volume after uploads and jobs: aborts and
// deletions. Whoever was cancelled returns within seconds, also if the gateway is
// silent; closing waits for the rest and ends it. It is safe for concurrent use.
type tidying struct {
	logger  *slog.Logger
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

func newTidying(logger *slog.Logger) *tidying {
	t := &tidying{logger: logger}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// do calls f, with a context that ends after limit and not with ctx. It returns
// when f has. If ctx has ended, it returns after tidyWait at the latest, and f
// goes on.
func (t *tidying) do(ctx context.Context, limit time.Duration, f func(context.Context)) {
	wait := limit
	if ctx.Err() != nil {
		wait = min(limit, tidyWait)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(t.life, cancel)
	done := make(chan struct{})
	t.running.Go(func() {
		defer close(done)
		defer cancel()
		defer stop()
		// An observer is told of the requests, and may panic.
		line.Guard(func() error { f(ctx); return nil }, func(err error) {
			if err != nil {
				t.logger.LogAttrs(ctx, slog.LevelWarn, "not tidied up", slog.String("error", err.Error()))
			}
		})
	})
	waitFor(done, wait)
}

// settleAll ends what is still going on after tidyWait, and returns when it has
// ended. Nothing may be begun meanwhile. It may be called again.
func (t *tidying) settleAll() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.running.Wait()
	}()
	waitFor(done, tidyWait)
	t.end()
	<-done
}

// waitFor waits until done is closed, or for as long as most.
func waitFor(done <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
