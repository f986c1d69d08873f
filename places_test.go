package runpod

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

// waitInLine makes callers wait in an order that is known.
func waitInLine(p *places, c *caller, name string, got *[]string) (leave context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if _, err := p.acquire(ctx, c); err == nil {
			*got = append(*got, name)
		}
	}()
	synctest.Wait()
	return cancel
}

func TestPlacesGoToWhoHoldsFewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		large, a, b := &caller{}, &caller{}, &caller{}
		var got []string
		for range 4 {
			waitInLine(p, large, "large", &got) // two of them get a place
		}
		waitInLine(p, a, "a", &got)
		left := waitInLine(p, b, "left", &got)
		waitInLine(p, b, "b", &got)
		left()
		synctest.Wait()
		for _, c := range []*caller{large, a, large, b, large, large} {
			p.release(c)
			synctest.Wait()
		}
		if want := "[large large a b large large]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
		if held, peak, waiting := p.counts(); held != 0 || peak != 2 || waiting != 0 {
			t.Errorf("%d held, %d at most, %d waiting", held, peak, waiting)
		}
	})
}

func TestPlacesNarrowAndWiden(t *testing.T) {
	p := newPlaces(16)
	now, _ := p.acquire(t.Context(), &caller{})
	limit := func(want int) {
		t.Helper()
		if p.limit != want {
			t.Errorf("limit %d, want %d", p.limit, want)
		}
	}
	for range 5 { // what was under way together counts once
		p.refused(now)
	}
	limit(8)
	for want := 4; want > 0; want /= 2 {
		p.refused(turn{p.era})
		limit(want)
	}
	p.refused(turn{p.era})
	limit(1)
	for want := 2; want <= 16; want++ {
		for range want - 1 {
			p.answered()
		}
		limit(want)
	}
	p.answered()
	limit(16)
}

// A pool that has narrowed below what is held lets nobody in until it fits.
func TestPlacesNarrowedWhileHeld(t *testing.T) {
	p := newPlaces(4)
	c := &caller{}
	var last turn
	for range 4 {
		last, _ = p.acquire(t.Context(), c)
	}
	p.refused(last)
	for range 2 {
		p.release(c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.acquire(ctx, &caller{}); err == nil {
		t.Error("a third was let in by a pool of two")
	}
	p.release(c)
	if _, err := p.acquire(t.Context(), &caller{}); err != nil {
		t.Error(err)
	}
}

// Taking a place and giving it back, by 1,000 callers who all wait.
func BenchmarkPlaces(b *testing.B) {
	p := newPlaces(10)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	for range 1000 {
		wg.Go(func() {
			c := &caller{}
			for left.Add(-1) >= 0 {
				p.acquire(b.Context(), c)
				runtime.Gosched() // the others come to wait
				p.release(c)
			}
		})
	}
	wg.Wait()
}
