package runpod

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// tree is a folder with files in it.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("of "+name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func keysIn(objects []Object) (keys []string) {
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func TestFolderThereAndBack(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		names := []string{"a.txt", "b/c/d.txt", "b/e #=+%&?ü😀.txt", "z"}
		up, err := c.UploadDir(t.Context(), tree(t, names...), "set/one/")
		if err != nil || len(up) != 4 || up[1].Key != "set/one/b/c/d.txt" {
			t.Fatalf("up: %v, %v", keysIn(up), err)
		}
		put(t, srv, "beside", []byte("not of the folder"))
		dir := filepath.Join(t.TempDir(), "new", "folder")
		down, err := c.DownloadDir(t.Context(), "set/one", dir)
		if err != nil || !slices.Equal(keysIn(down), keysIn(up)) {
			t.Errorf("down: %v, %v", keysIn(down), err)
		}
		for _, name := range names {
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != "of "+name {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if n, err := c.DeleteAll(t.Context(), "set/"); n != 4 || err != nil {
			t.Errorf("deleted %d, %v", n, err)
		}
		if left := remains(t, srv, "."); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
		if n, err := c.DeleteAll(t.Context(), ""); n != 0 || !errors.Is(err, ErrBadRequest) {
			t.Errorf("everything: deleted %d, %v", n, err)
		}
	}, WithS3Conns(2))
}

// Symbolic links are refused before any traffic, in both directions.
func TestFolderWithLinks(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		outside := tree(t, "secret")
		dir := tree(t, "a")
		if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")); err != nil {
			t.Skip(err)
		}
		if up, err := c.UploadDir(t.Context(), dir, "p"); len(up) > 0 || !errors.Is(err, ErrBadRequest) || !strings.Contains(err.Error(), "link") {
			t.Errorf("up: %v, %v", up, err)
		}
		if n := c.Stats().S3Attempts; n != 0 {
			t.Errorf("%d requests", n)
		}
		os.MkdirAll(filepath.Join(srv.VolumeDir, "p/out"), 0o700)
		put(t, srv, "p/out/file", []byte("x"))
		target := t.TempDir()
		os.Symlink(outside, filepath.Join(target, "out"))
		if down, err := c.DownloadDir(t.Context(), "p", target); len(down) > 0 || err == nil {
			t.Errorf("down: %v, %v", down, err)
		}
		if got := files(t, outside); len(got) != 1 {
			t.Errorf("outside the folder: %v", got)
		}
	})
}

// Keys that would leave the folder are refused.
func TestFolderOfKeysThatLeaveIt(t *testing.T) {
	for _, key := range []string{"p/../../out", "p//etc/x", "p/a/../b"} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "list-type", Do: runpodtest.Answer(200, listingPage([]string{key}, "false", ""))})
			dir := t.TempDir()
			if down, err := c.DownloadDir(t.Context(), "p", dir); len(down) > 0 || err == nil || !strings.Contains(err.Error(), "leads out") {
				t.Errorf("%s: %v, %v", key, down, err)
			}
		})
	}
}

// The first failure ends a folder's upload; what was uploaded is told.
func TestFolderThatFails(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Path: "p/c", Times: runpodtest.Always, Do: runpodtest.Answer(507, "").Later(time.Second)})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Path: "p/d", Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		up, err := c.UploadDir(t.Context(), tree(t, "a", "b", "c", "d", "e", "f"), "p")
		if !errors.Is(err, ErrVolumeFull) || len(up) == 0 || len(up) == 6 {
			t.Errorf("got %v, %v", keysIn(up), err)
		}
	}, WithS3Conns(2))
}

// What cannot be a file in a folder is left out and named; the rest comes.
func TestFolderOfKeysThatCannotBeFiles(t *testing.T) {
	body := "x"
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") {
			io.WriteString(w, listingPage([]string{"p/a", "p/d/sub", "p/d/sub/b", "p/d//b", "p/../up", "p/z"}, "false", ""))
			return
		}
		w.Header().Set("ETag", `"e"`)
		io.WriteString(w, body)
	}, func(t *testing.T, c *Client) {
		dir := t.TempDir()
		down, err := c.DownloadDir(t.Context(), "p", dir)
		keys := fmt.Sprint(keysIn(down))
		if keys != "[p/a p/d/sub p/z]" && keys != "[p/a p/d/sub/b p/z]" {
			t.Errorf("got %s", keys)
		}
		for _, odd := range []string{`"p/d//b"`, `"p/../up"`, `"p/d/sub`, "3 keys"} {
			if err == nil || !strings.Contains(err.Error(), odd) {
				t.Errorf("%s is not named: %v", odd, err)
			}
		}
		if got := files(t, dir); fmt.Sprint(got) != "[a d z]" {
			t.Errorf("the folder holds %v", got)
		}
	})
}
