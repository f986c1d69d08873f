package runpodtest

import (
	"slices"
	"testing"
	"time"
)

func TestDistQuantiles(t *testing.T) {
	const n = 10_000
	sample := func(d Dist) []time.Duration {
		var v []time.Duration
		for i := range n {
			v = append(v, d.at(7, drawColdStart, i+1))
		}
		slices.Sort(v)
		return v
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want*95/100 || got > want*105/100 {
			t.Errorf("%s is %v, want about %v", what, got, want)
		}
	}
	v := sample(LogNormal(30*time.Second, 90*time.Second))
	near("lognormal median", v[n/2], 30*time.Second)
	near("lognormal p90", v[n*9/10], 90*time.Second)
	v = sample(Range(40*time.Second, 90*time.Second))
	near("range minimum", v[0], 40*time.Second)
	near("range median", v[n/2], 65*time.Second)
	near("range maximum", v[n-1], 90*time.Second)
	v = sample(Fixed(time.Minute))
	near("fixed minimum", v[0], time.Minute)
}

func TestDistDependsOnSeedAndNumberOnly(t *testing.T) {
	d := Range(0, time.Hour)
	first, again := d.at(1, drawColdStart, 5), d.at(1, drawColdStart, 5)
	if first != again {
		t.Error("the same draw gave two values")
	}
	for what, other := range map[string]time.Duration{
		"seed": d.at(2, drawColdStart, 5), "purpose": d.at(1, drawService, 5), "number": d.at(1, drawColdStart, 6),
	} {
		if other == first {
			t.Errorf("another %s gave the same value", what)
		}
	}
	r := Recorded(1, 2, 3)
	for i, want := range []time.Duration{1, 2, 3, 1} {
		if got := r.at(9, drawColdStart, i+1); got != want {
			t.Errorf("recorded value %d is %d, want %d", i+1, got, want)
		}
	}
}

func TestParseDist(t *testing.T) {
	for text, want := range map[string]Dist{
		"60s":     Fixed(time.Minute),
		"40s-90s": Range(40*time.Second, 90*time.Second),
		"40s~90s": LogNormal(40*time.Second, 90*time.Second),
	} {
		if got, err := ParseDist(text); err != nil || got.String() != want.String() {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "soon", "40s-", "40s-soon", "~90s"} {
		if got, err := ParseDist(text); err == nil || !got.isZero() {
			t.Errorf("%q: %v", text, got)
		}
	}
}
