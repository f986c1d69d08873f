// Package rooms measures how the files of a Go package lean on each other, so
// that a test can keep the library readable: how many files a reader must know
// together, how long functions are, and which exported names lack a comment.
//
// It reads source alone and needs neither the toolchain nor the packages that
// are imported: only names that the measured package itself declares count.
package rooms

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Package is a parsed and resolved package, test files left out.
type Package struct {
	fset  *token.FileSet
	files []*ast.File
	info  types.Info
	types *types.Package
}

// Load reads the Go files of a folder. Imports are not followed: what needs
// them stays unresolved, which is no error.
func Load(dir string) (*Package, error) {
	p := &Package{fset: token.NewFileSet()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, file)
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("%s: no Go files", dir)
	}
	p.info = types.Info{
		Defs:       map[*ast.Ident]types.Object{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	conf := types.Config{Importer: empty{}, Error: func(error) {}}
	p.types, _ = conf.Check(p.files[0].Name.Name, p.fset, p.files, &p.info)
	return p, nil
}

// Name is the package's name.
func (p *Package) Name() string { return p.files[0].Name.Name }

// Files returns how many files the package has.
func (p *Package) Files() int { return len(p.files) }

// file is the name of the file that a position is in.
func (p *Package) file(pos token.Pos) string {
	return filepath.Base(p.fset.Position(pos).Filename)
}

// empty imports every package as one without names.
type empty struct{}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

func (empty) Import(importPath string) (*types.Package, error) {
	name := path.Base(importPath)
	if majorVersion.MatchString(name) {
		name = path.Base(path.Dir(importPath))
	}
	p := types.NewPackage(importPath, strings.TrimPrefix(name, "go-"))
	p.MarkComplete()
	return p, nil
}

// Arrows maps each file to the files whose names it uses, and those to the
// names.
type Arrows map[string]map[string][]string

// Arrows returns which file uses which names of which other file.
func (p *Package) Arrows() Arrows {
	arrows := Arrows{}
	for id, obj := range p.info.Uses {
		if obj.Pkg() != p.types || !obj.Pos().IsValid() {
			continue
		}
		from, to := p.file(id.Pos()), p.file(obj.Pos())
		if from == to {
			continue
		}
		if arrows[from] == nil {
			arrows[from] = map[string][]string{}
		}
		if names := arrows[from][to]; !slices.Contains(names, obj.Name()) {
			arrows[from][to] = append(names, obj.Name())
		}
	}
	return arrows
}

// Pairs returns the pairs of files that use each other, as lines to read.
func (a Arrows) Pairs() []string {
	var pairs []string
	for from, uses := range a {
		for to, names := range uses {
			if back := a[to][from]; from < to && back != nil {
				pairs = append(pairs, fmt.Sprintf("%s <-> %s (%s | %s)", from, to, listed(names), listed(back)))
			}
		}
	}
	slices.Sort(pairs)
	return pairs
}

func listed(names []string) string {
	const most = 5
	slices.Sort(names)
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Circle returns the largest set of files each of which leads to every other:
// to know one of them a reader must know them all.
func (a Arrows) Circle() []string {
	var largest []string
	reached := map[string]map[string]bool{}
	for file := range a {
		reached[file] = a.reach(file)
	}
	for file, from := range reached {
		var circle []string
		for other := range from {
			if reached[other][file] {
				circle = append(circle, other)
			}
		}
		slices.Sort(circle)
		if len(circle) > len(largest) || len(circle) == len(largest) && slices.Compare(circle, largest) < 0 {
			largest = circle
		}
	}
	return largest
}

// reach is every file that the arrows lead to from one.
func (a Arrows) reach(file string) map[string]bool {
	seen, next := map[string]bool{}, []string{file}
	for len(next) > 0 {
		last := next[len(next)-1]
		next = next[:len(next)-1]
		for to := range a[last] {
			if !seen[to] {
				seen[to] = true
				next = append(next, to)
			}
		}
	}
	return seen
}

// Exported returns the exported names of the package's own scope: methods and
// fields are not among them.
func (p *Package) Exported() []string {
	return slices.DeleteFunc(p.types.Scope().Names(), func(name string) bool { return !token.IsExported(name) })
}

// SharedMethods returns the unexported method names that more than most types
// have, with how many.
func (p *Package) SharedMethods(most int) map[string]int {
	shared := map[string]int{}
	for _, name := range p.types.Scope().Names() {
		named, ok := p.types.Scope().Lookup(name).Type().(*types.Named)
		if _, isType := p.types.Scope().Lookup(name).(*types.TypeName); !ok || !isType {
			continue
		}
		for m := range named.Methods() {
			if !m.Exported() {
				shared[m.Name()]++
			}
		}
	}
	for name, n := range shared {
		if n <= most {
			delete(shared, name)
		}
	}
	return shared
}

// FuncLengths returns the length of every function and method in lines, from
// its func to its closing brace, shortest first.
func (p *Package) FuncLengths() []int {
	var lengths []int
	for _, file := range p.files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
				lengths = append(lengths, p.fset.Position(f.End()).Line-p.fset.Position(f.Pos()).Line+1)
			}
		}
	}
	slices.Sort(lengths)
	return lengths
}

// Percentile returns the value below or at which q of the sorted values lie.
func Percentile(sorted []int, q float64) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
