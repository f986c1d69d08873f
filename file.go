package runpod

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// wholeFile is a file of our own, which may be written in any order.
type wholeFile struct{ *os.File }

// from returns a writer that begins at offset.
func (f *wholeFile) from(offset int64) io.Writer { return io.NewOffsetWriter(f.File, offset) }

// writeWhole fills a file at path whole or not at all: under a temporary name
// beside it, renamed once fill has succeeded.
func writeWhole(path string, fill func(io.Writer) error) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return writeWholeIn(root, filepath.Base(path), fill)
}

// writeWholeIn is writeWhole within a folder that the path cannot leave, not
// even by symbolic links.
func writeWholeIn(root *os.Root, path string, fill func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	name := filepath.Join(dir, "."+shorten(base)+"."+rand.Text()[:8]+".part")
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	whole := false
	defer func() {
		if !whole { // also if fill panics
			f.Close()
			root.Remove(name)
		}
	}()
	if err := fill(&wholeFile{f}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := root.Rename(name, path); err != nil {
		return err
	}
	whole = true
	return nil
}

// shorten keeps the temporary name within a file name's 255 bytes.
func shorten(base string) string { return base[:min(len(base), 200)] }

// checkTarget refuses a file that could not be written, before any traffic.
func checkTarget(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and is not a regular file", path)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	return err
}
