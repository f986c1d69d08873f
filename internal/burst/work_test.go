package burst

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A line of a manifest with two jobs is refused: none is lost.
func TestManifestLineWithTwoJobs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "jobs.jsonl")
	if err := os.WriteFile(name, []byte(`{"path":"/a"}`+"\n"+`{"path":"/b"} {"path":"/c"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Manifest(name); err == nil || !strings.Contains(err.Error(), "line 2: more than one") {
		t.Errorf("got %+v, %v", p, err)
	}
}

// FuzzManifestLine: whatever a line of a manifest says, it is one job with a path
// and an id, or an error.
func FuzzManifestLine(f *testing.F) {
	for _, text := range []string{
		`{"id":"a","files":["work_test.go"],"path":"/x","body":{"a":["{{0}}",1,null]},"output":"a.b","save_to":"out.png","idempotent":true}`,
		`{"path":"/x"} {"path":"/y"}`, `{"files":["/nowhere"],"path":"/x"}`, `{"unknown":1,"path":"/x"}`, `{}`, `null`, `[`, "",
	} {
		f.Add(text, `{"a":{"b":"c"}}`)
	}
	f.Fuzz(func(t *testing.T, text, answer string) {
		w, err := parseEntry([]byte(text), ".", 4)
		if err != nil {
			return
		}
		if w.Path == "" || w.ID == "" || w.Index != 4 {
			t.Errorf("%q: %+v", text, w)
		}
		for _, f := range w.Files {
			if !filepath.IsAbs(f.Path) && filepath.Clean(f.Path) != f.Path {
				t.Errorf("%q: the file %q", text, f.Path)
			}
		}
		fill(w.Body, []string{"/runpod-volume/a"})
		if out, err := w.output([]byte(answer)); err == nil && !strings.Contains(answer, `"`) {
			t.Errorf("%q of %q is %q", w.Output, answer, out)
		}
	})
}
