package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// content is n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func stored(t *testing.T, srv *runpodtest.Server, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(srv.VolumeDir, key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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

// 30 callers with 60 files on a pool of 10 open at most 10 connections in all.
func TestPoolIsBounded(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				for j := range 2 {
					key := fmt.Sprintf("f/%d-%d", i, j)
					if _, err := c.Upload(t.Context(), key, Bytes(key, content(20_000))); err != nil {
						t.Error(err)
					}
					if _, err := c.Download(t.Context(), key, io.Discard); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		st := srv.Stats().S3Conns
		if st.Opened > 10 || st.Peak > 10 {
			t.Errorf("%d connections opened, %d at once", st.Opened, st.Peak)
		}
		if mine := c.Stats(); mine.S3ConnsOpened != st.Opened || mine.Uploads != 60 || mine.Downloads != 60 {
			t.Errorf("the client counts %+v", mine)
		}
	}, WithS3Conns(10))
}

func TestOneConnectionIsEnough(t *testing.T) {
	var most atomic.Int64
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 6)) {
			if err != nil {
				t.Error(err)
			}
		}
		if most.Load() != 1 {
			t.Errorf("%d connections at once", most.Load())
		}
	}, WithS3Conns(1), WithMaxInFlight(6), s3ConnsAtOnce(&most))
}

// s3ConnsAtOnce tells how many connections to the gateway a client has had at
// once. How many it has opened in all says less: net/http gives one up, now and
// then, whose answer came before it had noticed that the whole body was out. And
// the server learns of the end of one a moment after the next may have begun.
func s3ConnsAtOnce(most *atomic.Int64) Option {
	return func(c *config) error {
		dial := c.dial
		var mu sync.Mutex
		var open int64
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil || !strings.HasPrefix(addr, "s3") {
				return conn, err
			}
			mu.Lock()
			defer mu.Unlock()
			open++
			most.Store(max(most.Load(), open))
			return &endNoted{conn, sync.OnceFunc(func() {
				mu.Lock()
				defer mu.Unlock()
				open--
			})}, nil
		}
		return nil
	}
}

// endNoted is a connection whose end is noted.
type endNoted struct {
	net.Conn
	ended func()
}

func (c *endNoted) Close() error {
	c.ended()
	return c.Conn.Close()
}

// A place is taken before the attempt's clock starts, and leaving the line
// costs nobody else anything.
func TestWaitForAPlaceEndsWithTheContext(t *testing.T) {
	cfg := warm()
	cfg.S3.BytesPerSecond = 1000
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "slow", Bytes("slow", content(300_000))); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := c.Download(t.Context(), "slow", io.Discard) // 5 minutes
			done <- err
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Upload(ctx, "x", Bytes("x", []byte("x"))); !errors.Is(err, context.DeadlineExceeded) || attempts(err) != 0 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("left after %s", took)
		}
		if obj, err := c.Upload(t.Context(), "x", Bytes("x", []byte("x"))); err != nil {
			t.Errorf("a wait longer than Stall failed: %+v, %v", obj, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}, WithS3Conns(1))
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

// The gateway was seen to date its objects in "UTC", which fails the SDK.
func TestUTCDates(t *testing.T) {
	cfg := warm()
	cfg.S3.UTCDates = true
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", []byte("k"))); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Download(t.Context(), "k", io.Discard); err != nil {
			t.Error(err)
		}
	})
}

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
