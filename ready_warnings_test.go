package runpod

import (
	"net/url"
	"strings"
	"testing"
)

func TestWarningsAboutWorkers(t *testing.T) {
	for _, tt := range []struct {
		workers map[WorkerStatus]int
		says    string
	}{
		{nil, ""},
		{map[WorkerStatus]int{}, ""},
		{map[WorkerStatus]int{WorkerThrottled: 3}, "all workers (3) are throttled"},
		{map[WorkerStatus]int{WorkerUnhealthy: 2}, "all workers (2) are unhealthy"},
		{map[WorkerStatus]int{WorkerThrottled: 1, WorkerUnhealthy: 2}, "throttled (1) or unhealthy (2)"},
		{map[WorkerStatus]int{WorkerThrottled: 3, WorkerInitializing: 1}, ""},
		{map[WorkerStatus]int{WorkerThrottled: 3, WorkerIdle: 1}, ""},
		{map[WorkerStatus]int{WorkerUnhealthy: 3, "NEW": 1}, ""},
	} {
		got := noneWorks(Readiness{Workers: tt.workers})
		if (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%v: %q, want %q", tt.workers, got, tt.says)
		}
	}
}

// A store that is no network volume has no data center, and no warnings about it.
func TestVolumeIsToldByItsRegion(t *testing.T) {
	for region, want := range map[string]string{"EU-RO-1": "EU-RO-1", "eu-ro-1": "EU-RO-1", "EUR-IS-1": "EUR-IS-1", "us-east-1": "", "auto": "", "garage": ""} {
		p := placeOf(s3Config{url: &url.URL{}, region: region, bucket: "vol"})
		if p.dataCenter != want || (p.id == "") != (want == "") {
			t.Errorf("%s: %+v", region, p)
		}
	}
	none := Readiness{Scaling: Scaling{MaxWorkers: 3, DataCenters: []string{"US-KS-2"}, NetworkVolumes: []string{}}}
	if w := (volumePlace{}).warnings(none); len(w) != 0 {
		t.Errorf("warned: %q", w)
	}
	unknown := Readiness{Scaling: Scaling{MaxWorkers: 3}}
	if w := (volumePlace{"vol", "EU-RO-1"}).warnings(unknown); len(w) != 0 {
		t.Errorf("warned of what is not known: %q", w)
	}
}

// What the control plane names is capped and quoted.
func TestWarningsQuoteNames(t *testing.T) {
	r := Readiness{Scaling: Scaling{MaxWorkers: 3, DataCenters: []string{"\x1b[2J", strings.Repeat("x", 1000), "c", "d", "e", "f", "g"}}}
	w := volumePlace{"vol", "EU-RO-1"}.elsewhere(r)
	if strings.Contains(w, "\x1b") || len(w) > 500 || !strings.Contains(w, "and 2 more") {
		t.Errorf("%d bytes: %q", len(w), w)
	}
}
