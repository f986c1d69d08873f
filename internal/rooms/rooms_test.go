package rooms

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// figures are what a package may have at most. Lower one when the package has
// become better; raise none without a reason that the commit gives.
type figures struct {
	files, exported, pairs, circle int
	shared                         int // unexported method names on more than 4 types
	median, p90                    int // of function lengths, in lines
	bare                           int // exported names without a comment
	doors                          int // places that go past client.go; -1: the package has no doors
}

// TestFiguresGetNoWorse is a ratchet.
func TestFiguresGetNoWorse(t *testing.T) {
	for folder, most := range map[string]figures{
		".":          {files: 86, exported: 141, median: 8, p90: 21},
		"runpodtest": {files: 52, exported: 74, pairs: 7, circle: 3, median: 8, p90: 20, bare: 0, doors: -1},
		"queue":      {files: 26, exported: 36, median: 8, p90: 20, bare: 0, doors: -1},
	} {
		t.Run(folder, func(t *testing.T) {
			p := load(t, filepath.Join(root, folder))
			var doors []string
			if most.doors >= 0 {
				doors = p.Doors("Client", "client.go")
			}
			arrows, shared, lengths, bare := p.Arrows(), p.SharedMethods(4), p.FuncLengths(), p.Undocumented()
			check(t, "files", p.Files(), most.files, nil)
			check(t, "exported names", len(p.Exported()), most.exported, nil)
			check(t, "pairs of files that use each other", len(arrows.Pairs()), most.pairs, arrows.Pairs())
			check(t, "files in the largest circle", len(arrows.Circle()), most.circle, arrows.Circle())
			check(t, "method names on more than 4 types", len(shared), most.shared, shared)
			check(t, "median lines of a function", Percentile(lengths, 0.5), most.median, nil)
			check(t, "90th percentile of a function's lines", Percentile(lengths, 0.9), most.p90, nil)
			check(t, "exported names without a comment", len(bare), most.bare, bare)
			check(t, "places that go past client.go", len(doors), most.doors, doors)
		})
	}
}

func check(t *testing.T, what string, got, most int, which any) {
	t.Helper()
	switch {
	case most < 0:
	case got > most:
		t.Errorf("%s: %d, more than the %d there were: %v", what, got, most, which)
	default:
		t.Logf("%s: %d (at most %d)", what, got, most)
	}
}

// TestNamesAreDocumented holds for every package that other people or other
// packages import: each exported type, function, method, constant and variable
// has a comment.
func TestNamesAreDocumented(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if sources, _ := filepath.Glob(filepath.Join(path, "*.go")); len(sources) == 0 {
			return nil
		}
		p, err := Load(path)
		if err != nil { // tests alone
			return nil
		}
		for _, name := range p.Undocumented() {
			if !strings.Contains(name, ".") {
				t.Errorf("%s: %s has no comment", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string) *Package {
	t.Helper()
	p, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// written makes a package of the given files.
func written(t *testing.T, files map[string]string) *Package {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("package p\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return load(t, dir)
}

func TestArrowsPairsAndCircle(t *testing.T) {
	p := written(t, map[string]string{
		"a.go":      "type A struct{ b B }\nfunc (a A) one() { a.b.two() }\n",
		"b.go":      "type B struct{ c *C }\nfunc (B) two() {}\n",
		"c.go":      "import \"net/http\"\ntype C struct{ http.Client }\nfunc (C) three(A) {}\n",
		"d.go":      "func d(x A) { x.one() }\n",
		"e.go":      "func e() { f() }\n",
		"f.go":      "func f() { e() }\n",
		"f_test.go": "func g(A) { d(A{}) }\n",
	})
	arrows := p.Arrows()
	if got, want := arrows.Circle(), []string{"a.go", "b.go", "c.go"}; !slices.Equal(got, want) {
		t.Errorf("circle %v, want %v", got, want)
	}
	if got, want := arrows.Pairs(), []string{"e.go <-> f.go (f | e)"}; !slices.Equal(got, want) {
		t.Errorf("pairs %v, want %v", got, want)
	}
	if got := p.Exported(); !slices.Equal(got, []string{"A", "B", "C"}) {
		t.Errorf("exported %v", got)
	}
}

func TestSharedMethodsAndLengths(t *testing.T) {
	p := written(t, map[string]string{"a.go": "type A int\ntype B[T any] int\ntype C int\n" +
		"func (A) take() {}\nfunc (*B[T]) take() {}\nfunc (C) take() {\n}\nfunc (C) Take() {\n\n}\n"})
	if got := p.SharedMethods(2); len(got) != 1 || got["take"] != 3 {
		t.Errorf("shared %v", got)
	}
	if got := p.SharedMethods(3); len(got) != 0 {
		t.Errorf("shared by more than 3: %v", got)
	}
	lengths := p.FuncLengths()
	if !slices.Equal(lengths, []int{1, 1, 2, 3}) || Percentile(lengths, 0.5) != 2 || Percentile(lengths, 0.9) != 3 {
		t.Errorf("lengths %v", lengths)
	}
}

func TestUndocumented(t *testing.T) {
	p := written(t, map[string]string{"a.go": `
// A has a comment.
type A struct {
	// One and the next are covered.
	One int
	Two int

	Three int
	four  int
}

type B interface {
	M()
	N() // says so
}

func (B2[T]) Hidden() {}

// B2 is generic.
type B2[T any] struct{}

type c struct{ Field int }

func (c) Fine() {}

// A group.
const (
	X = 1
	Y = 2
)

var Z, z = 1, 2
`})
	want := []string{"A.Three", "B", "B.M", "B2.Hidden", "Z"}
	if got := p.Undocumented(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDoors(t *testing.T) {
	p := written(t, map[string]string{
		"client.go": "type Client struct{ r room }\nfunc (c *Client) Run() { c.r.run() }\nfunc (c *Client) All() { c.Run() }\nfunc (c *Client) run() {}\nfunc New() *Client { return &Client{} }\n",
		"room.go":   "type room struct{}\nfunc (room) run() { New().All() }\nfunc (room) old(c *Client) { c.run() }\n",
	})
	broken := p.Doors("Client", "client.go")
	for i, want := range []string{"All calls Client.Run", "run calls Client.All", "names Client"} {
		if len(broken) != 3 || !strings.Contains(strings.Join(broken, "\n"), want) {
			t.Errorf("%d: no %q in %q", i, want, broken)
		}
	}
	if got := p.Doors("Server", "client.go"); len(got) != 1 {
		t.Errorf("a type that is not there: %q", got)
	}
}
