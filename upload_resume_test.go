package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// files lists what a folder holds.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// An upload that was cut off is gone on with, by another Client: only what is
// missing, or has changed since, is sent.
func TestResume(t *testing.T) {
	for name, c := range map[string]struct {
		between func(data []byte) []byte // what happens to the file
		most    int                      // parts sent by the second attempt
		kind    Checksum
	}{
		"nothing changed":         {most: 12 - 4},
		"with CRC32C":             {most: 12 - 4, kind: ChecksumCRC32C},
		"the first part changed":  {between: func(b []byte) []byte { b[0]++; return b }, most: 12 - 4 + 1},
		"the file became shorter": {between: func(b []byte) []byte { return b[:11*testPart] }, most: 11},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
				dir := filepath.Join(t.TempDir(), "resume")
				again := func() *Client {
					return newClient(t, srv, smallParts, WithS3Conns(2), WithResumeDir(dir), WithChecksum(c.kind))
				}
				data := content(12 * testPart)
				slow := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
				others := newClient(t, srv, smallParts) // somebody else's unfinished upload of the same key
				k := others.volume.gw.newTask(t.Context(), "others")
				if _, err := createMultipart(t.Context(), &upload{task: k, uploads: others.volume.uploads, key: "k"}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				defer cancel()
				if _, err := again().Upload(ctx, "k", Bytes("k", data)); err == nil {
					t.Fatal("the first attempt was not cut off")
				}
				if got := files(t, dir); len(got) != 1 {
					t.Errorf("the folder holds %v", got)
				}
				slow.Remove()
				parts := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(0)})
				if c.between != nil {
					data = c.between(data)
				}
				cl := again()
				if obj, err := cl.Upload(t.Context(), "k", Bytes("k", data)); err != nil || obj.ETag != multipartETag(data, testPart) {
					t.Errorf("got %+v, %v", obj, err)
				}
				if !bytes.Equal(stored(t, srv, "k"), data) {
					t.Error("stored something else")
				}
				if n := parts.Fired(); n > c.most {
					t.Errorf("%d parts sent, want at most %d", n, c.most)
				}
				if got := files(t, dir); len(got) != 0 {
					t.Errorf("the folder holds %v", got)
				}
				if left := unfinished(t, srv, cl); len(left) != 1 { // the other one's
					t.Errorf("unfinished: %v", left)
				}
			})
		})
	}
}

// cutOffAtTheEnd uploads k, and ends when it is put together and the answer lost.
func cutOffAtTheEnd(t *testing.T, srv *runpodtest.Server, c *Client, data []byte) {
	t.Helper()
	srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "POST", Query: "uploadId", Do: runpodtest.ResetAfterWork().Later(time.Second)})
	srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "HEAD", Do: runpodtest.Delay(time.Hour)})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Upload(ctx, "k", Bytes("k", data)); err == nil {
		t.Fatal("it was not cut off")
	}
}

// A process that dies between the end of an upload and hearing of it finds the
// object there, and does not send it again.
func TestResumeOfWhatHadEnded(t *testing.T) {
	for name, changed := range map[string]bool{"same content": false, "other content": true} {
		t.Run(name, func(t *testing.T) {
			cfg := warm()
			cfg.S3.ForgetsUploads = true
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				data := content(4 * testPart)
				cutOffAtTheEnd(t, srv, c, data)
				if !bytes.Equal(stored(t, srv, "k"), data) || len(files(t, c.config.resumeDir)) != 1 {
					t.Fatal("it had not ended before")
				}
				if changed {
					data[7]++
				}
				parts := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(0)})
				if obj, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil || obj.ETag != multipartETag(data, testPart) {
					t.Errorf("got %+v, %v", obj, err)
				}
				if n := parts.Fired(); n != 0 && !changed || n != 4 && changed {
					t.Errorf("%d parts sent", n)
				}
				if !bytes.Equal(stored(t, srv, "k"), data) || len(files(t, c.config.resumeDir)) != 0 {
					t.Error("stored something else, or the folder is not empty")
				}
			}, smallParts, WithResumeDir(t.TempDir()))
		})
	}
}

// A folder that cannot be written to is named, and nothing is left behind.
func TestResumeDirThatIsNone(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c.volume.uploads.resume.dir = path
		_, err := c.Upload(t.Context(), "k", Bytes("k", content(2*testPart)))
		if e, ok := err.(*Error); !ok || e.Field != "WithResumeDir" {
			t.Errorf("got %v", err)
		}
		if left := unfinished(t, srv, c); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts, WithResumeDir("x"))
}

// While the gateway puts the parts together, after the process that had asked
// for it has died, it knows the upload no more and the object not yet (seen on
// versitygw for several tenths of a second for 1 GB). The next process must not
// send everything again.
func TestResumeOfWhatIsBeingPutTogether(t *testing.T) {
	cfg := warm()
	cfg.S3.ForgetsUploads = true
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		data := content(4 * testPart)
		cutOffAtTheEnd(t, srv, c, data)
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "HEAD", Do: runpodtest.Answer(404, "")}) // not yet
		parts := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(0)})
		if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
			t.Error(err)
		}
		if n := parts.Fired(); n != 0 {
			t.Errorf("%d parts sent again", n)
		}
	}, smallParts, WithResumeDir(t.TempDir()))
}

// What stands in the folder may have been written by a stranger: a file that
// makes no sense is passed over, and the upload begins anew.
func TestResumeFileThatWasTampered(t *testing.T) {
	good := unfinishedUpload{Key: "k", UploadID: "u1", Own: strings.Repeat("A", 26), Size: 4 * testPart, PartSize: testPart}
	for name, change := range map[string]func(u *unfinishedUpload){
		"parts of one byte":         func(u *unfinishedUpload) { u.PartSize = 1 },
		"no parts":                  func(u *unfinishedUpload) { u.PartSize = 0 },
		"negative parts":            func(u *unfinishedUpload) { u.PartSize = -1 },
		"huge parts":                func(u *unfinishedUpload) { u.PartSize = math.MaxInt64 },
		"a negative size":           func(u *unfinishedUpload) { u.Size = -4 * testPart },
		"an id with a line feed":    func(u *unfinishedUpload) { u.UploadID = "u\nx" },
		"a very long id":            func(u *unfinishedUpload) { u.UploadID = strings.Repeat("u", 5000) },
		"no id":                     func(u *unfinishedUpload) { u.UploadID = "" },
		"metadata with a line feed": func(u *unfinishedUpload) { u.Own = strings.Repeat("A", 25) + "\n" },
		"another key":               func(u *unfinishedUpload) { u.Key = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				u := good
				change(&u)
				r := c.volume.uploads.resume.claim("k")
				if err := r.save(u); err != nil {
					t.Fatal(err)
				}
				if got, err := r.load("k"); got != nil || err == nil {
					t.Fatalf("it is taken for %+v", got)
				}
				r.unclaim()
				data := content(4 * testPart)
				if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil || !bytes.Equal(stored(t, srv, "k"), data) {
					t.Errorf("got %v", err)
				}
				if left := append(unfinished(t, srv, c), files(t, c.volume.uploads.resume.dir)...); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}, smallParts, WithResumeDir(t.TempDir()))
		})
	}
}

// A file of any length, or of another content, is no reason to read it all.
func TestResumeFileIsPrivateAndSmall(t *testing.T) {
	dir := newResumeDir(t.TempDir(), "store")
	r := dir.claim("k")
	if err := r.save(unfinishedUpload{Key: "k", UploadID: "u", Own: strings.Repeat("A", 26), Size: 10, PartSize: 10}); err != nil {
		t.Fatal(err)
	}
	if u, err := r.load("k"); u == nil || err != nil {
		t.Fatal("it is not read back", err)
	}
	info, err := os.Stat(r.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	data, _ := os.ReadFile(r.path)
	os.WriteFile(r.path, append(bytes.Repeat([]byte(" "), maxResumeFile), data...), 0o600)
	if u, _ := r.load("k"); u != nil {
		t.Error("more than its limit was read")
	}
	if err := errors.Join(os.Remove(r.path), os.Mkdir(r.path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.load("k"); err == nil || errors.Is(err, errOddFile) {
		t.Errorf("a folder in its place: %v, want what the system says", err)
	}
}

// An upload of other checksums is not gone on with: its parts have no CRC32C.
func TestResumeWithAnotherChecksum(t *testing.T) {
	u := unfinishedUpload{Size: 10, Checksum: ChecksumMD5}
	if u.continues(10, ChecksumCRC32C) || u.continues(11, ChecksumMD5) || !u.continues(10, ChecksumMD5) {
		t.Error("what does not fit is gone on with")
	}
}

// An object of the same size and content that somebody else has stored is not
// what became of an unfinished upload.
func TestResumeFindsSomebodyElsesObject(t *testing.T) {
	data := content(2 * testPart)
	var parts atomic.Int64
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch q := r.URL.Query(); {
		case r.Method == "GET" && q.Has("uploadId"):
			w.WriteHeader(404)
			io.WriteString(w, s3Error("NoSuchUpload"))
		case r.Method == "POST" && q.Has("uploads"):
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u2</UploadId></InitiateMultipartUploadResult>")
		case r.Method == "PUT":
			parts.Add(1)
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
		case r.Method == "POST":
			w.WriteHeader(400)
		case r.Method == "HEAD":
			w.Header().Set("X-Amz-Meta-"+ownID, strings.Repeat("B", 26))
			w.Header().Set("ETag", `"`+multipartETag(data, testPart)+`"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		}
	}, func(t *testing.T, c *Client) {
		r := c.volume.uploads.resume.claim("k")
		if err := r.save(unfinishedUpload{Key: "k", UploadID: "u1", Own: strings.Repeat("A", 26), Size: 2 * testPart, PartSize: testPart, Checksum: ChecksumMD5}); err != nil {
			t.Fatal(err)
		}
		r.unclaim()
		c.Upload(t.Context(), "k", Bytes("k", data))
		if n := parts.Load(); n != 2 {
			t.Errorf("%d parts sent", n)
		}
	}, smallParts, WithResumeDir(t.TempDir()), WithChecksum(ChecksumMD5))
}

// Of two uploads of one key at once, only the first has the resume file.
func TestResumeFileHasOneUpload(t *testing.T) {
	dir := newResumeDir(t.TempDir(), "store")
	first := dir.claim("k")
	if first == nil || dir.claim("k") != nil || dir.claim("other") == nil {
		t.Fatal("two uploads share a file, or two keys do")
	}
	first.unclaim()
	if dir.claim("k") == nil {
		t.Error("the file was not given back")
	}
}

// FuzzResumeFile: whatever stands in a resume file, the upload that is gone on
// with has as many parts as the gateway takes, and ids that fit into a header.
func FuzzResumeFile(f *testing.F) {
	good, err := json.Marshal(unfinishedUpload{Store: "store", Key: "k", UploadID: "u1", Own: strings.Repeat("A", 26), Size: 4 * testPart, PartSize: testPart})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"u1"`), []byte(`"u\n1"`), 1))
	f.Add([]byte(`{"Store":"store","Key":"k","UploadID":"u","Own":"AAAAAAAAAAAAAAAAAAAAAAAAAA","Size":9223372036854775807,"PartSize":1}`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	dir := newResumeDir(f.TempDir(), "store")
	r := dir.claim("k")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(r.path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := r.load("k")
		if u == nil {
			if err == nil {
				t.Error("a file that is there counts as none")
			}
			return
		}
		if u.Key != "k" || u.Size < 1 || u.Size > maxObject || u.PartSize < 1 || ceilDiv(u.Size, u.PartSize) > maxParts {
			t.Errorf("%q is taken: %+v", text, u)
		}
		if strings.ContainsFunc(u.UploadID+u.Own, func(c rune) bool { return c < '!' || c > '~' }) || len(u.UploadID) > 1000 || len(u.Own) > 40 {
			t.Errorf("%q is taken with the ids %q and %q", text, u.UploadID, u.Own)
		}
	})
}
