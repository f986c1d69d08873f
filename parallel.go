package runpod

import (
	"context"
	"sync"
)

// producer makes items one after the other and hands them to emit, which waits
// until somebody is free for it, and fails when nobody will be any more: the
// item is then the producer's still.
type producer[T any] func(ctx context.Context, emit func(T) error) error

// forEach does something with each item that is produced, n at a time. The
// first failure ends it all. It returns when nothing is under way any more.
func forEach[T any](ctx context.Context, n int, produce producer[T], do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	items := make(chan T)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for item := range items {
				if err := do(ctx, item); err != nil {
					cancel(err) // the first one counts
				}
			}
		})
	}
	err := produce(ctx, func(item T) error {
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
	close(items)
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
