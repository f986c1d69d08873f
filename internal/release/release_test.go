package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeTree writes files below a new folder and returns it.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var threeModules = map[string]string{
	"go.mod": "module example.com/lib\n\ngo 1.26.0\n",
	"cmd/tool/go.mod": "module example.com/lib/cmd/tool\n\ngo 1.26.0\n\nrequire (\n\texample.com/lib v0.0.0\n\texample.com/lib/socket v0.0.0\n\texample.com/other v1.2.3\n)\n\n" +
		"replace example.com/lib => ../..\n\nreplace example.com/lib/socket => ../../socket\n\nreplace example.com/other => example.com/fork v1.0.0\n",
	"socket/go.mod":               "module example.com/lib/socket\n\ngo 1.26.0\n\nrequire example.com/lib v0.0.0\n\nreplace example.com/lib => ..\n",
	"internal/bench/go.mod":       "module example.com/lib/internal/bench\n\ngo 1.26.0\n",
	"socket/testdata/bad/go.mod":  "this is no go.mod",
	"examples/one/go.mod":         "module example.com/lib/examples/one\n\ngo 1.26.0\n",
	".hidden/go.mod":              "this is no go.mod",
	"node_modules/package/go.mod": "this is no go.mod",
}

func TestModulesComeAfterThoseTheyNeed(t *testing.T) {
	modules, err := findModules(writeTree(t, threeModules))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, m := range public(modules) {
		dirs = append(dirs, m.dir)
	}
	if want := []string{".", "socket", "cmd/tool"}; !slices.Equal(dirs, want) {
		t.Errorf("public modules in order: %q, want %q", dirs, want)
	}
	if len(modules) != 5 {
		t.Errorf("%d modules, want 5: testdata, node_modules and hidden folders are not looked at", len(modules))
	}
}

func TestModulesInACircleAreAnError(t *testing.T) {
	_, err := inOrder([]goModule{{path: "a", needs: []string{"b"}}, {path: "b", needs: []string{"a"}}})
	if err == nil {
		t.Error("no error")
	}
}

func TestRequirementsLoseOurReplaceAndNobodyElses(t *testing.T) {
	root := writeTree(t, threeModules)
	modules, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "cmd", "tool")
	if err := writeRequirements(dir, modules, "v1.4.0"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"example.com/lib v1.4.0", "example.com/lib/socket v1.4.0", "example.com/other v1.2.3", "replace example.com/other => example.com/fork v1.0.0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("go.mod lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "=> ../..") {
		t.Errorf("a replace of ours is left:\n%s", text)
	}
}

func TestTagOfANestedModule(t *testing.T) {
	if tag := (goModule{dir: "."}).tag("v1.0.0"); tag != "v1.0.0" {
		t.Error(tag)
	}
	if tag := (goModule{dir: "cmd/tool"}).tag("v1.0.0"); tag != "cmd/tool/v1.0.0" {
		t.Error(tag)
	}
}

func TestNameThatALineOfTheListingIsAbout(t *testing.T) {
	for line, want := range map[string]string{
		"pkg example.com/lib, func New(opts ...Option) (*Client, error)": "New",
		"pkg example.com/lib, method Client.Close() error":               "Client",
		"pkg example.com/lib, field Job.ID string":                       "Job",
		"pkg example.com/lib, type Handle[Out any] struct":               "Handle",
		"pkg example.com/lib, const VerdictGiveUp Verdict = 5":           "VerdictGiveUp",
		"pkg example.com/lib, var ErrClosed error":                       "ErrClosed",
	} {
		if got := apiItem(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestUnreleasedSectionEndsAtTheNext(t *testing.T) {
	text := "# Changelog\n\n## [Unreleased]\n\n- New\n\n## [0.1.0]\n\n- Old\n"
	if got := unreleased(text); !strings.Contains(got, "New") || strings.Contains(got, "Old") {
		t.Errorf("%q", got)
	}
}

func TestListingOfAnAPI(t *testing.T) {
	root := writeTree(t, map[string]string{
		"go.mod": "module example.com/lib\n\ngo 1.26.0\n",
		"lib.go": "// Package lib is a test's.\npackage lib\n\ntype T struct{ A int; b int }\nfunc (*T) M(s string) error { return nil }\n" +
			"type I interface{ Do() }\ntype G[X any] struct{ V X }\nconst C = 3\nfunc F() {}\nfunc f() {}\n",
		"internal/in/in.go": "package in\n\nfunc Hidden() {}\n",
	})
	got, err := listAPI(t.Context(), root, goModule{path: "example.com/lib", dir: "."})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"pkg example.com/lib, const C untyped int = 3",
		"pkg example.com/lib, field G.V X",
		"pkg example.com/lib, field T.A int",
		"pkg example.com/lib, func F()",
		"pkg example.com/lib, method I.Do()",
		"pkg example.com/lib, method T.M(s string) error",
		"pkg example.com/lib, type G[X any] struct",
		"pkg example.com/lib, type I interface",
		"pkg example.com/lib, type T struct",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLicenceIsNamed(t *testing.T) {
	if _, err := licenceOf(writeTree(t, map[string]string{"main.go": "package main"})); err == nil {
		t.Error("a folder without a licence is no error")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := licenceOf(root); err != nil || name != "MIT" {
		t.Errorf("the repository's own licence is %q, %v", name, err)
	}
}

func TestWrongCallsAreToldFromFailures(t *testing.T) {
	for _, args := range [][]string{nil, {"latest"}, {"1.2.3"}, {"v1"}, {"-rehearse", "v1.0.0"}, {"-no-such-flag"}} {
		err := run(t.Context(), args, &strings.Builder{}, &strings.Builder{})
		if _, ok := err.(usageError); !ok {
			t.Errorf("%q: %v, want a usage error", args, err)
		}
	}
}
