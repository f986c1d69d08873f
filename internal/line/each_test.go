package line

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// upTo produces the numbers below n.
func upTo(n int) Producer[int] {
	return func(_ context.Context, emit func(int) error) error {
		for i := range n {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestForEachHandlesEveryItemSeveralAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, sum atomic.Int64
		err := ForEach(t.Context(), 3, upTo(10), func(_ context.Context, i int) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second) // virtual
			now.Add(-1)
			sum.Add(int64(i))
			return nil
		})
		if err != nil || sum.Load() != 45 || most.Load() != 3 {
			t.Errorf("sum %d, %d at most at once, %v", sum.Load(), most.Load(), err)
		}
	})
}

func TestForEachEndsWithTheFirstFailure(t *testing.T) {
	failed := errors.New("the fifth fails")
	for _, where := range []string{"do", "produce", "context"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				produced := 0
				produce := func(ctx context.Context, emit func(int) error) error {
					for ; ; produced++ {
						if produced == 5 && where == "produce" {
							return failed
						}
						if err := emit(produced); err != nil {
							return err
						}
					}
				}
				err := ForEach(ctx, 2, produce, func(ctx context.Context, i int) error {
					switch {
					case i == 5 && where == "do":
						return failed
					case i == 5:
						cancel(failed)
					case i > 5:
						<-ctx.Done()
					}
					return nil
				})
				if !errors.Is(err, failed) || produced > 8 {
					t.Errorf("%v after %d items", err, produced)
				}
			})
		})
	}
}

func TestForEachWaitsForItsWorkersIfTheProducerPanics(t *testing.T) {
	var done atomic.Bool
	defer func() {
		if recover() == nil || !done.Load() {
			t.Error("ForEach left a worker behind")
		}
	}()
	ForEach(t.Context(), 1, func(_ context.Context, emit func(int) error) error {
		emit(0)
		panic("the producer")
	}, func(context.Context, int) error { done.Store(true); return nil })
}
