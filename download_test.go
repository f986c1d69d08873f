package runpod

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func put(t *testing.T, srv *runpodtest.Server, key string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(srv.VolumeDir, key), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

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
