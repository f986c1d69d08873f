package runpod

import (
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// What the caller gets for every habit of the gateway, by the fact's name.
func TestGateway(t *testing.T) {
	type habits = runpodtest.S3Habits
	always := runpodtest.Always
	for _, c := range []struct {
		fact     string
		habits   habits
		faults   []runpodtest.Fault
		do       func(*testing.T, *runpodtest.Server, *Client) error
		kind     error  // nil: it succeeds
		says     string // in the error
		requests int64  // at most; 0: not counted
		opts     []Option
	}{
		{fact: "16 at once: a third is refused with 403, 6 at once: none", habits: habits{TransientAbove: 6},
			do: manyUploads(150), opts: []Option{WithS3Conns(16)}},
		{fact: "a wrong key ends after a few 403s with the gateway's words", do: uploadOf("k", 99), kind: ErrUnauthorized,
			says: "InvalidAccessKeyId", requests: s3Forbidden, opts: []Option{WithS3Credentials("user_wrong", "rps_wrong")}},
		{fact: "a third of everything meets 502, 503, 520, 524 or 530", habits: habits{ErrorRate: 0.33}, do: manyUploads(60)},
		{fact: "503 SlowDown", faults: []runpodtest.Fault{{Times: 4, Do: runpodtest.Answer(503, s3Error("SlowDown"))}},
			do: uploadOf("k", 6*testPart), requests: 8 + 4 + 1},
		{fact: "HEAD meets a 403: one more look", faults: []runpodtest.Fault{{Method: "HEAD", Do: runpodtest.Answer(403, "")}},
			do: uploadOf("k", 99), requests: 3, opts: []Option{WithSkipExisting()}},
		{fact: "CompleteMultipartUpload answers 524 although it succeeds", habits: habits{LateComplete: true},
			do: uploadOf("k", 2*testPart), requests: 5},
		{fact: "the same, and NoSuchUpload when asked again", habits: habits{LateComplete: true, ForgetsUploads: true},
			do: uploadOf("k", 2*testPart), requests: 5},
		{fact: "CompleteMultipartUpload answers 200 with an error in it", do: uploadOf("k", 2*testPart), requests: 7,
			faults: []runpodtest.Fault{{Method: "POST", Query: "uploadId", Do: runpodtest.Answer(200, s3Error("InternalError"))}}},
		{fact: "a part is lost after it was taken", do: uploadOf("k", 4*testPart), requests: 4 + 1 + 2 + 2 + 1,
			faults: []runpodtest.Fault{{Query: "partNumber", Match: func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" },
				Do: runpodtest.Answer(200, "", "ETag", etagOfPart(content(4*testPart), 2))}}},
		{fact: "parts above some size meet 413", habits: habits{PartLimit: testPart - 1}, do: uploadOf("k", 2*testPart),
			kind: ErrTooLarge, says: "WithPartSize"},
		{fact: "507: the volume is full, stop at once", habits: habits{VolumeSize: 1000}, do: uploadOf("k", 2000),
			kind: ErrVolumeFull, says: "enlarge", requests: 1},
		{fact: "QuotaExceeded: the same", habits: habits{VolumeSize: 1000, QuotaError: true}, do: uploadOf("k", 2000),
			kind: ErrVolumeFull, says: "QuotaExceeded", requests: 1},
		{fact: "the volume fills up among the parts", habits: habits{VolumeSize: 3 * testPart}, do: uploadOf("k", 20*testPart),
			kind: ErrVolumeFull},
		{fact: "RequestTimeTooSkewed names the clock", do: uploadOf("k", 99), kind: ErrUnauthorized, says: "behind the gateway's",
			faults: []runpodtest.Fault{{Times: always, Do: runpodtest.Answer(403, s3Error("RequestTimeTooSkewed"), "Date", "Sat, 01 Jan 2000 02:00:00 GMT")}}},
		{fact: "Last-Modified ends in UTC", habits: habits{UTCDates: true}, do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
			path := filepath.Join(t.TempDir(), "f")
			_, err := c.DownloadFile(t.Context(), "old", path)
			return errors.Join(err, uploadOf("old", 99)(t, srv, c), uploadOf("old", 2*testPart)(t, srv, c))
		}, opts: []Option{WithSkipExisting()}},
		{fact: "names of 255 bytes, #, =, +, %, spaces, umlauts, emoji", do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
			var errs []error
			for _, key := range []string{"a b", "#", "a=b&c?d", "1+1", "100%", "%41", "ü/ö/ß", "😀", strings.Repeat("n", 255), "~!$'()*,;:@[]{}|^`\"\\<>"} {
				errs = append(errs, uploadOf(key, 10)(t, srv, c), uploadOf(key, 2*testPart)(t, srv, c))
				if _, err := c.Download(t.Context(), key, io.Discard); err != nil {
					errs = append(errs, err)
				}
				found := false
				for obj, err := range c.List(t.Context(), key) {
					found = found || err == nil && obj.Key == key
				}
				if !found {
					errs = append(errs, fmt.Errorf("%q is not listed", key))
				}
				errs = append(errs, c.Delete(t.Context(), key))
			}
			return errors.Join(errs...)
		}},
		{fact: "objects are deleted one by one", do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
			n, err := c.DeleteAll(t.Context(), "old")
			if n != 1 {
				err = fmt.Errorf("%d deleted, %v", n, err)
			}
			return err
		}, requests: 2},
		{fact: "a file that a worker wrote has no MD5, or an old one", do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
			if err := uploadOf("old", 99)(t, srv, c); err != nil {
				return err
			}
			put(t, srv, "old", content(5*testPart))
			_, err := c.DownloadFile(t.Context(), "old", filepath.Join(t.TempDir(), "f"))
			return err
		}},
		{fact: "stalls in the middle of an answer", do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
			_, err := c.Download(t.Context(), "old", io.Discard)
			return err
		}, faults: []runpodtest.Fault{{Method: "GET", Times: 2, Do: runpodtest.StallReply(10)}}, requests: 3},
	} {
		t.Run(c.fact, func(t *testing.T) {
			cfg := warm()
			cfg.S3 = c.habits
			opts := append([]Option{smallParts, WithS3Conns(4)}, c.opts...)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, cl *Client) {
				put(t, srv, "old", []byte("what was there before"))
				for _, f := range c.faults {
					f.On = runpodtest.OnS3
					srv.Fault(f)
				}
				err := c.do(t, srv, cl)
				n := cl.Stats().S3Attempts
				switch {
				case c.kind == nil && err != nil, !errors.Is(err, c.kind):
					t.Errorf("got %v, want %v", err, c.kind)
				case err != nil && !strings.Contains(err.Error(), c.says):
					t.Errorf("the error does not say %q: %v", c.says, err)
				}
				if c.requests > 0 && n > c.requests {
					t.Errorf("%d requests, want at most %d", n, c.requests)
				}
				t.Logf("%d requests, error: %v", n, err)
			}, opts...)
		})
	}
}

func etagOfPart(data []byte, number int) string {
	return fmt.Sprintf("\"%x\"", md5.Sum(data[(number-1)*testPart:number*testPart]))
}
