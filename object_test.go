package runpod

import (
	"errors"
	"path"
	"strings"
	"testing"
	"unicode"
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

// FuzzKeyFromWorkerPath: whatever path a worker writes, its key is that of a file
// within the volume, and an error shows it on one line.
func FuzzKeyFromWorkerPath(f *testing.F) {
	for _, seed := range []string{"/runpod-volume/results/a.png", "a b#=+%ü😀.png", "/runpod-volume/../etc/passwd", "a//b", "a\x00b", "a\n\x1b[2J\u202eb", "..", strings.Repeat("n", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		key, err := KeyFromWorkerPath(p)
		if err != nil {
			if !errors.Is(err, ErrBadRequest) || strings.ContainsFunc(err.Error(), func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("%q: %q", p, err)
			}
			return
		}
		if path.Clean("/"+key) != "/"+key || len(key) > 1024 || strings.ContainsRune(key, 0) || !strings.HasSuffix(p, key) {
			t.Errorf("%q: got %q", p, key)
		}
		if again, err := KeyFromWorkerPath(Object{Key: key}.WorkerPath()); err != nil || again != key {
			t.Errorf("%q: its own worker path is %q, %v", p, again, err)
		}
	})
}
