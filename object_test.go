package runpod

import (
	"errors"
	"strings"
	"testing"
)

func TestKeyFromWorkerPath(t *testing.T) {
	for in, want := range map[string]string{
		"/runpod-volume/results/a.png": "results/a.png",
		"results/a.png":                "results/a.png",
		"a b#=+%ü😀.png":                "a b#=+%ü😀.png",
		"..a/b..":                      "..a/b..",
		strings.Repeat("n", 255):       strings.Repeat("n", 255),
		"runpod-volume/x":              "runpod-volume/x",
		"/runpod-volume/runpod-volume": "runpod-volume",
	} {
		if got, err := KeyFromWorkerPath(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "/", "/runpod-volume/", "/runpod-volume", "/workspace/a.png", "/etc/passwd",
		"../a", "a/../b", "/runpod-volume/../etc/passwd", "a/./b", "a//b", "a/", "//a",
		"a\x00b", "a\xffb", strings.Repeat("n", 256), "x/" + strings.Repeat("ü", 128), strings.Repeat("a/", 512) + "b",
	} {
		got, err := KeyFromWorkerPath(in)
		if !errors.Is(err, ErrBadRequest) {
			t.Errorf("%q: got %q, %v; want it refused", in, got, err)
		}
	}
}

func TestUniqueKeys(t *testing.T) {
	in := File("/some/where/person.jpg")
	a, b := uniqueKey(in), uniqueKey(in)
	if a == b || !madeUpKey.MatchString(a) || !strings.HasSuffix(a, "-person.jpg") || checkKey(a) != nil {
		t.Errorf("got %q and %q", a, b)
	}
	if got := (Object{Key: a}).WorkerPath(); got != "/runpod-volume/"+a {
		t.Errorf("worker path %q", got)
	}
}
