package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

const licencesFile = "docs/licences.md"

// compareLicences holds docs/licences.md against what the public modules link,
// or writes it. A module without a licence that is known is an error.
func compareLicences(ctx context.Context, root string, modules []goModule, write bool, out io.Writer) error {
	table, err := licenceTable(ctx, root, public(modules))
	if err != nil {
		return err
	}
	name := filepath.Join(root, filepath.FromSlash(licencesFile))
	if write {
		if err := os.WriteFile(name, []byte(table), 0o644); err != nil {
			return err
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if string(have) != table {
		return fmt.Errorf("%s is not what is linked; run `go run ./internal/release -licences -write`:\n%s", licencesFile,
			strings.Join(changed(lines(string(have)), lines(table)), "\n"))
	}
	fmt.Fprintf(out, "%s: as linked\n", licencesFile)
	return nil
}

// linked is a module that one of ours links.
type linked struct {
	path, version, dir string
	by                 []string
}

func licenceTable(ctx context.Context, root string, modules []goModule) (string, error) {
	all, err := linkedModules(ctx, root, modules)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString("# Licences of what is linked\n\nMade by `go run ./internal/release -licences -write` from the files of the modules themselves; CI compares.\n" +
		"What tests and benchmarks alone need is not listed.\n\n| module | version | licence | linked by |\n|---|---|---|---|\n")
	var failed []error
	for _, l := range all {
		licence, err := licenceOf(l.dir)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", l.path, err))
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", l.path, l.version, licence, strings.Join(l.by, ", "))
	}
	return text.String(), errors.Join(failed...)
}

// linkedModules are the modules whose packages are in ours, sorted, each with
// the modules of the repository that link it.
func linkedModules(ctx context.Context, root string, modules []goModule) ([]linked, error) {
	byPath := map[string]*linked{}
	for _, m := range modules {
		text, err := output(ctx, filepath.Join(root, m.dir), []string{"GOWORK=off"}, "go", "list", "-deps", "-f",
			"{{with .Module}}{{.Path}} {{.Version}} {{.Dir}}{{end}}", "./...")
		if err != nil {
			return nil, err
		}
		for _, line := range lines(text) {
			fields := strings.SplitN(line, " ", 3)
			if len(fields) < 3 || fields[0] == modules[0].path || strings.HasPrefix(fields[0], modules[0].path+"/") {
				continue
			}
			l := byPath[fields[0]+fields[1]]
			if l == nil {
				l = &linked{path: fields[0], version: fields[1], dir: fields[2]}
				byPath[fields[0]+fields[1]] = l
			}
			if name := moduleName(m); !slices.Contains(l.by, name) {
				l.by = append(l.by, name)
			}
		}
	}
	var list []linked
	for _, l := range byPath {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b linked) int { return strings.Compare(a.path+a.version, b.path+b.version) })
	return list, nil
}

func moduleName(m goModule) string {
	if m.dir == "." {
		return "root"
	}
	return m.dir
}

// licenceOf names the licences in a module's folder by their SPDX names.
func licenceOf(dir string) (string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		upper := strings.ToUpper(d.Name())
		isLicence := strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING")
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && !isLicence:
			return filepath.SkipDir // of a part of it, which may not be linked
		case d.IsDir(), !isLicence && filepath.Dir(file) == dir:
			return nil
		}
		text, err := os.ReadFile(file)
		for _, match := range licensecheck.Scan(text).Match {
			if !slices.Contains(names, match.ID) {
				names = append(names, match.ID)
			}
		}
		return err
	})
	if err == nil && len(names) == 0 {
		err = errors.New("it has no licence file that is known")
	}
	slices.Sort(names)
	return strings.Join(names, ", "), err
}
