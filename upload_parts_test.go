package runpod

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

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
				if n := c.Stats().S3Attempts; n != 8+2+2+1 || rule.Fired() != 2 {
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

// What decides about an upload in parts is our own id and the size, whatever the
// store has for ETags and lengths.
func TestCompleteIsLookedAt(t *testing.T) {
	data := content(3 * testPart)
	odd := `"0123456789abcdef0123456789abcdef-3"` // no MD5 of MD5s
	for _, c := range []struct {
		name   string
		head   func(h http.Header, own string, looks int) (status int) // the object as HEAD shows it
		status int                                                     // of Complete
		etag   string                                                  // in its answer
		kind   error
		says   string
	}{
		{name: "an ETag that is no MD5 of MD5s", etag: odd, head: func(h http.Header, own string, _ int) int {
			h.Set("ETag", odd)
			h.Set("X-Amz-Meta-"+ownID, own)
			h.Set("Content-Length", strconv.Itoa(len(data)))
			return 200
		}},
		{name: "such an ETag, and no metadata kept", etag: odd, head: func(h http.Header, _ string, _ int) int {
			h.Set("ETag", odd)
			h.Set("Content-Length", strconv.Itoa(len(data)))
			return 200
		}},
		{name: "a 524, and HEAD without a length", status: 524, head: func(h http.Header, own string, _ int) int {
			h.Set("ETag", `"`+multipartETag(data, testPart)+`"`)
			h.Set("X-Amz-Meta-"+ownID, own)
			return 200
		}},
		{name: "there at the third look", head: func(h http.Header, own string, looks int) int {
			if looks < 3 {
				return 404
			}
			h.Set("X-Amz-Meta-"+ownID, own)
			h.Set("ETag", odd)
			return 200
		}},
		{name: "a 200 with nothing stored behind it", kind: ErrIntegrity, says: "is not there", head: func(http.Header, string, int) int { return 404 }},
		{name: "a 200 with half of it stored", kind: ErrIntegrity, says: "upload it again", head: func(h http.Header, own string, _ int) int {
			h.Set("X-Amz-Meta-"+ownID, own)
			h.Set("ETag", odd)
			h.Set("Content-Length", strconv.Itoa(len(data)/2))
			return 200
		}},
		{name: "another's object", kind: ErrIntegrity, says: "is not what was uploaded", head: func(h http.Header, own string, _ int) int {
			h.Set("X-Amz-Meta-"+ownID, "SOMEBODYELSES")
			h.Set("ETag", odd)
			h.Set("Content-Length", strconv.Itoa(len(data)))
			return 200
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			own, looks := "", 0
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case r.Method == "POST" && r.URL.Query().Has("uploads"):
					own = r.Header.Get("X-Amz-Meta-" + ownID)
					io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
				case r.Method == "PUT":
					w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
				case r.Method == "POST":
					w.WriteHeader(cmp.Or(c.status, 200))
					fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", c.etag)
				case r.Method == "HEAD":
					looks++
					h := http.Header{}
					status := c.head(h, own, looks)
					maps.Copy(w.Header(), h)
					w.WriteHeader(status)
				default:
					w.WriteHeader(204)
				}
			}, func(t *testing.T, cl *Client) {
				obj, err := cl.Upload(t.Context(), "k", Bytes("k", data))
				if c.kind == nil && (err != nil || obj.Size != int64(len(data))) || c.kind != nil && (!errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("got %+v, %v", obj, err)
				}
				if errors.Is(err, ErrNotFound) && c.kind == nil {
					t.Errorf("the error is that there was nothing: %v", err)
				}
				if looks == 0 {
					t.Error("nobody looked")
				}
			}, smallParts, WithChecksum(ChecksumMD5))
		})
	}
}

// A part that the gateway has lost and holds something else for, of the same
// size, is sent again, and no other.
func TestPartThatBecameAnother(t *testing.T) {
	data := content(3 * testPart)
	var mu sync.Mutex
	sent, completes, own := map[string]int{}, 0, ""
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch q := r.URL.Query(); {
		case r.Method == "GET":
			io.WriteString(w, "<ListPartsResult>")
			for i := range 3 {
				etag := md5.Sum(data[i*testPart : (i+1)*testPart])
				if i == 1 {
					etag[0]++
				}
				fmt.Fprintf(w, `<Part><PartNumber>%d</PartNumber><Size>%d</Size><ETag>"%x"</ETag></Part>`, i+1, testPart, etag)
			}
			io.WriteString(w, "</ListPartsResult>")
		case r.Method == "POST" && q.Has("uploads"):
			own = r.Header.Get("X-Amz-Meta-" + ownID)
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case r.Method == "PUT":
			sent[q.Get("partNumber")]++
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
		case r.Method == "POST":
			if completes++; completes == 1 {
				w.WriteHeader(400)
				io.WriteString(w, s3Error("InvalidPart"))
				return
			}
			io.WriteString(w, "<CompleteMultipartUploadResult/>")
		case r.Method == "HEAD":
			w.Header().Set("X-Amz-Meta-"+ownID, own)
		}
	}, func(t *testing.T, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(sent) != "map[1:1 2:2 3:1]" {
			t.Errorf("parts sent: %v", sent)
		}
	}, smallParts, WithChecksum(ChecksumMD5))
}

// Parts are sent again only if the gateway says that parts are wrong, and can say
// which: otherwise the upload ends with what it has said.
func TestPartsThatAreNotKnownToBeLost(t *testing.T) {
	data := content(3 * testPart)
	for _, tt := range []struct {
		code string // of the refusal
		list string // what lists the parts
	}{
		{"InvalidPart", s3Error("AccessDenied")},
		{"InvalidRequest", "<ListPartsResult/>"},
	} {
		var sent atomic.Int32
		gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch q := r.URL.Query(); {
			case r.Method == "GET":
				if strings.Contains(tt.list, "AccessDenied") {
					w.WriteHeader(403)
				}
				io.WriteString(w, tt.list)
			case r.Method == "POST" && q.Has("uploads"):
				io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
			case r.Method == "PUT":
				sent.Add(1)
				w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
			case r.Method == "POST":
				w.WriteHeader(400)
				io.WriteString(w, s3Error(tt.code))
			case r.Method == "HEAD":
				w.WriteHeader(404)
			}
		}, func(t *testing.T, c *Client) {
			if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); apiCode(err) != tt.code {
				t.Errorf("%s: got %v", tt.code, err)
			}
			if n := sent.Load(); n != 3 {
				t.Errorf("%s: %d parts were sent", tt.code, n)
			}
		}, smallParts, WithChecksum(ChecksumMD5))
	}
}
