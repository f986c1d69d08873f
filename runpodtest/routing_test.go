package runpodtest

import "testing"

func TestRoutingPrefers(t *testing.T) {
	old := candidate{number: 1, served: 5, favour: 0.1}
	young := candidate{number: 2, served: 0, favour: 0.9}
	for routing, want := range map[Routing]candidate{RouteEven: young, RouteFirst: old, RouteUneven: young} {
		got := old
		if routing.less(young, old) {
			got = young
		}
		if got != want {
			t.Errorf("routing %d takes number %d", routing, got.number)
		}
		if routing.less(old, young) == routing.less(young, old) {
			t.Errorf("routing %d does not decide", routing)
		}
	}
	if same := (candidate{number: 3, served: 5, favour: 0.1}); RouteEven.less(same, old) || RouteUneven.less(same, old) {
		t.Error("between equals, the older worker should win")
	}
}

func TestParseAffinity(t *testing.T) {
	for header, want := range map[string]affinity{
		"":                   {},
		"abc":                {worker: "abc"},
		" abc ":              {worker: "abc"},
		"strict abc":         {worker: "abc", strict: true},
		"Strict  abc":        {worker: "abc", strict: true},
		"strict-resume abc":  {worker: "abc", strict: true, resume: true},
		"lenient abc":        {},
		"strict abc and def": {},
	} {
		if got := parseAffinity(header); got != want {
			t.Errorf("parseAffinity(%q) = %+v, want %+v", header, got, want)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, tt := range []struct {
		unfairness, lot float64
		want            int
	}{{0, 0, 0}, {0, 0.999, 0}, {0.4, 0.1, -1}, {0.4, 0.2, 0}, {0.4, 0.79, 0}, {0.4, 0.8, 1}, {1, 0.49, -1}, {1, 0.5, 1}} {
		if got := place(tt.unfairness, tt.lot); got != tt.want {
			t.Errorf("place(%v, %v) = %d, want %d", tt.unfairness, tt.lot, got, tt.want)
		}
	}
}
