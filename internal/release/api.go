package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// apiDir is where the listings of the exported API stand, one file a module.
const apiDir = "docs/api"

// compareAPI holds the exported API of each public module against its listing,
// or writes the listings. What has changed since the newest tag must be named
// in the CHANGELOG.
func compareAPI(ctx context.Context, root string, modules []goModule, write bool, out io.Writer) error {
	var failed []error
	for _, m := range public(modules) {
		if m.isCommand() {
			continue
		}
		listing, err := listAPI(ctx, root, m)
		if err != nil {
			return err
		}
		name := path.Join(apiDir, apiName(m))
		file := filepath.Join(root, filepath.FromSlash(name))
		if write {
			if err := writeListing(file, listing); err != nil {
				return err
			}
		}
		have, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if diff := changed(lines(string(have)), listing); len(diff) > 0 {
			failed = append(failed, fmt.Errorf("%s is not the API of %s; run `go run ./internal/release -api -write` and look at the diff:\n%s",
				name, m.path, strings.Join(diff[:min(20, len(diff))], "\n")))
		}
		if err := inChangelog(ctx, root, name, listing); err != nil {
			failed = append(failed, err)
		}
		fmt.Fprintf(out, "%s: %d lines of exported API\n", name, len(listing))
	}
	return errors.Join(failed...)
}

func apiName(m goModule) string {
	if m.dir == "." {
		return path.Base(m.path) + ".txt"
	}
	return strings.ReplaceAll(m.dir, "/", "-") + ".txt"
}

func writeListing(file string, listing []string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.Join(listing, "\n")+"\n"), 0o644)
}

// changed lists the lines that only one of two listings has.
func changed(old, now []string) []string {
	var diff []string
	for _, l := range old {
		if !slices.Contains(now, l) {
			diff = append(diff, "- "+l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			diff = append(diff, "+ "+l)
		}
	}
	return diff
}

// inChangelog asks for a word in the CHANGELOG's Unreleased section about each
// name whose line is not the one of the newest tag. Before the first tag all
// is new, and nothing is asked.
func inChangelog(ctx context.Context, root, name string, listing []string) error {
	tag, err := newestTag(ctx, root)
	if err != nil || tag == "" {
		return err
	}
	old, err := output(ctx, root, nil, "git", "show", tag+":"+name)
	if err != nil {
		return nil // the tag is older than the listing
	}
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	var missing []string
	for _, line := range changed(lines(old), listing) {
		if item := apiItem(line[2:]); !strings.Contains(unreleased(string(text)), item) {
			missing = append(missing, item)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("CHANGELOG.md, Unreleased, says nothing of: %s", strings.Join(slices.Compact(missing), ", "))
	}
	return nil
}

// unreleased is the text of a CHANGELOG's section of that name.
func unreleased(changelog string) string {
	_, after, _ := strings.Cut(changelog, "## [Unreleased]")
	section, _, _ := strings.Cut(after, "\n## ")
	return section
}

// apiItem is the top-level name that a listing's line is about.
func apiItem(line string) string {
	_, item, _ := strings.Cut(line, ", ")
	fields := strings.FieldsFunc(item, func(r rune) bool { return strings.ContainsRune(" .()*[", r) })
	if len(fields) < 2 {
		return item
	}
	return fields[1]
}

// listAPI lists the exported API of a module's importable packages: one line
// for each name, field and method, sorted.
func listAPI(ctx context.Context, root string, m goModule) ([]string, error) {
	loaded, err := packages.Load(&packages.Config{
		Context: ctx, Dir: filepath.Join(root, m.dir), Env: append(os.Environ(), "GOWORK=off"),
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps | packages.NeedTypesInfo | packages.NeedSyntax | packages.NeedFiles,
	}, "./...")
	if err != nil {
		return nil, err
	}
	var listing []string
	for _, pkg := range loaded {
		if len(pkg.Errors) > 0 {
			return nil, fmt.Errorf("%s: %v", pkg.PkgPath, pkg.Errors[0])
		}
		if pkg.Name == "main" || strings.Contains(pkg.PkgPath+"/", "/internal/") || strings.Contains(pkg.PkgPath, "/examples/") {
			continue
		}
		listing = append(listing, listPackage(pkg.Types)...)
	}
	slices.Sort(listing)
	return slices.Compact(listing), nil
}

func listPackage(pkg *types.Package) []string {
	qualifier := func(other *types.Package) string {
		if other == pkg {
			return ""
		}
		return other.Name()
	}
	head := "pkg " + pkg.Path() + ", "
	var list []string
	for _, name := range pkg.Scope().Names() {
		if !ast.IsExported(name) {
			continue
		}
		obj := pkg.Scope().Lookup(name)
		list = append(list, head+shape(obj, qualifier))
		if t, ok := obj.(*types.TypeName); ok && !t.IsAlias() {
			for _, part := range parts(t, qualifier) {
				list = append(list, head+part)
			}
		}
	}
	return list
}

// shape is an object in one line. A struct's or interface's members have lines
// of their own.
func shape(obj types.Object, q types.Qualifier) string {
	switch o := obj.(type) {
	case *types.TypeName:
		kind := ""
		switch o.Type().Underlying().(type) {
		case *types.Struct:
			kind = "struct"
		case *types.Interface:
			kind = "interface"
		}
		if kind != "" && !o.IsAlias() {
			return "type " + types.TypeString(o.Type(), q) + " " + kind
		}
	case *types.Const:
		return types.ObjectString(o, q) + " = " + o.Val().ExactString()
	}
	return types.ObjectString(obj, q)
}

// parts are the exported fields and methods of a type.
func parts(t *types.TypeName, q types.Qualifier) []string {
	var list []string
	if s, ok := t.Type().Underlying().(*types.Struct); ok {
		for f := range s.Fields() {
			if f.Exported() {
				list = append(list, fmt.Sprintf("field %s.%s %s", t.Name(), f.Name(), types.TypeString(f.Type(), q)))
			}
		}
	}
	if i, ok := t.Type().Underlying().(*types.Interface); ok {
		for f := range i.Methods() {
			list = append(list, fmt.Sprintf("method %s.%s%s", t.Name(), f.Name(), strings.TrimPrefix(types.TypeString(f.Type(), q), "func")))
		}
		return list
	}
	set := types.NewMethodSet(types.NewPointer(t.Type()))
	for m := range set.Methods() {
		if m.Obj().Exported() {
			list = append(list, fmt.Sprintf("method %s.%s%s", t.Name(), m.Obj().Name(), strings.TrimPrefix(types.TypeString(m.Type(), q), "func")))
		}
	}
	return list
}
