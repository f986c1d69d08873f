package runpodtest

import "testing"

func TestWanted(t *testing.T) {
	for _, tt := range []struct {
		rule       ScalerType
		value      int
		d          demand
		minW, maxW int
		want       int
	}{
		{RequestCount, 4, demand{}, 0, 3, 0},
		{RequestCount, 4, demand{queued: 1}, 0, 3, 1},
		{RequestCount, 4, demand{queued: 4}, 0, 3, 1},
		{RequestCount, 4, demand{queued: 3, inProgress: 2}, 0, 3, 2},
		{RequestCount, 4, demand{queued: 100}, 0, 3, 3},
		{RequestCount, 4, demand{}, 2, 3, 2},
		{RequestCount, 1, demand{queued: 5}, 0, 10, 5},
		{RequestCount, 4, demand{queued: 5}, 0, 0, 0},
		{RequestCount, 4, demand{overdue: 9}, 0, 3, 0},
		{QueueDelay, 4, demand{queued: 5}, 0, 3, 0},
		{QueueDelay, 4, demand{queued: 5, overdue: 2}, 0, 3, 2},
		{QueueDelay, 4, demand{queued: 5, overdue: 1, inProgress: 1}, 0, 3, 2},
		{QueueDelay, 4, demand{overdue: 9}, 0, 3, 3},
	} {
		if got := wanted(tt.rule, tt.value, tt.d, tt.minW, tt.maxW); got != tt.want {
			t.Errorf("wanted(%v, %d, %+v, %d, %d) = %d, want %d", tt.rule, tt.value, tt.d, tt.minW, tt.maxW, got, tt.want)
		}
	}
}
