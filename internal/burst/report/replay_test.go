package report

import "testing"

// Four jobs of 10 s, two at once, by hand.
func TestReplay(t *testing.T) {
	r := &replay{due: make([]seconds, 4), upload: []seconds{1, 1, 1, 1}, work: []seconds{10, 10, 10, 10}, places: 2, ready: []seconds{20, 40}}
	for _, tt := range []struct {
		name      string
		ready     []seconds
		end, mean seconds
	}{
		{"as it was", r.ready, 51, (30 + 40 + 20 + 11) / 4.0},
		{"one ready at the start", r.warm(1), 41, (11 + 21 + 20 + 20) / 4.0},
		{"both ready at the start", r.warm(2), 22, 11},
	} {
		if end, mean := r.run(tt.ready); end != tt.end || mean != tt.mean {
			t.Errorf("%s: it ends at %v, a job takes %v; want %v, %v", tt.name, end, mean, tt.end, tt.mean)
		}
	}
	if got := r.more(1); len(got) != 3 || got[2] != 40 {
		t.Errorf("with one more: %v", got)
	}
	if got := r.warm(3); len(got) != 3 || got[2] != 0 {
		t.Errorf("with three ready: %v", got)
	}
}
