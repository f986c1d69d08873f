package queue

import (
	"fmt"
	"testing"
	"time"
)

// A job is recent for a while, and forgotten later: the memory is bounded.
func TestRecent(t *testing.T) {
	const keep = 30 * time.Second
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var r recent
	if r.has("j", now, keep) {
		t.Error("nobody has queued it")
	}
	r.note("j", now, keep)
	for after, want := range map[time.Duration]bool{0: true, keep - 1: true, keep: false, time.Hour: false} {
		if r.has("j", now.Add(after), keep) != want {
			t.Errorf("after %v: %v", after, !want)
		}
	}
	r.note("j", now.Add(20*time.Second), keep) // queued once more
	if !r.has("j", now.Add(40*time.Second), keep) {
		t.Error("the second time does not count")
	}
	for i := range 10_000 {
		r.note(fmt.Sprint(i), now.Add(time.Minute+time.Duration(i)*time.Second), keep)
	}
	if len(r.at) > 31 || len(r.order) > 31 {
		t.Errorf("%d and %d are remembered", len(r.at), len(r.order))
	}
}
