package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// release writes the public modules' go.mod and go.sum files as they are at a
// version into the tree, which must be clean, and prints the commands that are
// left for a person.
func release(ctx context.Context, root string, modules []goModule, version string, out io.Writer) error {
	if status, err := output(ctx, root, nil, "git", "status", "--porcelain"); err != nil || status != "" {
		return usageError{fmt.Errorf("the tree must be clean before a release (%v)\n%s", err, status)}
	}
	tags, err := output(ctx, root, nil, "git", "tag", "--list", version)
	if err != nil || tags != "" {
		return usageError{fmt.Errorf("%s is tagged already (%v)", version, err)}
	}
	temp, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer removeAll(temp)
	p, err := pack(ctx, root, temp, modules, version)
	if err != nil {
		return err
	}
	for _, m := range public(modules) {
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := copyFile(filepath.Join(root, m.dir, name), filepath.Join(p.clone, m.dir, name)); err != nil {
				return err
			}
		}
	}
	printCommands(out, modules, version)
	return nil
}

func printCommands(out io.Writer, modules []goModule, version string) {
	fmt.Fprintf(out, "The go.mod files are those of %s. Look at `git diff`, then:\n\n", version)
	fmt.Fprintf(out, "git commit -am 'Release %s: requirements without replace'\n", version)
	for _, m := range public(modules) {
		fmt.Fprintf(out, "git tag -a -m '%s %s' %s\n", m.path, version, m.tag(version))
	}
	fmt.Fprintf(out, "git revert --no-edit HEAD   # restores the replace lines\n")
	fmt.Fprint(out, "git push origin HEAD")
	for _, m := range public(modules) {
		fmt.Fprintf(out, " %s", m.tag(version))
	}
	fmt.Fprintln(out)
}

// writeRequirements has a module of the repository require the others at a
// version, without replace.
func writeRequirements(dir string, modules []goModule, version string) error {
	file, err := readMod(dir)
	if err != nil {
		return err
	}
	isOurs := func(path string) bool {
		return slices.ContainsFunc(modules, func(m goModule) bool { return m.path == path })
	}
	for _, r := range slices.Clone(file.Replace) {
		if isOurs(r.Old.Path) {
			if err := file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return err
			}
		}
	}
	for _, r := range slices.Clone(file.Require) {
		if isOurs(r.Mod.Path) {
			if err := file.AddRequire(r.Mod.Path, version); err != nil {
				return err
			}
		}
	}
	return writeMod(dir, file)
}

func writeMod(dir string, file *modfile.File) error {
	file.Cleanup()
	text, err := file.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), text, 0o644)
}

// nextVersion is the next minor version after the newest tag of the root module;
// v0.1.0 if there is none.
func nextVersion(ctx context.Context, root string) (string, error) {
	newest, err := newestTag(ctx, root)
	if err != nil || newest == "" {
		return "v0.1.0", err
	}
	var major, minor int
	if _, err := fmt.Sscanf(semver.MajorMinor(newest), "v%d.%d", &major, &minor); err != nil {
		return "", err
	}
	return fmt.Sprintf("v%d.%d.0", major, minor+1), nil
}

// newestTag is the root module's newest tag, "" if there is none.
func newestTag(ctx context.Context, root string) (string, error) {
	text, err := output(ctx, root, nil, "git", "tag", "--list", "v*")
	newest := ""
	for _, tag := range lines(text) {
		if semver.IsValid(tag) && (newest == "" || semver.Compare(tag, newest) > 0) {
			newest = tag
		}
	}
	return newest, err
}
