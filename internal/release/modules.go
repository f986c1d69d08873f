package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// goModule is one module of the repository.
type goModule struct {
	path  string
	dir   string // below the repository's root, with slashes; "." for the root module
	needs []string
}

// isPublic reports whether the module is meant for others. Those below internal
// and examples are not.
func (m goModule) isPublic() bool {
	first, _, _ := strings.Cut(m.dir, "/")
	return first != "internal" && first != "examples"
}

// tag is the name of the module's tag at a version, as the go command wants it.
func (m goModule) tag(version string) string { return path.Join(m.dir, version) }

// isCommand reports whether the module is one program.
func (m goModule) isCommand() bool { return strings.HasPrefix(m.dir, "cmd/") }

// findModules returns every module below root, each after those it needs.
func findModules(root string) ([]goModule, error) {
	var found []goModule
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || name != root && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.Name() != "go.mod":
			return nil
		}
		m, err := readModule(root, filepath.Dir(name))
		found = append(found, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return inOrder(found)
}

func readModule(root, dir string) (goModule, error) {
	file, err := readMod(dir)
	if err != nil {
		return goModule{}, err
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return goModule{}, err
	}
	m := goModule{path: file.Module.Mod.Path, dir: filepath.ToSlash(rel)}
	for _, r := range file.Require {
		m.needs = append(m.needs, r.Mod.Path)
	}
	return m, nil
}

func readMod(dir string) (*modfile.File, error) {
	name := filepath.Join(dir, "go.mod")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, text, nil)
}

// inOrder sorts modules so that each comes after those it needs.
func inOrder(modules []goModule) ([]goModule, error) {
	slices.SortFunc(modules, func(a, b goModule) int { return strings.Compare(a.dir, b.dir) })
	var sorted []goModule
	done := map[string]bool{}
	for len(sorted) < len(modules) {
		before := len(sorted)
		for _, m := range modules {
			waits := func(need string) bool {
				return !done[need] && slices.ContainsFunc(modules, func(o goModule) bool { return o.path == need })
			}
			if !done[m.path] && !slices.ContainsFunc(m.needs, waits) {
				sorted, done[m.path] = append(sorted, m), true
			}
		}
		if len(sorted) == before {
			return nil, fmt.Errorf("modules need each other in a circle; in order so far: %d of %d", before, len(modules))
		}
	}
	return sorted, nil
}

// public returns the modules that are meant for others.
func public(modules []goModule) []goModule {
	var list []goModule
	for _, m := range modules {
		if m.isPublic() {
			list = append(list, m)
		}
	}
	return list
}
