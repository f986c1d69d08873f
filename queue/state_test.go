package queue

import (
	"testing"
)

func TestStates(t *testing.T) {
	for s, final := range map[State]bool{
		StateInQueue: false, StateInProgress: false, StateRunning: false, "SOMETHING_NEW": false,
		StateCompleted: true, StateFailed: true, StateCancelled: true, StateTimedOut: true,
	} {
		if s.Final() != final || !s.named() {
			t.Errorf("%s: final %v, named %v", s, s.Final(), s.named())
		}
	}
	for _, s := range []State{"", "ok", "error", "200", "<html>", "IN QUEUE"} {
		if s.Final() || s.named() {
			t.Errorf("%q is a state", s)
		}
	}
}
