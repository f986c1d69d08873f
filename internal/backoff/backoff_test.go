package backoff

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

var errStopped = errors.New("stopped")

func TestSleep(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelCauseFunc, stop func())
		took time.Duration
		want error
	}{
		{"to its end", func(context.CancelCauseFunc, func()) {}, time.Minute, nil},
		{"until its context ends", func(cancel context.CancelCauseFunc, _ func()) { cancel(errStopped) }, time.Second, errStopped},
		{"until it is stopped", func(_ context.CancelCauseFunc, stop func()) { stop() }, time.Second, errStopped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				stopped := make(chan struct{})
				time.AfterFunc(time.Second, func() { tt.end(cancel, func() { close(stopped) }) })
				start := time.Now()
				if err := SleepUntil(ctx, stopped, errStopped, time.Minute); err != tt.want || time.Since(start) != tt.took {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
			})
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sleep(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("in a context that has ended: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                 NotSaid,
		"0":                                0,
		"120":                              2 * time.Minute,
		" 1.5 ":                            1500 * time.Millisecond,
		"-1":                               NotSaid,
		"NaN":                              NotSaid,
		"soon":                             NotSaid,
		"1e300":                            maxRetryAfter,
		"1e999":                            NotSaid,
		"999999999999999999999":            maxRetryAfter,
		"Sat, 21 Nov 2026 12:00:30 GMT":    30 * time.Second,
		"Sat, 21 Nov 2026 11:00:00 GMT":    0,
		"Saturday, 21-Nov-26 12:00:30 GMT": 30 * time.Second,
		"Sat Nov 21 12:00:30 2026":         30 * time.Second,
		"Sat, 21 Nov 9999 12:00:00 GMT":    maxRetryAfter,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "1e309", "NaN", "Sat, 21 Nov 2026 12:00:30 GMT", "soon", "0x10"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := RetryAfter(s, now); d < NotSaid || d > maxRetryAfter {
			t.Errorf("%q: %d", s, d)
		}
	})
}

func TestFullJitter(t *testing.T) {
	const almost = 1 - 1e-9
	for _, tt := range []struct {
		base, most time.Duration
		n          int
		random     float64
		want       time.Duration
	}{
		{time.Second, time.Minute, 0, 0, 0},
		{time.Second, time.Minute, 0, almost, time.Second},
		{time.Second, time.Minute, 3, almost, 8 * time.Second},
		{time.Second, time.Minute, 3, 0.5, 4 * time.Second},
		{time.Second, time.Minute, 6, almost, time.Minute},
		{time.Second, time.Minute, 1000, almost, time.Minute},
		{math.MaxInt64 / 2, math.MaxInt64, 5, 0, 0},
		{0, time.Minute, 5, almost, 0},
	} {
		if got := FullJitter(tt.base, tt.most, tt.n, tt.random); (got - tt.want).Abs() > time.Microsecond {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}
