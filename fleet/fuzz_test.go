package fleet

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever stands in the queue, a machine makes of it a job that passes the
// check, or a failure under the subject's id.
func FuzzReadJob(f *testing.F) {
	for _, text := range []string{`{"id":"a","path":"/do","run":1}`, `{"id":"a","path":"//x","run":1}`, `{"id":"a","path":"/do","run":1,"keys":["../x"],"body":{"x":["{{0}}"]}}`, `{`} {
		f.Add("a", text)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		j, err := readJob(key, []byte(text))
		if err != nil {
			return
		}
		if j.check() != nil || token(j.ID) != key || j.Run < 1 || len(j.Files) > 0 {
			t.Errorf("%q %q: %+v", key, text, j)
		}
		if _, err := json.Marshal(j.body()); err != nil {
			t.Errorf("%q: its body: %v", text, err)
		}
	})
}

// Whatever a result says, no file or object outside comes of it.
func FuzzReadResult(f *testing.F) {
	for _, text := range []string{`{"run":1,"answer":{"a":1},"save_to":"a/b"}`, `{"run":1,"save_to":"../x","output_key":"/etc/x"}`, `{"failed":"x","kind":"no workers"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, _ := readResult(entry{key: "a", data: []byte(text), seq: 1})
		if r.ID != "a" || r.SaveTo != "" && !filepath.IsLocal(r.SaveTo) || strings.Contains(r.OutputKey, "..") && checkKey(r.OutputKey) != nil {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

// Whatever stands in a file of jobs, each is one that passes the check, and what
// is wrong is the last round and names its line.
func FuzzReadSpecs(f *testing.F) {
	for _, text := range []string{
		`{"path":"/do","files":["a.png"],"body":{"x":"{{0}}"},"save_to":"out/1.png"}` + "\n\n" + `{"path":"/do"}`,
		`{"path":"//evil.example/do"}`, `{"path":"/do","save_to":"../x"}`, `{"path":"/do"} {"path":"/do"}`, `{"path":"/do","keys":["../x"]}`, `{"pat":1}`, "\xff", `[`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		failed := false
		for s, err := range ReadSpecs(strings.NewReader(text), "dir") {
			if failed {
				t.Fatalf("%q: goes on after an error", text)
			}
			if failed = err != nil; failed {
				if !strings.HasPrefix(err.Error(), "line ") {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if s.check() != nil || !strings.HasPrefix(s.Path, "/") || strings.HasPrefix(s.Path, "//") || s.SaveTo != "" && !filepath.IsLocal(s.SaveTo) {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}
