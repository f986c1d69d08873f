package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gpuburst/runpod-go/internal/redact"
)

// A 2xx is a success only if it is the result that was asked for.
func TestAnswerThatIsNotTheResult(t *testing.T) {
	etag := http.Header{"Etag": {`"e"`}}
	for _, c := range []struct {
		op   string
		h    http.Header
		body string
		says string // in the error; "": it is the result
	}{
		{"ListObjectsV2", nil, "", "empty"},
		{"ListObjectsV2", nil, "  \n", "empty"},
		{"ListObjectsV2", nil, "<html><body>It works!</body></html>", "html"},
		{"ListObjectsV2", nil, "<ListBucketResult><Contents><Key>a</Key>", "XML"},
		{"ListObjectsV2", nil, `{"keys":[]}`, "empty"},
		{"ListObjectsV2", nil, "<ListBucketResult><Contents><Key>a\x01</Key></Contents></ListBucketResult>", "illegal character"},
		{"ListObjectsV2", nil, "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>", "the key"},
		{"ListObjectsV2", nil, "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>", "the size"},
		{"ListObjectsV2", nil, "<ListBucketResult><Contents><Key>a</Key><Size>9223372036854775808</Size></Contents></ListBucketResult>", "the size"},
		{"ListObjectsV2", nil, "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></ListBucketResult>", "URL-encoded"},
		{"ListObjectsV2", nil, "<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>", "IsTruncated"},
		{"ListObjectsV2", nil, "<ListBucketResult/>", ""},
		{"ListParts", nil, "", "empty"},
		{"ListParts", nil, "<ListBucketResult/>", "ListPartsResult"},
		{"ListParts", nil, "<ListPartsResult><Part><PartNumber>10001</PartNumber></Part></ListPartsResult>", "part"},
		{"ListParts", nil, "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>-5</Size></Part></ListPartsResult>", "part"},
		{"ListParts", nil, "<ListPartsResult/>", ""},
		{"CreateMultipartUpload", nil, "", "empty"},
		{"CreateMultipartUpload", nil, "<InitiateMultipartUploadResult/>", "no id"},
		{"CreateMultipartUpload", nil, "<InitiateMultipartUpload><UploadId>u</UploadId></InitiateMultipartUpload>", ""},
		{"CompleteMultipartUpload", nil, "", "empty"},
		{"CompleteMultipartUpload", nil, "<p/>", "CompleteMultipartUploadResult"},
		{"CompleteMultipartUpload", nil, "\n \n<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult/>", ""},
		{"PutObject", nil, "", "neither ETag nor checksum"},
		{"PutObject", etag, "", ""},
		{"PutObject", http.Header{"X-Amz-Checksum-Crc32c": {"AAAAAA=="}}, "", ""},
		{"UploadPart", http.Header{"X-Amz-Checksum-Crc32c": {"AAAAAA=="}}, "", "no ETag"},
		{"UploadPart", etag, "", ""},
		{"DeleteObject", nil, "<html>log in</html>", "a body"},
		{"DeleteObject", nil, "0", "a body"},
		{"DeleteObject", nil, "\r\n", ""},
		{"AbortMultipartUpload", nil, "<html>log in</html>", "a body"},
		{"HeadObject", http.Header{"Content-Type": {"text/html"}, "Content-Length": {"10"}}, "", "headers"},
		{"HeadObject", http.Header{"Last-Modified": {"whenever"}}, "", ""},
	} {
		_, err := resultOf[c.op](c.h, []byte(c.body))
		if _, odd := errors.AsType[*noResultError](err); (err != nil) != (c.says != "") || err != nil && (!odd || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s, %q: got %v, want one that says %q", c.op, c.body, err, c.says)
		}
	}
	for _, h := range []http.Header{{}, {"Content-Type": {"text/html"}}} {
		if _, err := getResult(200, h, 10, http.NoBody); err == nil {
			t.Errorf("GetObject with %v is taken for an object", h)
		}
	}
	if _, err := getResult(206, http.Header{"Etag": {"e"}}, 10, http.NoBody); err == nil {
		t.Error("a 206 without a Content-Range is taken for an object")
	}
	if _, err := getResult(204, http.Header{"Etag": {"e"}}, 0, http.NoBody); err == nil {
		t.Error("a 204 is taken for an object")
	}
}

// An error within a 200 is read as one.
func TestErrorWithinAnAnswerOf200(t *testing.T) {
	for op, read := range resultOf {
		if !strings.Contains(op, "List") && !strings.Contains(op, "Create") && !strings.Contains(op, "Complete") {
			continue
		}
		if _, err := read(nil, []byte(s3Error("InternalError"))); !errors.Is(err, errErrorInside) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// Fields that nobody here uses fail no answer.
func TestAnswerWithOddFields(t *testing.T) {
	out, err := resultOf["ListObjectsV2"](nil, []byte(`<ListBucketResult><KeyCount>many</KeyCount><MaxKeys>-1</MaxKeys>
		<Contents><Key>a</Key><Size>3</Size><LastModified>yesterday</LastModified><StorageClass>☃</StorageClass><Owner>1</Owner></Contents>
		<Contents><Key>b</Key><LastModified>2026-11-25T10:00:00.000Z</LastModified></Contents></ListBucketResult>`))
	if err != nil {
		t.Fatal(err)
	}
	got := out.(*s3.ListObjectsV2Output).Contents
	if len(got) != 2 || *got[0].Key != "a" || *got[0].Size != 3 || got[0].LastModified != nil || got[1].LastModified == nil {
		t.Errorf("got %+v", got)
	}
	odd := http.Header{"Etag": {`"e"`}, "Last-Modified": {"25.11.2026"}, "Expires": {"never"}, "X-Amz-Mp-Parts-Count": {"several"},
		"X-Amz-Missing-Meta": {"?"}, "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": {"perhaps"}, "Content-Length": {"abc"}, "X-Amz-Meta-Runpod-Go-Upload": {"own"}}
	head, err := headResult(odd, nil)
	if err != nil || head.(*s3.HeadObjectOutput).ContentLength != nil || head.(*s3.HeadObjectOutput).Metadata[ownID] != "own" {
		t.Errorf("got %+v, %v", head, err)
	}
	for _, op := range []string{"PutObject", "UploadPart"} {
		if _, err := resultOf[op](odd, nil); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	if _, err := getResult(200, odd, -1, http.NoBody); err != nil {
		t.Errorf("GetObject: %v", err)
	}
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string]byteRange{
		"bytes 0-9/10":    {0, 9, 10},
		"bytes 5-9/*":     {5, 9, -1},
		"bytes */0":       {0, -1, 0},
		"bytes 7-7/99999": {7, 7, 99999},
	} {
		if got, err := parseContentRange(s); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "bytes", "bytes 0-9", "bytes 9-0/10", "bytes 0-10/10", "bytes -1-5/10", "bytes 0-9/-1", "items 0-9/10",
		"bytes 0-9/9223372036854775807", "bytes 0-9223372036854775806/*", "bytes 0-9/9223372036854775808", "bytes */10", "bytes 0-/10", "bytes 0x0-9/10"} {
		if got, err := parseContentRange(s); err == nil {
			t.Errorf("%q is taken for %+v", s, got)
		}
	}
}

// What a gateway says is data: capped, on one line, and without what it was sent.
func TestRefusalIsText(t *testing.T) {
	long := strings.Repeat("x", 9<<20)
	r := parseRefusal(403, nil, []byte("<Error><Code>Access\nDenied\x1b[31m</Code><Message>key rps_secret, "+long+"</Message></Error>"), redact.New("rps_secret"))
	if r.code != "" || len(r.Error()) > 400 || strings.Contains(r.Error(), "rps_secret") || strings.ContainsAny(r.Error(), "\n\x1b") {
		t.Errorf("got %.500q", r.Error())
	}
	r = parseRefusal(404, nil, []byte("<Error><Code>NoSuchKey</Code><Message>not here</Message><Nested>"+strings.Repeat("<a>", 1000)), nil)
	if r.code != "NoSuchKey" || r.Error() != "NoSuchKey: not here" {
		t.Errorf("of an answer that breaks off: %q", r.Error())
	}
	r = parseRefusal(502, nil, []byte("<html><h1>Bad gateway</h1></html>"), nil)
	if r.code != "" || !strings.Contains(r.Error(), "502 Bad Gateway") {
		t.Errorf("got %q", r.Error())
	}
	r = parseRefusal(307, http.Header{"Location": {"https://s3api-eu-cz-1.runpod.io/b"}}, nil, nil)
	if !strings.Contains(r.Error(), "https://s3api-eu-cz-1.runpod.io/b") {
		t.Errorf("a redirect does not say where to: %q", r.Error())
	}
	r = parseRefusal(301, nil, []byte("<Error><Code>PermanentRedirect</Code><Endpoint>s3api-eu-cz-1.runpod.io</Endpoint></Error>"), nil)
	if !strings.Contains(r.Error(), "sends to s3api-eu-cz-1.runpod.io") {
		t.Errorf("a redirect does not say where to: %q", r.Error())
	}
}

// endless is a body that never ends, of as many bytes as are read.
type endless struct{ closed chan struct{} }

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
		return copy(p, strings.Repeat("<a>", len(p)/3+1)), nil
	}
}

func (e *endless) Close() error {
	select {
	case <-e.closed:
	default:
		close(e.closed)
	}
	return nil
}

func TestAnswersAreBounded(t *testing.T) {
	if data, err := readAnswer(404, &endless{make(chan struct{})}); err != nil || len(data) > maxRefusal {
		t.Errorf("a refusal: %d bytes, %v", len(data), err)
	}
	if _, err := readAnswer(200, &endless{make(chan struct{})}); !errors.Is(err, errTooLong) {
		t.Errorf("a result: %v", err)
	}
}

// Whatever answers without an end, or slowly, an operation ends with its context
// and gives its place back.
func TestAnswerWithoutEndHoldsNothing(t *testing.T) {
	trickle := func(status int, pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.WriteHeader(status)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "<a>"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(pause)
			}
		}
	}
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, c *Client) error
	}{
		{"list", func(ctx context.Context, c *Client) (err error) {
			for _, err = range c.List(ctx, "") {
			}
			return err
		}},
		{"delete", func(ctx context.Context, c *Client) error { return c.Delete(ctx, "k") }},
		{"upload", func(ctx context.Context, c *Client) error {
			_, err := c.Upload(ctx, "k", Bytes("k", []byte("k")))
			return err
		}},
		{"download", func(ctx context.Context, c *Client) error {
			_, err := c.Download(ctx, "k", io.Discard)
			return err
		}},
	} {
		for _, status := range []int{200, 404, 503} {
			t.Run(fmt.Sprint(c.name, status), func(t *testing.T) {
				gatewayBubble(t, trickle(status, 100*time.Millisecond), func(t *testing.T, cl *Client) {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					start := time.Now()
					if err := c.do(ctx, cl); err == nil {
						t.Error("it succeeded")
					}
					if took := time.Since(start); took > 30*time.Second {
						t.Errorf("back after %s", took)
					}
					if held, _, waiting := cl.volume.gw.pool.Counts(); held+waiting != 0 {
						t.Errorf("%d places held, %d waited for", held, waiting)
					}
				})
			})
		}
	}
}

// One byte each 100 ms is no answer.
func TestAnswerThatTrickles(t *testing.T) {
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e"`)
		for range 10_000_000 {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		var got int
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		c.Download(ctx, "k", writerFunc(func(p []byte) (int, error) { got += len(p); return len(p), nil }))
		if n := c.Stats().S3Attempts; n < 4 {
			t.Errorf("%d attempts in %s, %d bytes: the first one was never ended", n, time.Since(start), got)
		}
	})
}

func FuzzListResult(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><Contents><Key>a%0Ab</Key><Size>1</Size></Contents></ListBucketResult>`))
	f.Add([]byte(s3Error("NoSuchKey")))
	f.Fuzz(func(t *testing.T, body []byte) {
		for op, read := range resultOf {
			out, err := read(http.Header{}, body)
			if list, ok := out.(*s3.ListObjectsV2Output); ok && err == nil && op == "ListObjectsV2" {
				for _, o := range list.Contents {
					if *o.Key == "" || *o.Size < 0 || *o.Size > maxStored {
						t.Fatalf("%+v", o)
					}
				}
			}
			if err != nil && len(err.Error()) > 500 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
		}
		if r := parseRefusal(400, nil, body, redact.New("secret")); len(r.Error()) > 500 || strings.Contains(r.Error(), "secret") {
			t.Fatalf("%q", r.Error())
		}
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes */0")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseContentRange(s)
		if err == nil && (r.from < 0 || r.to < -1 || r.total > maxStored || r.total >= 0 && r.to >= max(r.total, 0) && r.total > 0) {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

// An object of no bytes has a known length, and a listing's size that is missing
// is 0.
func TestAnswersOfNoBytes(t *testing.T) {
	h := http.Header{"Etag": {`"e"`}, "Last-Modified": {"whenever"}}
	for _, length := range []int64{0, 7, -1} {
		out, err := getResult(200, h, length, http.NoBody)
		if err != nil || (out.ContentLength != nil) != (length >= 0) || length >= 0 && *out.ContentLength != length {
			t.Errorf("%d: %+v, %v", length, out, err)
		}
	}
	if n, err := parseSize(""); n != 0 || err != nil {
		t.Errorf("no size: %d, %v", n, err)
	}
}
