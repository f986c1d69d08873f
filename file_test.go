package runpod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestTargetsOfDownloads(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		put(t, srv, "k", []byte("new"))
		dir := t.TempDir()
		file, link, dangling, sub := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "sub")
		linkToDir := filepath.Join(dir, "linkToDir")
		if err := errors.Join(os.WriteFile(file, []byte("old"), 0o640), os.Symlink(file, link), os.Symlink(filepath.Join(dir, "nowhere"), dangling),
			os.Mkdir(sub, 0o700), os.Symlink(sub, linkToDir)); err != nil {
			t.Skip(err)
		}
		for _, bad := range []string{"", sub, sub + "/", filepath.Join(dir, "no", "file"), filepath.Join(file, "x")} {
			_, err := c.DownloadFile(t.Context(), "k", bad)
			if e, ok := err.(*Error); !ok || e.Field != "path" {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if n := c.Stats().S3Attempts; n != 0 {
			t.Errorf("%d requests", n)
		}
		for _, path := range []string{link, dangling, linkToDir} {
			if _, err := c.DownloadFile(t.Context(), "k", path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			info, err := os.Lstat(path)
			if text, _ := os.ReadFile(path); err != nil || !info.Mode().IsRegular() || string(text) != "new" {
				t.Errorf("%s is %v with %q, %v", path, info.Mode(), text, err)
			}
		}
		if text, _ := os.ReadFile(file); string(text) != "old" {
			t.Errorf("what the link points to became %q", text)
		}
		if _, err := c.DownloadFile(t.Context(), "k", file); err != nil {
			t.Error(err)
		}
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o640 {
			t.Errorf("the mode of the file that was replaced became %v", info.Mode())
		}
		if left := files(t, dir); len(left) != 5 {
			t.Errorf("the folder holds %v", left)
		}
	})
}

// Whatever fill does, a file is there whole or not at all.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("n", 255))
	failed := errors.New("no")
	if err := writeWhole(path, func(w io.Writer) error { fmt.Fprint(w, "half"); return failed }); err != failed {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() { recover() }()
		writeWhole(path, func(w io.Writer) error { panic("in the middle") })
	}()
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := writeWhole(path, func(w io.Writer) error { _, err := fmt.Fprint(w, "all"); return err }); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "all" {
		t.Errorf("got %q", text)
	}
}
