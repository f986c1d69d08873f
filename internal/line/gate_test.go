package line

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		if err := g.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if err := g.Acquire(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				g.Release()
			})
			synctest.Wait() // i waits in line before i+1 comes
		}
		if held, _, waiting := g.Counts(); held != 1 || waiting != 5 {
			t.Fatalf("held %d, waiting %d", held, waiting)
		}
		g.Release()
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("served in the order %v", order)
			}
		}
		if held, peak, waiting := g.Counts(); held != 0 || peak != 1 || waiting != 0 {
			t.Errorf("held %d, peak %d, waiting %d at the end", held, peak, waiting)
		}
	})
}

func TestGateWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		g.Acquire(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if _, _, waiting := g.Counts(); waiting != 0 {
			t.Errorf("%d still wait", waiting)
		}
		g.Release()
		if err := g.Acquire(t.Context()); err != nil {
			t.Errorf("the place was lost: %v", err)
		}
		if err := g.Acquire(ctx); err == nil {
			t.Error("an ended context got a place")
		}
	})
}

// A context that ends in the instant its place is given must not lose it.
func TestGateLosesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*time.Second)
				defer cancel()
				if g.Acquire(ctx) == nil {
					time.Sleep(time.Second) // virtual: releases fall on the others' deadlines
					g.Release()
				}
			})
		}
		wg.Wait()
		if held, peak, waiting := g.Counts(); held != 0 || waiting != 0 || peak > 2 {
			t.Errorf("held %d, peak %d, waiting %d", held, peak, waiting)
		}
	})
}

// The highest priority goes first, equals in order of arrival, and every eighth
// turn is that of who came first of all.
func TestGateAdmitsByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		if err := g.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var got []int
		var wg sync.WaitGroup
		join := func(id, priority int) {
			wg.Go(func() {
				if err := g.AcquireAgain(t.Context(), nil, &Ticket{Priority: priority}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, id)
				mu.Unlock()
				g.Release()
			})
			synctest.Wait()
		}
		join(1, -1)
		join(2, 0)
		join(3, 5)
		join(4, 0)
		for id := 5; id < 15; id++ {
			join(id, 5)
		}
		g.Release()
		wg.Wait()
		if want := []int{3, 5, 6, 7, 8, 9, 10, 1, 11, 12, 13, 14, 2, 4}; !slices.Equal(got, want) {
			t.Errorf("admitted %v, want %v", got, want)
		}
	})
}
