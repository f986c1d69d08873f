package runpod

import (
	"testing"
	"time"
)

// The choice is a table: what is known of each endpoint, and where the next job
// goes.
func TestChoice(t *testing.T) {
	cold, refused := memberView{limit: 16}, memberView{limit: 16, refused: true, doubtful: true}
	doubtful := memberView{limit: 16, doubtful: true}
	warm := func(workers, busy int) memberView {
		return memberView{limit: 16, warm: true, workers: workers, busy: busy}
	}
	with := func(v memberView, change func(*memberView)) memberView { change(&v); return v }
	aside := func(v *memberView) { v.aside = true }
	for _, tt := range []struct {
		name   string
		views  []memberView
		except int
		want   int
	}{
		{"both cold: together at the first", []memberView{cold, cold}, -1, 0},
		{"both cold, the first is full: still together", []memberView{with(cold, func(v *memberView) { v.busy = 16 }), cold}, -1, 0},
		{"the first has a worker to spare", []memberView{warm(2, 1), warm(3, 0)}, -1, 0},
		{"the first's workers are busy, another's are not", []memberView{warm(2, 2), warm(3, 1)}, -1, 1},
		{"all are busy: the least to do for each worker", []memberView{warm(2, 6), warm(3, 4)}, -1, 1},
		{"all are busy alike: the first", []memberView{warm(2, 3), warm(2, 3)}, -1, 0},
		{"the first is warm and busy, the second cold: its autoscaler is to see it", []memberView{warm(1, 9), cold}, -1, 0},
		{"the first is warm and full, the second cold", []memberView{warm(1, 16), cold}, -1, 0},
		{"the same, and it gets no further worker", []memberView{with(warm(1, 16), func(v *memberView) { v.grown = true }), cold}, -1, 1},
		{"the first refuses, the second is cold", []memberView{refused, cold}, -1, 1},
		{"the first refuses, the second is warm", []memberView{refused, warm(1, 4)}, -1, 1},
		{"both refuse: the least under way", []memberView{with(refused, func(v *memberView) { v.busy = 3 }), refused}, -1, 1},
		{"the first meets trouble", []memberView{refused, cold}, -1, 1},
		{"the first refused a while ago: one tries it", []memberView{doubtful, cold}, -1, 0},
		{"the first refused a while ago, and one tries it", []memberView{with(doubtful, func(v *memberView) { v.busy = 1 }), cold}, -1, 1},
		{"the first refused a while ago, the second has a worker to spare", []memberView{doubtful, warm(3, 2)}, -1, 1},
		{"the same, it is full and gets no further worker", []memberView{doubtful, with(warm(3, 16), func(v *memberView) { v.grown = true })}, -1, 0},
		{"the first is set aside", []memberView{with(warm(3, 0), aside), cold}, -1, 1},
		{"all are set aside: one is tried all the same", []memberView{with(cold, aside), with(cold, aside)}, -1, 0},
		{"not where it comes from", []memberView{warm(3, 0), cold, warm(1, 1)}, 0, 2},
		{"there is nowhere else", []memberView{cold}, 0, -1},
		{"weights: the least for its weight", []memberView{with(cold, func(v *memberView) { v.weight, v.busy = 3, 3 }), with(cold, func(v *memberView) { v.weight, v.busy = 1, 0 })}, -1, 1},
		{"weights: not one that refuses", []memberView{with(cold, func(v *memberView) { v.weight, v.busy = 3, 9 }), with(refused, func(v *memberView) { v.weight = 1 })}, -1, 0},
	} {
		if got := choose(tt.views, tt.except); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A request moves only from where it is stuck to where that helps.
func TestMove(t *testing.T) {
	cold, refused := memberView{limit: 2}, memberView{limit: 2, refused: true, doubtful: true, busy: 1}
	full := memberView{limit: 2, busy: 2}
	warm := func(workers, busy int) memberView {
		return memberView{limit: 2, warm: true, workers: workers, busy: busy}
	}
	grown := warm(1, 3)
	grown.grown = true
	for _, tt := range []struct {
		name   string
		views  []memberView
		want   int
		unsent bool
	}{
		{"cold like the other", []memberView{{limit: 2, busy: 1}, cold}, -1, false},
		{"refused, the other has room", []memberView{refused, cold}, 1, false},
		{"refused, the other is full and cold", []memberView{refused, full}, -1, false},
		{"refused here, not yet sent, the other is full and cold", []memberView{refused, full}, 1, true},
		{"refused, the other is full, but warm", []memberView{refused, warm(1, 2)}, 1, false},
		{"both refuse", []memberView{refused, refused}, -1, false},
		{"refused, the other did so a while ago", []memberView{refused, {limit: 2, doubtful: true}}, -1, false},
		{"refused, the other is set aside", []memberView{refused, {limit: 2, aside: true}}, -1, false},
		{"set aside, the other is well", []memberView{{limit: 2, aside: true, busy: 1}, cold}, 1, true},
		{"about to be sent, and a worker is idle elsewhere", []memberView{warm(1, 2), warm(1, 0)}, 1, true},
		{"about to be sent, and nobody is idle elsewhere", []memberView{warm(1, 2), warm(1, 1)}, -1, true},
		{"about to be sent to an idle worker", []memberView{warm(1, 1), warm(1, 0)}, -1, true},
		{"refused by busy workers, and a worker is idle elsewhere", []memberView{warm(1, 2), warm(1, 0)}, 1, false},
		{"refused by busy workers, the other is cold", []memberView{warm(1, 3), cold}, -1, false},
		{"the same, and it gets no further worker", []memberView{grown, cold}, 1, false},
		{"refused by busy workers, the other has as much to do", []memberView{warm(1, 2), warm(1, 2)}, -1, false},
	} {
		if got := shouldMove(tt.views, 0, tt.unsent); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for times, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 5: 15 * time.Minute, 60: 15 * time.Minute} {
		if got := asideFor(times); got != want {
			t.Errorf("set aside %d times: for %v, want %v", times, got, want)
		}
	}
	for times, want := range map[int]time.Duration{1: 4 * time.Minute, 2: 8 * time.Minute, 3: 15 * time.Minute, 60: 15 * time.Minute} {
		if got := refusedFor(times, 2*time.Minute); got != want {
			t.Errorf("refused %d times: for %v, want %v", times, got, want)
		}
	}
}
