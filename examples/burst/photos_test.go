package main

import (
	"bytes"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gpuburst/runpod-go/internal/burst"
)

func TestShippedPhotosAreJPEGsUnderAMegabyte(t *testing.T) {
	a, err := openAlbum("")
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

func TestOwnPhotos(t *testing.T) {
	a, err := openAlbum("")
	if err != nil {
		t.Fatal(err)
	}
	sample := a.persons[0].Data
	flat, parted := t.TempDir(), t.TempDir()
	write(t, sample, flat, "b.JPEG", "a.jpg", "readme.txt")
	write(t, sample, filepath.Join(parted, "person"), "p.jpg")
	write(t, sample, filepath.Join(parted, "garment"), "g1.jpg", "g2.jpg")

	got, err := openAlbum(flat)
	if err != nil {
		t.Fatal(err)
	}
	if p, g := got.pick(0); p.Name != "a.jpg" || g.Name != "b.JPEG" {
		t.Errorf("side by side: %s with %s, want a.jpg with b.JPEG", p.Name, g.Name)
	}
	got, err = openAlbum(parted)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.persons) != 1 || len(got.garments) != 2 {
		t.Errorf("%d persons, %d garments; want 1 and 2", len(got.persons), len(got.garments))
	}
	f, err := got.persons[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, sample) {
		t.Errorf("%d bytes (%v), want the file's %d", len(b), err, len(sample))
	}
}

func write(t *testing.T, data []byte, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
