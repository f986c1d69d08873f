package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestInputsArriveByteForByte(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		data := content(100_000)
		path := filepath.Join(t.TempDir(), "file.bin")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		reader := func(size int64) Input {
			return Reader("r", size, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		}
		for name, in := range map[string]Input{
			"bytes": Bytes("b", data), "file": File(path), "reader": reader(int64(len(data))), "reader of unknown size": reader(-1),
			"deep/er/path with #=+%&?ü😀": Bytes("b", data), strings.Repeat("n", 255): Bytes("b", data),
		} {
			obj, err := c.Upload(t.Context(), name, in)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if obj.Key != name || obj.Size != int64(len(data)) || obj.ETag != fmt.Sprintf("%x", md5.Sum(data)) {
				t.Errorf("%s: got %+v", name, obj)
			}
			if !bytes.Equal(stored(t, srv, name), data) {
				t.Errorf("%s: stored something else", name)
			}
			var back bytes.Buffer
			if got, err := c.Download(t.Context(), name, &back); err != nil || got != obj || !bytes.Equal(back.Bytes(), data) {
				t.Errorf("%s: came back as %+v, %d bytes, %v", name, got, back.Len(), err)
			}
		}
		if obj, err := c.Upload(t.Context(), "empty", Bytes("e", nil)); err != nil || obj.Size != 0 || len(stored(t, srv, "empty")) != 0 {
			t.Errorf("empty: %+v, %v", obj, err)
		}
	})
}

// What the caller gets for each thing that an upload can meet.
func TestUploadFaults(t *testing.T) {
	xml := func(code string) string {
		return "<Error><Code>" + code + "</Code><Message>in the gateway's words</Message></Error>"
	}
	for _, c := range []struct {
		name  string
		do    runpodtest.Action
		times int
		kind  error
		fails bool
		most  int // attempts
	}{
		{name: "transient 403", do: runpodtest.Answer(403, xml("AccessDenied")), times: 3, most: 4},
		{name: "403 for ever", do: runpodtest.Answer(403, xml("SignatureDoesNotMatch")), times: runpodtest.Always, kind: ErrUnauthorized, most: 4},
		{name: "502 nine times", do: runpodtest.Answer(502, "<html>"), times: 9, most: 10},
		{name: "502 for ever", do: runpodtest.Answer(502, "<html>"), times: runpodtest.Always, fails: true, most: 10},
		{name: "520", do: runpodtest.Answer(520, ""), most: 2},
		{name: "524 although it was stored", do: runpodtest.AnswerAfterWork(524, ""), most: 2},
		{name: "530", do: runpodtest.Answer(530, ""), most: 2},
		{name: "503 SlowDown", do: runpodtest.Answer(503, xml("SlowDown")), times: 2, most: 3},
		{name: "507", do: runpodtest.Answer(507, ""), times: runpodtest.Always, kind: ErrVolumeFull, most: 1},
		{name: "QuotaExceeded", do: runpodtest.Answer(403, xml("QuotaExceeded")), times: runpodtest.Always, kind: ErrVolumeFull, most: 1},
		{name: "413", do: runpodtest.Answer(413, ""), times: runpodtest.Always, kind: ErrTooLarge, most: 1},
		{name: "no such bucket", do: runpodtest.Answer(404, xml("NoSuchBucket")), times: runpodtest.Always, kind: ErrNotFound, most: 1},
		{name: "connection refused", do: runpodtest.RefuseConnection(), most: 2},
		{name: "reset at once", do: runpodtest.ResetConnection(), most: 2},
		{name: "reset in the body", do: runpodtest.ResetBeforeRead(), most: 2},
		{name: "reset before the answer", do: runpodtest.ResetAfterWork(), most: 2},
		{name: "no answer", do: runpodtest.Delay(time.Hour), most: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, cl *Client) {
				srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: c.times, Do: c.do})
				data := content(50_000)
				obj, err := cl.Upload(t.Context(), "k", Bytes("k", data))
				if c.kind != nil || c.fails {
					if c.kind != nil && !errors.Is(err, c.kind) || err == nil || attempts(err) != c.most {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil || obj.Size != 50_000 || !bytes.Equal(stored(t, srv, "k"), data) {
					t.Fatalf("got %+v, %v", obj, err)
				}
				if n := cl.Stats().S3Attempts; n != int64(c.most) {
					t.Errorf("%d attempts, want %d", n, c.most)
				}
			})
		})
	}
}

// A wrong key ends after a few attempts, in the gateway's words.
func TestWrongS3Key(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
		c := newClient(t, srv, WithS3Credentials(srv.AccessKeyID, "rps_wrong"))
		_, err := c.Upload(t.Context(), "k", Bytes("k", []byte("k")))
		if !errors.Is(err, ErrUnauthorized) || attempts(err) != s3Forbidden || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
			t.Errorf("got %v", err)
		}
	})
}

// An input whose content is not the same on every reading is never stored.
func TestInputThatChanges(t *testing.T) {
	for name, second := range map[string]string{"content": "AFTER!", "shorter": "bef", "longer": "before and after"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				opened := 0
				in := Reader("r", 6, func(context.Context) (io.ReadCloser, error) {
					opened++
					if opened == 1 {
						return io.NopCloser(strings.NewReader("before")), nil
					}
					return io.NopCloser(strings.NewReader(second)), nil
				})
				if _, err := c.Upload(t.Context(), "k", in); !errors.Is(err, ErrIntegrity) {
					t.Errorf("got %v", err)
				}
				synctest.Wait() // the gateway tidies up
				if files := remains(t, srv, "."); len(files) > 0 {
					t.Errorf("stored: %v", files)
				}
			})
		})
	}
}

func TestInputThatCannotBeRead(t *testing.T) {
	broken := errors.New("disk on fire")
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		at := 0
		in := Reader("r", 4, func(context.Context) (io.ReadCloser, error) {
			if at++; at == 2 {
				return io.NopCloser(io.MultiReader(strings.NewReader("ab"), failingReader{broken})), nil
			}
			return io.NopCloser(strings.NewReader("abcd")), nil
		})
		if _, err := c.Upload(t.Context(), "k", in); !errors.Is(err, broken) || attempts(err) != 1 {
			t.Errorf("while sending: %v", err)
		}
		never := Reader("r", -1, func(context.Context) (io.ReadCloser, error) { return nil, broken })
		if _, err := c.Upload(t.Context(), "k", never); !errors.Is(err, broken) {
			t.Errorf("while opening: %v", err)
		}
		lying := Reader("r", 3, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abcd")), nil })
		if _, err := c.Upload(t.Context(), "k", lying); err == nil || !strings.Contains(err.Error(), "4 bytes") {
			t.Errorf("a size that is not so: %v", err)
		}
		if _, err := c.Upload(t.Context(), "k", File(t.TempDir())); err == nil {
			t.Error("a folder was uploaded")
		}
	})
}

type failingReader struct{ error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.error }
