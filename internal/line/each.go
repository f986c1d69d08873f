package line

import (
	"context"
	"sync"
)

// Producer makes items one after the other and hands each to emit, which waits
// until somebody is free for it. If emit fails, nobody will be free any more
// and the item is still the producer's; the producer then returns.
type Producer[T any] func(ctx context.Context, emit func(T) error) error

// ForEach calls do for each item that is produced, n at a time. The first
// failure, of do or of produce, ends the context of all and is returned; so
// does a panic of do, see [Guard]. ForEach returns when nothing is under way any more.
func ForEach[T any](ctx context.Context, n int, produce Producer[T], do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	items := make(chan T)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for item := range items {
				Guard(func() error { return do(ctx, item) }, func(err error) {
					if err != nil {
						cancel(err) // the first one counts
					}
				})
			}
		})
	}
	func() {
		defer workers.Wait()
		defer close(items)
		err := produce(ctx, func(item T) error {
			if ctx.Err() != nil { // select would still choose a worker that is free, half of the time
				return context.Cause(ctx)
			}
			select {
			case items <- item:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			cancel(err)
		}
	}()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
