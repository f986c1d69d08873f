package runpod

import (
	"crypto/md5"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		{fact: "an upload answered 200 without ETag or checksum", faults: []runpodtest.Fault{{Times: 2, Do: runpodtest.Answer(200, "")}},
			do: uploadOf("k", 99), requests: 3},
		{fact: "the same for ever", faults: []runpodtest.Fault{{Times: always, Do: runpodtest.Answer(200, "")}},
			do: func(t *testing.T, srv *runpodtest.Server, c *Client) error {
				if err := uploadOf("k", 99)(t, srv, c); attempts(err) != s3Attempts || !strings.Contains(err.Error(), "neither ETag nor checksum") {
					return fmt.Errorf("not that: %w", err)
				}
				return nil
			}, requests: s3Attempts},
		{fact: "a part answered 200 without an ETag", faults: []runpodtest.Fault{{Query: "partNumber", Times: 2, Do: runpodtest.Answer(200, "")}},
			do: uploadOf("k", 3*testPart), requests: 3 + 3 + 2},
		{fact: "a delete answered 404 by somebody else", faults: []runpodtest.Fault{{Method: "DELETE", Do: runpodtest.Answer(404, "<html>no such page</html>")}},
			do: func(t *testing.T, _ *runpodtest.Server, c *Client) error { return c.Delete(t.Context(), "old") }, kind: ErrNotFound},
		{fact: "a delete answered NoSuchBucket", faults: []runpodtest.Fault{{Method: "DELETE", Do: runpodtest.Answer(404, s3Error("NoSuchBucket"))}},
			do:   func(t *testing.T, _ *runpodtest.Server, c *Client) error { return c.Delete(t.Context(), "old") },
			kind: ErrNotFound, says: "RUNPOD_S3_BUCKET_NAME"},
		{fact: "a delete answered NoSuchKey", faults: []runpodtest.Fault{{Method: "DELETE", Do: runpodtest.Answer(404, s3Error("NoSuchKey"))}},
			do: func(t *testing.T, _ *runpodtest.Server, c *Client) error { return c.Delete(t.Context(), "old") }},
		{fact: "a delete answered 200 by a proxy's page", faults: []runpodtest.Fault{{Method: "DELETE", Times: 2, Do: runpodtest.Answer(200, "<html>log in</html>")}},
			do: func(t *testing.T, _ *runpodtest.Server, c *Client) error { return c.Delete(t.Context(), "old") }, requests: 3},
		{fact: "another data center: 307", faults: []runpodtest.Fault{{Times: always, Do: runpodtest.Answer(307, "", "Location", "https://s3api-eu-cz-1.runpod.io/vol/k")}},
			do: uploadOf("k", 99), kind: ErrNotFound, says: "s3api-eu-cz-1.runpod.io/vol/k; the usual cause is another data center", requests: 1},
		{fact: "another data center: 301 with its address in the body", faults: []runpodtest.Fault{{Times: always,
			Do: runpodtest.Answer(301, "<Error><Code>PermanentRedirect</Code><Endpoint>s3api-eu-cz-1.runpod.io</Endpoint></Error>")}},
			do: uploadOf("k", 99), kind: ErrNotFound, says: "s3api-eu-cz-1.runpod.io", requests: 1},
		{fact: "a proxy asks for a password", faults: []runpodtest.Fault{{Times: always, Do: runpodtest.Answer(407, "")}},
			do: uploadOf("k", 99), kind: ErrUnauthorized, says: "proxy", requests: 1},
		{fact: "a listing longer than anything", faults: []runpodtest.Fault{{Query: "list-type", Do: runpodtest.Answer(200, strings.Repeat("x", maxResult+1))}},
			do: func(t *testing.T, _ *runpodtest.Server, c *Client) error {
				_, err := c.DeleteAll(t.Context(), "old")
				return err
			}, kind: ErrTooLarge, requests: 1},
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

// Retry-After is obeyed by transfers too, up to its cap.
func TestGatewaySaysWhen(t *testing.T) {
	for _, status := range []int{429, 503} {
		for after, want := range map[string]time.Duration{"45": 45 * time.Second, "100000": DefaultRetryPolicy().MaxRetryAfter, "soon": 0} {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Do: runpodtest.Answer(status, s3Error("SlowDown"), "Retry-After", after)})
				start := time.Now()
				if err := c.Delete(t.Context(), "k"); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took < want || took > want+DefaultRetryPolicy().Jitter+DefaultRetryPolicy().MaxBackoff {
					t.Errorf("%d with Retry-After %s: sent again after %s", status, after, took)
				}
			})
		}
	}
}

// Every row of the table of S3 attempts, and what is counted in it.
func TestClassifyS3(t *testing.T) {
	again, end := VerdictRetryBackoff, VerdictGiveUp
	for _, c := range []struct {
		name    string
		seen    s3Seen
		verdict Verdict
		kind    error
	}{
		{"input changed", s3Seen{input: errChanged, attempt: 1}, end, ErrIntegrity},
		{"input unreadable", s3Seen{input: errors.New("disk"), attempt: 1}, end, nil},
		{"answer too long", s3Seen{status: 200, err: errTooLong, attempt: 1}, end, ErrTooLarge},
		{"no result", s3Seen{status: 200, err: noResult("empty"), attempt: 9}, again, nil},
		{"no result for the tenth time", s3Seen{status: 200, err: noResult("empty"), attempt: 10}, end, nil},
		{"507", s3Seen{status: 507, attempt: 1}, end, ErrVolumeFull},
		{"QuotaExceeded", s3Seen{status: 403, code: "QuotaExceeded", attempt: 1, forbidden: 1}, end, ErrVolumeFull},
		{"damaged", s3Seen{status: 400, code: "BadDigest", attempt: 2}, again, ErrIntegrity},
		{"damaged for the third time", s3Seen{status: 400, code: "BadDigest", attempt: 3}, end, ErrIntegrity},
		{"clocks", s3Seen{status: 403, code: "RequestTimeTooSkewed", attempt: 3, forbidden: 1}, end, ErrUnauthorized},
		{"token expired", s3Seen{status: 400, code: "ExpiredToken", expired: 1, attempt: 1}, again, ErrUnauthorized},
		{"token expired again", s3Seen{status: 403, code: "ExpiredTokenException", expired: 2, attempt: 2}, end, ErrUnauthorized},
		{"body cut", s3Seen{status: 400, code: "IncompleteBody", attempt: 9}, again, nil},
		{"403", s3Seen{status: 403, forbidden: 3, attempt: 3}, again, ErrUnauthorized},
		{"403 for the fourth time", s3Seen{status: 403, forbidden: 4, attempt: 4}, end, ErrUnauthorized},
		{"403 for the fourth time with a good key", s3Seen{status: 403, forbidden: 4, trusted: true, attempt: 4}, again, ErrUnauthorized},
		{"403 for the tenth time with a good key", s3Seen{status: 403, forbidden: 10, trusted: true, attempt: 10}, end, ErrUnauthorized},
		{"401", s3Seen{status: 401, attempt: 1}, end, ErrUnauthorized},
		{"407", s3Seen{status: 407, attempt: 1}, end, ErrUnauthorized},
		{"404", s3Seen{status: 404, attempt: 1}, end, ErrNotFound},
		{"413", s3Seen{status: 413, attempt: 1}, end, ErrTooLarge},
		{"412", s3Seen{status: 412, attempt: 1}, end, ErrIntegrity},
		{"416", s3Seen{status: 416, attempt: 1}, end, ErrIntegrity},
		{"408", s3Seen{status: 408, attempt: 9}, again, ErrRateLimited},
		{"429", s3Seen{status: 429, attempt: 10}, end, ErrRateLimited},
		{"501", s3Seen{status: 501, attempt: 1}, end, ErrBadRequest},
		{"307", s3Seen{status: 307, attempt: 1}, end, ErrNotFound},
		{"417 to Expect", s3Seen{status: 417, expecting: true, attempt: 1}, again, ErrBadRequest},
		{"417", s3Seen{status: 417, attempt: 1}, end, ErrBadRequest},
		{"400 to Expect", s3Seen{status: 400, expecting: true, attempt: 1}, again, ErrBadRequest},
		{"400 to Expect after another failure", s3Seen{status: 400, expecting: true, attempt: 2}, again, ErrBadRequest},
		{"400", s3Seen{status: 400, attempt: 1}, end, ErrBadRequest},
		{"502", s3Seen{status: 502, attempt: 9}, again, nil},
		{"502 for the tenth time", s3Seen{status: 502, attempt: 10}, end, nil},
		{"200 with an error in it", s3Seen{status: 200, code: "InternalError", attempt: 1}, again, nil},
		{"stalled", s3Seen{err: errStalled, attempt: 9}, again, nil},
		{"lost", s3Seen{err: io.ErrUnexpectedEOF, attempt: 10}, end, nil},
		{"host not found", s3Seen{err: &net.DNSError{IsNotFound: true}, attempt: 2}, again, ErrNotFound},
		{"host not found for the third time", s3Seen{err: &net.DNSError{IsNotFound: true}, attempt: 3}, end, ErrNotFound},
		{"certificate", s3Seen{err: &tls.CertificateVerificationError{Err: errors.New("x")}, attempt: 1}, end, nil},
	} {
		if d := classifyS3(c.seen); d.verdict != c.verdict || d.kind != c.kind || d.reason == "" || d.cause == "" {
			t.Errorf("%s: %+v, want %s of kind %v", c.name, d, c.verdict, c.kind)
		}
	}
}
