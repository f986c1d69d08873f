package runpod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// An object that is replaced by another of the same size and ETag is told by its
// date: sections of two must not become one file.
func TestRangedDownloadOfAnObjectWithAnotherDate(t *testing.T) {
	for _, c := range []struct {
		name, first, then string
		same              bool
	}{
		{name: "another", first: "Wed, 25 Nov 2026 10:00:00 GMT", then: "Wed, 25 Nov 2026 10:00:07 GMT"},
		{name: "written otherwise", first: "Wed, 25 Nov 2026 10:00:00 GMT", then: "Wed, 25 Nov 2026 10:00:00 UTC", same: true},
		{name: "not said", first: "Wed, 25 Nov 2026 10:00:00 GMT", same: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := content(3 * testPart)
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				date := c.then
				if strings.HasPrefix(r.Header.Get("Range"), "bytes=0-") {
					date = c.first
				}
				if w.Header().Set("ETag", `"e"`); date != "" {
					w.Header().Set("Last-Modified", date)
				}
				sendRange(w, r, data)
			}, func(t *testing.T, cl *Client) {
				path := filepath.Join(t.TempDir(), "out")
				_, err := cl.DownloadFile(t.Context(), "k", path)
				if c.same && err != nil || !c.same && (!errors.Is(err, ErrIntegrity) || !strings.Contains(err.Error(), "download it again")) {
					t.Errorf("got %v", err)
				}
				if got, _ := os.ReadFile(path); c.same != bytes.Equal(got, data) {
					t.Errorf("the file has %d bytes", len(got))
				}
			}, smallParts)
		})
	}
}

// sendRange answers a request for a section.
func sendRange(w http.ResponseWriter, r *http.Request, data []byte) {
	var from, to int
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	to = min(to, len(data)-1)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
	w.WriteHeader(206)
	w.Write(data[from : to+1])
}

// An empty object has no first byte: the ways to say so.
func TestRangedDownloadOfAnEmptyObject(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"416": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(416)
			io.WriteString(w, s3Error("InvalidRange"))
		},
		"416 with another code": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(416)
			io.WriteString(w, s3Error("RequestedRangeNotSatisfiable"))
		},
		"416 without a word": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(416) },
		"206 */0": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes */0")
			w.WriteHeader(206)
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := 0
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
				if r.Header.Get("Range") != "" {
					answer(w, r)
				} else {
					whole++
				}
			}, func(t *testing.T, c *Client) {
				path := filepath.Join(t.TempDir(), "out")
				obj, err := c.DownloadFile(t.Context(), "k", path)
				if info, statErr := os.Stat(path); err != nil || obj.Size != 0 || statErr != nil || info.Size() != 0 {
					t.Errorf("got %+v, %v, %v", obj, err, statErr)
				}
				if want := strings.HasPrefix(name, "416"); (whole == 1) != want || whole > 1 {
					t.Errorf("asked %d times for the object without a range", whole)
				}
			})
		})
	}
}

// Numbers from a gateway are checked before they are counted on.
func TestDownloadWithAnImpossibleContentRange(t *testing.T) {
	const other = "asked for the bytes from 0 on"
	for odd, says := range map[string]string{
		"bytes 0-65535/9223372036854775807": "Content-Range", "bytes 0-65535/-1": "Content-Range", "pages 0-1/2": "Content-Range",
		"bytes 5-65540/99999": other, "bytes 0-999999999/1000000000": other,
	} {
		t.Run(odd, func(t *testing.T) {
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"e"`)
				w.Header().Set("Content-Range", odd)
				w.WriteHeader(206)
				w.Write(content(testPart))
			}, func(t *testing.T, c *Client) {
				dir := t.TempDir()
				if obj, err := c.DownloadFile(t.Context(), "k", filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("got %+v, %v", obj, err)
				}
				if left := files(t, dir); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}, smallParts)
		})
	}
}

// A page that a proxy answers in the gateway's place is no object.
func TestDownloadOfAProxysPage(t *testing.T) {
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<html>log in</html>")
	}, func(t *testing.T, c *Client) {
		var got bytes.Buffer
		if _, err := c.Download(t.Context(), "k", &got); err == nil || got.Len() > 0 || attempts(err) != s3Attempts {
			t.Errorf("got %q, %v", got.String(), err)
		}
	})
}

// A download is given up for breaks in a row that bring nothing, not for their
// number: one whose every answer breaks comes to its end if each brings some.
func TestDownloadGoesOnWhileBytesCome(t *testing.T) {
	data := content(200_000)
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
			t.Fatal(err)
		}
		breaks := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: 3 * maxBreaks, Do: runpodtest.ResetReply(10_000)})
		var got bytes.Buffer
		if _, err := c.Download(t.Context(), "k", &got); err != nil || !bytes.Equal(got.Bytes(), data) || breaks.Fired() <= maxBreaks {
			t.Errorf("%d bytes after %d breaks, %v", got.Len(), breaks.Fired(), err)
		}
	})
}
