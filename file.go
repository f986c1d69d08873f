package runpod

import (
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
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

// writePrivate is writeWhole for a file of the library's own, which nobody else
// may read.
func writePrivate(path string, fill func(io.Writer) error) error {
	return writeWhole(path, func(w io.Writer) error {
		if err := w.(*wholeFile).Chmod(0o600); err != nil {
			return err
		}
		return fill(w)
	})
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
	if info, err := root.Lstat(path); err == nil && info.Mode().IsRegular() {
		if err := f.Chmod(info.Mode().Perm()); err != nil { // what replaces a file keeps its mode
			return err
		}
	}
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

// checkTarget refuses a file that could not be written, before any traffic. A
// symbolic link is replaced, whatever it points to.
func checkTarget(path string) error {
	if path == "" || os.IsPathSeparator(path[len(path)-1]) {
		return fmt.Errorf("%q does not name a file", path)
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("%s is there and is not a regular file", path)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	return err
}
