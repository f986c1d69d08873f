package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the rehearsal's table.
type row struct {
	what, step string
	took       time.Duration
	err        error
}

// rehearsal packs every public module at the next version into a file-based
// proxy and does with each what a stranger would: get it, build a program on
// it, install its commands and use them. It prints a table, and returns an
// error if anything failed.
func rehearsal(ctx context.Context, root string, modules []goModule, out io.Writer) error {
	version, err := nextVersion(ctx, root)
	if err != nil {
		return err
	}
	if status, err := output(ctx, root, nil, "git", "status", "--porcelain"); err == nil && status != "" {
		fmt.Fprintf(out, "uncommitted changes are left out: the last commit is rehearsed\n")
	}
	temp, err := os.MkdirTemp("", "rehearsal-")
	if err != nil {
		return err
	}
	defer removeAll(temp)
	start := time.Now()
	p, err := pack(ctx, root, temp, modules, version)
	if err != nil {
		return fmt.Errorf("packing at %s: %w", version, err)
	}
	if err := p.writeBlocks(ctx, temp); err != nil {
		return err
	}
	rows := []row{{what: fmt.Sprintf("%d modules", len(public(modules))), step: "packed at " + version, took: time.Since(start)}}
	for _, s := range p.steps(ctx, temp, public(modules)) {
		start := time.Now()
		fmt.Fprintf(out, "%s: %s\n", s.what, s.step)
		err := s.do()
		rows = append(rows, row{s.what, s.step, time.Since(start), err})
	}
	return printTable(out, rows)
}

// step is one thing that the rehearsal does.
type step struct {
	what, step string
	do         func() error
}

func (p *packed) steps(ctx context.Context, temp string, modules []goModule) []step {
	var steps []step
	add := func(what, name string, do func() error) { steps = append(steps, step{what, name, do}) }
	for _, m := range modules {
		if !m.isCommand() {
			add(m.path, "got and built by an outside program", func() error { return p.outside(ctx, temp, m) })
		}
		if m.dir != "." {
			add(m.path, "vetted and tested without replace", func() error { return p.test(ctx, m) })
		}
	}
	for _, c := range p.commands(modules) {
		add(c, "installed, -h", func() error { return p.install(ctx, temp, c) })
		use, ok := uses[path.Base(c)]
		if !ok {
			use = func(context.Context, string) error { return errors.New("uses.go has no real use of it") }
		}
		add(c, "used", func() error {
			ctx, cancel := context.WithTimeout(ctx, useTime)
			defer cancel()
			return use(ctx, filepath.Join(temp, "bin", path.Base(c)))
		})
	}
	return steps
}

// useTime bounds one command's use.
const useTime = 3 * time.Minute

// commands are the import paths of all programs below cmd.
func (p *packed) commands(modules []goModule) []string {
	entries, err := os.ReadDir(filepath.Join(p.clone, "cmd"))
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if e.IsDir() {
			paths = append(paths, modules[0].path+"/cmd/"+e.Name())
		}
	}
	return paths
}

// outside builds a program of somebody else's on the module: it imports every
// package that can be imported, and has the Go blocks of the documents that use
// the module.
func (p *packed) outside(ctx context.Context, temp string, m goModule) error {
	dir, err := os.MkdirTemp(temp, "outside-")
	if err != nil {
		return err
	}
	packages, err := p.importable(ctx, m)
	if err != nil {
		return err
	}
	if err := p.copyBlocks(dir, m); err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("package main\n\nimport (\n")
	for _, pkg := range packages {
		fmt.Fprintf(&text, "\t_ %q\n", pkg)
	}
	text.WriteString(")\n\nfunc main() {}\n")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	env, remove, err := p.emptyCache(temp)
	if err != nil {
		return err
	}
	defer remove()
	for _, args := range [][]string{
		{"mod", "init", "example.com/outside"},
		{"get", m.path + "@" + p.version},
		{"mod", "tidy"}, // what else the blocks use
		{"build", "-o", os.DevNull, "./..."},
		{"vet", "./..."},
	} {
		if _, err := output(ctx, dir, env, "go", args...); err != nil {
			return err
		}
	}
	return nil
}

// writeBlocks has the documents' own test write their Go blocks, each as a
// package below the folder of blocks.
func (p *packed) writeBlocks(ctx context.Context, temp string) error {
	p.blocks = filepath.Join(temp, "blocks")
	_, err := output(ctx, p.clone, append(slices.Clone(p.env), "DOC_BLOCKS_DIR="+p.blocks), "go", "test", "-count=1", "-run", "TestGoBlocksCompile", "./docs")
	return err
}

// copyBlocks copies the blocks that use a module into dir: those of which an
// import is one of its packages, and no other of the repository's modules is
// nested deeper.
func (p *packed) copyBlocks(dir string, m goModule) error {
	files, err := filepath.Glob(filepath.Join(p.blocks, "*", "*.go"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no Go blocks of documents in %s (%v)", p.blocks, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if p.moduleOf(string(text)) != m.path {
			continue
		}
		folder := filepath.Join(dir, filepath.Base(filepath.Dir(file)))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// moduleOf is the path of the deepest public module that Go source imports from.
func (p *packed) moduleOf(source string) string {
	deepest := ""
	for _, m := range p.modules {
		if len(m.path) > len(deepest) && (strings.Contains(source, `"`+m.path+`"`) || strings.Contains(source, `"`+m.path+`/`)) {
			deepest = m.path
		}
	}
	return deepest
}

// emptyCache returns an environment with a module cache of its own, as a
// stranger's machine has it, and what removes it. It is not only for the sake
// of that: Go 1.26 answers `go get MODULE/nested@VERSION` out of a cache that has
// MODULE at the same version, and then does not find the nested module.
func (p *packed) emptyCache(temp string) (env []string, remove func(), err error) {
	cache, err := os.MkdirTemp(temp, "modcache-")
	return append(slices.Clone(p.env), "GOMODCACHE="+cache), func() { removeAll(cache) }, err
}

// importable are the packages of a module that others can import.
func (p *packed) importable(ctx context.Context, m goModule) ([]string, error) {
	text, err := output(ctx, filepath.Join(p.clone, m.dir), p.env, "go", "list", "-f", "{{if .GoFiles}}{{.Name}} {{.ImportPath}}{{end}}", "./...")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range lines(text) {
		name, pkg, _ := strings.Cut(line, " ")
		if name != "main" && !strings.Contains(pkg, "/internal/") && !strings.Contains(pkg+"/", "/examples/") {
			list = append(list, pkg)
		}
	}
	return list, nil
}

// test runs a nested module's own checks as they are after a release.
func (p *packed) test(ctx context.Context, m goModule) error {
	dir := filepath.Join(p.clone, m.dir)
	if _, err := output(ctx, dir, p.env, "go", "vet", "./..."); err != nil {
		return err
	}
	_, err := output(ctx, dir, p.env, "go", "test", "-short", "./...")
	return err
}

func (p *packed) install(ctx context.Context, temp, command string) error {
	env, remove, err := p.emptyCache(temp)
	if err != nil {
		return err
	}
	defer remove()
	if _, err := output(ctx, temp, env, "go", "install", command+"@"+p.version); err != nil {
		return err
	}
	// -h prints the flags; the flag package then exits with 0 or 2.
	text, err := combined(ctx, filepath.Join(temp, "bin", path.Base(command)), "-h")
	if !strings.Contains(text, "-") {
		return fmt.Errorf("-h prints no flags: %q (%v)", text, err)
	}
	return nil
}

func printTable(out io.Writer, rows []row) error {
	var failed []error
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nmodule or command\tstep\tseconds\t")
	for _, r := range rows {
		verdict := "ok"
		if r.err != nil {
			verdict = "FAILED"
			failed = append(failed, fmt.Errorf("%s, %s: %w", r.what, r.step, r.err))
		}
		fmt.Fprintf(table, "%s\t%s\t%.1f\t%s\n", r.what, r.step, r.took.Seconds(), verdict)
	}
	table.Flush()
	return errors.Join(failed...)
}
