package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gpuburst/runpod-go/internal/line"
	"github.com/gpuburst/runpod-go/runpodtest"
)

const testPart = 64 << 10

// smallParts makes an upload in parts of what fits a test.
func smallParts(c *config) error {
	c.partSize = testPart
	return nil
}

// smallBuffers does the same for streams.
func smallBuffers(c *Client, blocks int) {
	c.volume.uploads.buffers = line.NewBuffers(int64(blocks)*testPart, testPart)
}

// onlyForward reads but does not seek.
func onlyForward(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// multipartETag is what an object has for an ETag that was sent in such parts.
func multipartETag(data []byte, partSize int) string {
	var sums []byte
	n := 0
	for ; len(data) > 0; n++ {
		part := data[:min(partSize, len(data))]
		sum := md5.Sum(part)
		sums, data = append(sums, sum[:]...), data[len(part):]
	}
	return fmt.Sprintf("%x-%d", md5.Sum(sums), n)
}

// unfinished are the uploads that the gateway has begun and not ended, and the
// files that they left.
func unfinished(t *testing.T, srv *runpodtest.Server, c *Client) []string {
	t.Helper()
	synctest.Wait() // the gateway tidies up
	left := remains(t, srv, ".s3compat_uploads")
	ctx := context.WithoutCancel(t.Context())
	tr := c.volume.gw.newTask(ctx, "list uploads").transfer(ctx)
	out, err := perform(tr, c.volume.gw.client.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: &c.volume.gw.bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range out.Uploads {
		left = append(left, *u.Key)
	}
	return left
}

func TestMultipartArrivesByteForByte(t *testing.T) {
	for _, kind := range []Checksum{ChecksumMD5, ChecksumCRC32C} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			smallBuffers(c, 4)
			data := content(5*testPart + 12_345)
			path := filepath.Join(t.TempDir(), "file.bin")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			seeker := func(context.Context) (io.ReadCloser, error) { return seekable{bytes.NewReader(data)}, nil }
			for name, in := range map[string]Input{
				"file": File(path), "bytes": Bytes("b", data),
				"reader that seeks": Reader("r", int64(len(data)), seeker),
				"stream":            Reader("r", int64(len(data)), onlyForward(data)),
				"of unknown length": Reader("r", -1, onlyForward(data)),
			} {
				obj, err := c.Upload(t.Context(), name, in)
				want := Object{Key: name, Size: int64(len(data)), ETag: multipartETag(data, testPart)}
				if err != nil || obj != want {
					t.Errorf("%s: got %+v, %v", name, obj, err)
				}
				if !bytes.Equal(stored(t, srv, name), data) {
					t.Errorf("%s: stored something else", name)
				}
			}
			if left := unfinished(t, srv, c); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}, smallParts, WithChecksum(kind))
	}
}

// A stream is read once, however long it turns out to be.
func TestStreamsOfEveryLength(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		smallBuffers(c, 2)
		for _, n := range []int{0, 1, testPart - 1, testPart, testPart + 1, 3 * testPart} {
			opened := 0
			data := content(n)
			in := Reader("r", -1, func(context.Context) (io.ReadCloser, error) {
				opened++
				return io.NopCloser(bytes.NewReader(data)), nil
			})
			obj, err := c.Upload(t.Context(), "k", in)
			if err != nil || obj.Size != int64(n) || !bytes.Equal(stored(t, srv, "k"), data) || opened != 1 {
				t.Errorf("%d bytes: got %+v, %v; opened %d times", n, obj, err, opened)
			}
		}
		for _, lie := range []int64{2 * testPart, 4 * testPart} {
			_, err := c.Upload(t.Context(), "lie", Reader("r", lie, onlyForward(content(3*testPart))))
			if err == nil || !strings.Contains(err.Error(), "not") {
				t.Errorf("%d bytes were said: %v", lie, err)
			}
		}
		if left := append(unfinished(t, srv, c), remains(t, srv, "lie")...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if free, spare := c.volume.uploads.buffers.Counts(); free != c.volume.uploads.buffers.Blocks() || spare != 0 {
			t.Errorf("%d of %d blocks came back, %d kept", free, c.volume.uploads.buffers.Blocks(), spare)
		}
	}, smallParts)
}

// Thirty small files are not stuck behind the sixty parts of a large one, and
// the large one goes on meanwhile.
func TestPoolIsFair(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
		start := time.Now()
		var all sync.WaitGroup
		var big time.Duration
		all.Go(func() {
			if _, err := c.Upload(t.Context(), "big", Bytes("big", content(60*testPart))); err != nil {
				t.Error(err)
			}
			big = time.Since(start)
		})
		time.Sleep(3500 * time.Millisecond)
		var small sync.WaitGroup
		for i := range 30 {
			small.Go(func() {
				if _, err := c.Upload(t.Context(), fmt.Sprint("small/", i), Bytes("s", []byte("s"))); err != nil {
					t.Error(err)
				}
			})
		}
		small.Wait()
		done := time.Since(start)
		all.Wait()
		if done > 12*time.Second {
			t.Errorf("the small files were there after %s", done)
		}
		if big > 24*time.Second { // 90 requests of a second each, 4 at a time
			t.Errorf("the large one was there after %s", big)
		}
	}, smallParts, WithS3Conns(4))
}

func TestMultipartOnOneConnection(t *testing.T) {
	var most atomic.Int64
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		smallBuffers(c, 1)
		var wg sync.WaitGroup
		data := content(5 * testPart)
		for i := range 4 {
			wg.Go(func() {
				for _, in := range []Input{Bytes("b", data), Reader("s", -1, onlyForward(data)), Bytes("small", data[:9])} {
					if _, err := c.Upload(t.Context(), fmt.Sprintf("%d-%s", i, in.name), in); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 {
			t.Errorf("%d connections at once", most.Load())
		}
	}, smallParts, WithS3Conns(1), s3ConnsAtOnce(&most))
}

// A part that fails is sent again, and no other.
func TestPartFaults(t *testing.T) {
	for name, do := range map[string]runpodtest.Action{
		"403":                     runpodtest.Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
		"502":                     runpodtest.Answer(502, "<html>"),
		"503 SlowDown":            runpodtest.Answer(503, "<Error><Code>SlowDown</Code></Error>"),
		"524 although it arrived": runpodtest.AnswerAfterWork(524, ""),
		"reset in the body":       runpodtest.ResetBeforeRead(),
		"reset before the answer": runpodtest.ResetAfterWork(),
		"no answer":               runpodtest.Delay(time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Skip: 2, Times: 2, Do: do})
				data := content(8 * testPart)
				if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
					t.Fatal(err)
				}
				if n := c.Stats().S3Attempts; n != 8+2+2 || rule.Fired() != 2 {
					t.Errorf("%d requests", n)
				}
				if !bytes.Equal(stored(t, srv, "k"), data) {
					t.Error("stored something else")
				}
			}, smallParts)
		})
	}
}

// The end of an upload succeeds at times while the answer says otherwise. It
// is never done twice, and never reported done when it is not.
func TestCompleteInDoubt(t *testing.T) {
	noUpload := runpodtest.Answer(404, "<Error><Code>NoSuchUpload</Code></Error>")
	for _, c := range []struct {
		name    string
		habits  runpodtest.S3Habits
		do      runpodtest.Action
		times   int
		fails   bool
		between bool // somebody else stores another object under the key
	}{
		{name: "524 although it is done", habits: runpodtest.S3Habits{LateComplete: true}},
		{name: "524, then NoSuchUpload", habits: runpodtest.S3Habits{LateComplete: true, ForgetsUploads: true}},
		{name: "reset although it is done", do: runpodtest.ResetAfterWork()},
		{name: "no answer although it is done", do: runpodtest.AnswerAfterWork(200, "").Later(time.Hour)},
		{name: "524 and it is not done", do: runpodtest.Answer(524, "")},
		{name: "502 three times", do: runpodtest.Answer(502, ""), times: 3},
		{name: "403", do: runpodtest.Answer(403, "")},
		{name: "an error in a 200", do: runpodtest.Answer(200, "<Error><Code>InternalError</Code></Error>")},
		{name: "524 for ever and never done", do: runpodtest.Answer(524, ""), times: runpodtest.Always, fails: true},
		{name: "NoSuchUpload and nothing there", do: noUpload, times: runpodtest.Always, fails: true},
		{name: "NoSuchUpload and another's object there", do: noUpload, times: runpodtest.Always, fails: true, between: true},
		{name: "524 for ever and another's object there", do: runpodtest.Answer(524, ""), times: runpodtest.Always, fails: true, between: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := warm()
			cfg.S3 = c.habits
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, cl *Client) {
				data := content(3 * testPart)
				if c.between {
					if _, err := cl.Upload(t.Context(), "k", Bytes("k", bytes.Repeat([]byte("x"), len(data)))); err != nil {
						t.Fatal(err)
					}
				}
				sent := cl.Stats().S3Attempts
				if c.habits == (runpodtest.S3Habits{}) {
					srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "POST", Query: "uploadId", Times: c.times, Do: c.do})
				}
				obj, err := cl.Upload(t.Context(), "k", Bytes("k", data))
				if c.fails {
					if err == nil || obj != (Object{}) {
						t.Errorf("got %+v, %v", obj, err)
					}
				} else if err != nil || obj.Size != int64(len(data)) || !bytes.Equal(stored(t, srv, "k"), data) {
					t.Errorf("got %+v, %v", obj, err)
				}
				if n := cl.Stats().S3Attempts - sent; !c.fails && n > 12 {
					t.Errorf("%d requests", n)
				}
				if left := unfinished(t, srv, cl); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}, smallParts)
		})
	}
}

// Cancelling leaves no unfinished upload behind: the abort does not run on the
// dead context.
func TestMultipartCancelled(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		smallBuffers(c, 3)
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
		data := content(20 * testPart)
		for name, in := range map[string]Input{"bytes": Bytes("b", data), "stream": Reader("s", -1, onlyForward(data))} {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			_, err := c.Upload(ctx, "k", in)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		go func() {
			time.Sleep(1500 * time.Millisecond)
			c.Close()
		}()
		if _, err := c.Upload(t.Context(), "k", Bytes("b", data)); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if left := unfinished(t, srv, newClient(t, srv)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts, WithS3Conns(4))
}

// A file that is written to while its parts go out is not stored.
func TestMultipartOfAFileThatChanges(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Skip: 1, Do: runpodtest.Delay(time.Second)})
		path := filepath.Join(t.TempDir(), "f")
		data := content(4 * testPart)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Millisecond)
			os.WriteFile(path, append(data, "more"...), 0o600)
		}()
		if _, err := c.Upload(t.Context(), "k", File(path)); !errors.Is(err, ErrIntegrity) {
			t.Errorf("got %v", err)
		}
		if left := append(unfinished(t, srv, c), remains(t, srv, "k")...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts, WithS3Conns(1))
}

// flipping damages one byte of what a connection sends, n bytes from its
// beginning.
type flipping struct {
	net.Conn
	at int
}

func (c *flipping) Write(p []byte) (int, error) {
	if c.at >= 0 && c.at < len(p) {
		p = bytes.Clone(p)
		p[c.at] ^= 0x10
	}
	c.at -= len(p)
	return c.Conn.Write(p)
}

// A byte that flips on the way is noticed, and what carried it is sent again.
func TestFlippedByte(t *testing.T) {
	for _, kind := range []Checksum{ChecksumMD5, ChecksumCRC32C} {
		for name, size := range map[string]int{"whole": testPart, "in parts": 6 * testPart} {
			t.Run(fmt.Sprint(name, kind), func(t *testing.T) {
				inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
					dials := 0
					c := newClient(t, srv, smallParts, WithChecksum(kind), WithS3Conns(2), WithDialContext(
						func(ctx context.Context, network, addr string) (net.Conn, error) {
							conn, err := srv.DialContext(ctx, network, addr)
							if dials++; dials == 1 {
								return &flipping{conn, 30_000}, err
							}
							return conn, err
						}))
					data := content(size)
					if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
						t.Error(err)
					}
					if !bytes.Equal(stored(t, srv, "k"), data) {
						t.Error("stored damaged")
					}
					if n := c.Stats().S3Attempts; n != 2 && n != 9 {
						t.Errorf("%d requests", n)
					}
					if no := c.volume.uploads.sums.crc32c.lacking.Load(); no != (kind == ChecksumCRC32C && size > testPart) {
						t.Errorf("parts' CRC32C counted as checked: %v", !no) // gofakes3 checks those of whole objects
					}
				})
			})
		}
	}
}

// A part whose bytes are all out arrives although its upload was cancelled, and
// brings an aborted upload back (S3's documentation: "it might be necessary to
// abort a given multipart upload multiple times"; versitygw does it). Here the
// first abort has no effect.
func TestCancelledWhileAPartArrives(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "DELETE", Query: "uploadId", Do: runpodtest.Answer(204, "")})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := c.Upload(ctx, "k", Bytes("b", content(3*testPart))); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if left := unfinished(t, srv, newClient(t, srv)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts, WithS3Conns(4))
}
