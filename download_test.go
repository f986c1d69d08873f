package runpod

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// A large object comes over several connections at once, into one file.
func TestRangedDownload(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		path := filepath.Join(t.TempDir(), "out")
		for _, n := range []int{0, 1, testPart - 1, testPart, testPart + 1, 15*testPart + 7} {
			data := content(n)
			put(t, srv, "k", data)
			obj, err := c.DownloadFile(t.Context(), "k", path)
			if err != nil || obj.Size != int64(n) {
				t.Errorf("%d bytes: %+v, %v", n, obj, err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
				t.Errorf("%d bytes: got something else, %d bytes", n, len(got))
			}
		}
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
		start := time.Now()
		if _, err := c.DownloadFile(t.Context(), "k", path); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 5*time.Second { // the first, then 15 by 4
			t.Errorf("16 requests of a second over 4 connections took %s", took)
		}
	}, smallParts, WithS3Conns(4))
}

func TestRangedDownloadGoesOn(t *testing.T) {
	data := content(6*testPart + 99)
	for name, do := range map[string]runpodtest.Action{
		"reset": runpodtest.ResetReply(30_000), "truncated": runpodtest.TruncateReply(1), "stalled": runpodtest.StallReply(123),
		"502": runpodtest.Answer(502, ""), "403": runpodtest.Answer(403, ""),
	} {
		for _, skip := range []int{0, 3} {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				put(t, srv, "k", data)
				srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Skip: skip, Times: 3, Do: do})
				path := filepath.Join(t.TempDir(), "out")
				if obj, err := c.DownloadFile(t.Context(), "k", path); err != nil || obj.Size != int64(len(data)) {
					t.Errorf("%s: %+v, %v", name, obj, err)
				}
				if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
					t.Errorf("%s: got something else", name)
				}
			}, smallParts, WithS3Conns(3))
		}
	}
}

// A gateway that knows no ranges gives everything at once.
func TestRangedDownloadWithoutRanges(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		data := content(3 * testPart)
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: runpodtest.Always,
			Do: runpodtest.Answer(200, string(data), "ETag", `"e"`)})
		path := filepath.Join(t.TempDir(), "out")
		obj, err := c.DownloadFile(t.Context(), "k", path)
		if want := (Object{Key: "k", Size: int64(len(data)), ETag: "e"}); err != nil || obj != want {
			t.Errorf("got %+v, %v", obj, err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
			t.Error("got something else")
		}
	}, smallParts)
}

// An object that is replaced between its parts must not come out mixed.
func TestRangedDownloadOfAnObjectThatChanges(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		put(t, srv, "k", content(4*testPart))
		n := 0
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second),
			Match: func(*http.Request) bool {
				if n++; n == 3 {
					put(t, srv, "k", bytes.Repeat([]byte("x"), 4*testPart+1))
				}
				return true
			}})
		dir := t.TempDir()
		if _, err := c.DownloadFile(t.Context(), "k", filepath.Join(dir, "out")); !errors.Is(err, ErrIntegrity) {
			t.Errorf("got %v", err)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts, WithS3Conns(1))
}

// A download goes on after each break where it stopped.
func TestDownloadGoesOn(t *testing.T) {
	data := content(200_000)
	for name, do := range map[string]runpodtest.Action{
		"reset": runpodtest.ResetReply(70_000), "truncated": runpodtest.TruncateReply(1), "stalled": runpodtest.StallReply(123),
		"502": runpodtest.Answer(502, ""), "403": runpodtest.Answer(403, ""),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
					t.Fatal(err)
				}
				srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: 2, Do: do})
				var got bytes.Buffer
				obj, err := c.Download(t.Context(), "k", &got)
				if err != nil || !bytes.Equal(got.Bytes(), data) || obj.Size != int64(len(data)) {
					t.Errorf("got %d bytes as %+v, %v", got.Len(), obj, err)
				}
				path := filepath.Join(t.TempDir(), "whole")
				if _, err := c.DownloadFile(t.Context(), "k", path); err != nil {
					t.Error(err)
				}
				if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
					t.Error("the file is not the object")
				}
			})
		})
	}
}

func TestDownloadWholeOrNotAtAll(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", content(50_000))); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if err := os.WriteFile(path, []byte("older"), 0o600); err != nil {
			t.Fatal(err)
		}
		rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: runpodtest.Always, Do: runpodtest.ResetReply(0)})
		if _, err := c.DownloadFile(t.Context(), "k", path); err == nil {
			t.Error("it succeeded")
		}
		rule.Remove()
		if _, err := c.DownloadFile(t.Context(), "k", filepath.Join(dir, "no/such/folder")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no folder: %v", err)
		}
		if got, _ := os.ReadFile(path); string(got) != "older" {
			t.Errorf("the file became %q", got)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("left behind: %v", files)
		}
		if _, err := c.Download(t.Context(), "nothing/here", io.Discard); !errors.Is(err, ErrNotFound) {
			t.Errorf("no object: %v", err)
		}
	})
}

// An object that is replaced while it is read must not come out mixed.
func TestDownloadOfAnObjectThatChanges(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		put := func(b byte) {
			if _, err := c.Upload(t.Context(), "k", Bytes("k", bytes.Repeat([]byte{b}, 10_000))); err != nil {
				t.Fatal(err)
			}
		}
		put('a')
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Do: runpodtest.TruncateReply(4_000)})
		first := true
		w := writerFunc(func(p []byte) (int, error) {
			if first {
				first = false
				put('b')
			}
			return len(p), nil
		})
		if _, err := c.Download(t.Context(), "k", w); !errors.Is(err, ErrIntegrity) {
			t.Errorf("got %v", err)
		}
	}, WithS3Conns(2))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A file that a worker wrote has no MD5 for an ETag, or an old one.
func TestDownloadOfAWorkersFile(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "mine", Bytes("m", []byte("before"))); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mine", "theirs"} {
			if err := os.WriteFile(filepath.Join(srv.VolumeDir, name), []byte("a worker's"), 0o600); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := c.Download(t.Context(), name, &got); err != nil || got.String() != "a worker's" {
				t.Errorf("%s: %q, %v", name, got.String(), err)
			}
		}
	})
}
