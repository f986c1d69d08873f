package tryon

import (
	"bytes"
	"image/jpeg"
	"testing"

	"github.com/gpuburst/runpod-go/internal/burst"
)

func TestShippedPhotosAreJPEGsUnderAMegabyte(t *testing.T) {
	a, err := openAlbum()
	if err != nil {
		t.Fatal(err)
	}
	if len(a.persons) < 2 || len(a.garments) < 2 {
		t.Errorf("%d persons, %d garments; want 2 of each at least", len(a.persons), len(a.garments))
	}
	total := 0
	for _, p := range append(a.persons, a.garments...) {
		total += len(p.Data)
		if _, err := jpeg.Decode(bytes.NewReader(p.Data)); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	if total == 0 || total > 1<<20 {
		t.Errorf("%d bytes in all", total)
	}
}

func TestPickMeetsEveryPairFirst(t *testing.T) {
	for _, size := range [][2]int{{2, 3}, {2, 2}, {3, 3}, {1, 4}, {4, 1}} {
		a := album{persons: named("p", size[0]), garments: named("g", size[1])}
		pairs := map[string]bool{}
		for i := range size[0] * size[1] {
			p, g := a.pick(i)
			pairs[p.Name+g.Name] = true
		}
		if len(pairs) != size[0]*size[1] {
			t.Errorf("%d x %d: only %d pairs in as many jobs", size[0], size[1], len(pairs))
		}
	}
}

func named(prefix string, n int) []burst.File {
	photos := make([]burst.File, n)
	for i := range photos {
		photos[i].Name = prefix + string(rune('0'+i))
	}
	return photos
}
