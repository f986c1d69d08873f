package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// packed is the repository's public modules at one version in a file-based
// module proxy, and the clone that they were packed from.
type packed struct {
	version string
	modules []goModule // the public ones
	clone   string
	blocks  string   // the folder of the documents' Go blocks, one package each
	env     []string // for go commands: that proxy in front, an empty module cache, no go.work
}

// pack clones the repository's last commit into temp and packs each public
// module, after it requires those before it at the version.
func pack(ctx context.Context, root, temp string, modules []goModule, version string) (*packed, error) {
	p := &packed{version: version, modules: public(modules), clone: filepath.Join(temp, "clone")}
	proxy := filepath.Join(temp, "proxy")
	var err error
	if p.env, err = goEnv(ctx, temp, proxy, modules); err != nil {
		return nil, err
	}
	if _, err := output(ctx, temp, nil, "git", "clone", "-q", "--no-hardlinks", root, p.clone); err != nil {
		return nil, err
	}
	for _, m := range public(modules) {
		dir := filepath.Join(p.clone, m.dir)
		if err := writeRequirements(dir, modules, version); err != nil {
			return nil, err
		}
		if _, err := output(ctx, dir, p.env, "go", "mod", "tidy"); err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		if err := commit(ctx, p.clone, m.path); err != nil {
			return nil, err
		}
		if err := packModule(p.clone, proxy, m, version); err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return p, nil
}

// goEnv is the environment of a stranger whose first proxy has our modules. The
// downloads of this machine's own module cache stand behind it, so that a
// rehearsal does not ask the network for what is here; each go command still
// begins with an empty cache of its own.
func goEnv(ctx context.Context, temp, proxy string, modules []goModule) ([]string, error) {
	text, err := output(ctx, temp, nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return nil, err
	}
	have := lines(text)
	return []string{
		"GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false", "GOTOOLCHAIN=local",
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(have[0], "cache", "download") + "," + have[1],
		"GONOSUMDB=" + modules[0].path + "," + modules[0].path + "/*", "GONOPROXY=none", "GOPRIVATE=",
		"GOMODCACHE=" + filepath.Join(temp, "modcache"), "GOBIN=" + filepath.Join(temp, "bin"),
	}, nil
}

func commit(ctx context.Context, dir, what string) error {
	_, err := output(ctx, dir, nil, "git", "-c", "user.name=release", "-c", "user.email=release@localhost",
		"commit", "-q", "--allow-empty", "-am", "Requirements of "+what)
	return err
}

// packModule writes a module's files in the layout of a module proxy (the Go
// modules reference, GOPROXY protocol).
func packModule(clone, proxy string, m goModule, version string) error {
	escaped, err := module.EscapePath(m.path)
	if err != nil {
		return err
	}
	base := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	subdir := strings.TrimPrefix(m.dir, ".")
	file, err := os.Create(filepath.Join(base, version+".zip"))
	if err != nil {
		return err
	}
	err = zip.CreateFromVCS(file, module.Version{Path: m.path, Version: version}, clone, "HEAD", subdir)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, version+".info"), info, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "list"), []byte(version+"\n"), 0o644); err != nil {
		return err
	}
	return copyFile(filepath.Join(base, version+".mod"), filepath.Join(clone, m.dir, "go.mod"))
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// removeAll removes a folder, also where the go command has made a module
// cache, whose folders are read-only.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}

// lines splits a command's output, without empty lines.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
