package line

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// waitInLine makes sharers wait in an order that is known.
func waitInLine(p *Pool, c *Sharer, name string, got *[]string) (leave context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if _, err := p.Acquire(ctx, c); err == nil {
			*got = append(*got, name)
		}
	}()
	synctest.Wait()
	return cancel
}

func TestPoolGoToWhoHoldsFewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(2)
		large, a, b := &Sharer{}, &Sharer{}, &Sharer{}
		var got []string
		for range 4 {
			waitInLine(p, large, "large", &got) // two of them get a place
		}
		waitInLine(p, a, "a", &got)
		left := waitInLine(p, b, "left", &got)
		waitInLine(p, b, "b", &got)
		left()
		synctest.Wait()
		for _, c := range []*Sharer{large, a, large, b, large, large} {
			Place{pool: p, sharer: c}.Release()
			synctest.Wait()
		}
		if want := "[large large a b large large]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
		if held, peak, waiting := p.Counts(); held != 0 || peak != 2 || waiting != 0 {
			t.Errorf("%d held, %d at most, %d waiting", held, peak, waiting)
		}
	})
}

func TestPoolNarrowAndWiden(t *testing.T) {
	p := NewPool(16)
	now, _ := p.Acquire(t.Context(), &Sharer{})
	limit := func(want int) {
		t.Helper()
		if p.limit != want {
			t.Errorf("limit %d, want %d", p.limit, want)
		}
	}
	for range 5 { // what was under way together counts once
		now.Refused()
	}
	limit(8)
	for want := 4; want > 0; want /= 2 {
		Place{pool: p, era: p.era}.Refused()
		limit(want)
	}
	Place{pool: p, era: p.era}.Refused()
	limit(1)
	for want := 2; want <= 16; want++ {
		for range want - 1 {
			now.Answered()
		}
		limit(want)
	}
	now.Answered()
	limit(16)
}

// A pool that has narrowed below what is held lets nobody in until it fits.
func TestPoolNarrowedWhileHeld(t *testing.T) {
	p := NewPool(4)
	c := &Sharer{}
	var last Place
	for range 4 {
		last, _ = p.Acquire(t.Context(), c)
	}
	last.Refused()
	for range 2 {
		Place{pool: p, sharer: c}.Release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.Acquire(ctx, &Sharer{}); err == nil {
		t.Error("a third was let in by a pool of two")
	}
	Place{pool: p, sharer: c}.Release()
	if _, err := p.Acquire(t.Context(), &Sharer{}); err != nil {
		t.Error(err)
	}
}

// Taking a place and giving it back, by 1,000 callers who all wait.
func BenchmarkPool(b *testing.B) {
	p := NewPool(10)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	for range 1000 {
		wg.Go(func() {
			c := &Sharer{}
			for left.Add(-1) >= 0 {
				p.Acquire(b.Context(), c)
				runtime.Gosched() // the others come to wait
				Place{pool: p, sharer: c}.Release()
			}
		})
	}
	wg.Wait()
}
