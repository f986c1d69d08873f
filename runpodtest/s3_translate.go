package runpodtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/rclone/gofakes3"
)

// localise changes a verified request into what gofakes3 and folder expect.
func localise(r *http.Request, key string, f *folder) {
	h := r.Header
	if decoded := h.Get("X-Amz-Decoded-Content-Length"); r.ContentLength < 0 && decoded != "" {
		h.Set("Content-Length", decoded) // the AWS clients' newest send parts in chunks
	}
	dropEmpty(r.URL, "delimiter", "marker", "continuation-token", "start-after", "max-keys")
	if tag := h.Get("If-Range"); tag != "" && !f.isCurrent(key, tag) {
		h.Del("Range") // the object has changed: all of it
	}
	for _, name := range []string{"If-Match", "If-None-Match", "X-Amz-Copy-Source-If-Match", "X-Amz-Copy-Source-If-None-Match"} {
		if list := h.Get(name); list != "" && list != "*" {
			h.Set(name, markTags(list))
		}
	}
	if sum := h.Get("X-Amz-Content-Sha256"); len(sum) == 2*sha256.Size && r.ContentLength > 0 {
		r.Body = &sha256Reader{ReadCloser: r.Body, want: sum, left: r.ContentLength, hash: sha256.New()}
	}
}

// dropEmpty removes query parameters without a value, which S3 reads as absent.
func dropEmpty(u *url.URL, names ...string) {
	q := u.Query()
	for _, name := range names {
		if q.Has(name) && q.Get(name) == "" {
			q.Del(name)
		}
	}
	u.RawQuery = q.Encode()
}

// markTags rewrites a list of ETags as gofakes3 knows them: see etagMark.
func markTags(list string) string {
	var out []string
	for _, tag := range strings.Split(list, ",") {
		tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		out = append(out, `"`+hex.EncodeToString([]byte(etagMark+tag))+`"`)
	}
	return strings.Join(out, ", ")
}

// s3Writer gives answers their true ETag, the gateway's dates, and S3's words for
// errors.
type s3Writer struct {
	http.ResponseWriter
	utc    bool
	status int
	fault  []byte // the body of an error, kept until finish
}

// WriteHeader puts the header right and sends it.
func (w *s3Writer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	h := w.Header()
	raw, err := hex.DecodeString(strings.Trim(h.Get("ETag"), `"`))
	if tag, ok := strings.CutPrefix(string(raw), etagMark); err == nil && ok {
		h.Set("ETag", `"`+tag+`"`)
	}
	if date := h.Get("Last-Modified"); w.utc && date != "" {
		h.Set("Last-Modified", strings.TrimSuffix(date, "GMT")+"UTC")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *s3Writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.status >= http.StatusBadRequest {
		w.fault = append(w.fault, p...)
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// finish ends an answer: with status 200 if nothing was written, with the missing
// message of an error.
func (w *s3Writer) finish() {
	w.WriteHeader(http.StatusOK)
	if len(w.fault) > 0 {
		w.ResponseWriter.Write(withMessage(w.fault))
	}
}

// withMessage puts S3's words into an error that has none.
func withMessage(fault []byte) []byte {
	const end = "</Code>"
	head, tail, ok := strings.Cut(string(fault), end)
	_, code, _ := strings.Cut(head, "<Code>")
	text := s3Messages[code]
	if !ok || text == "" {
		return fault
	}
	tail = strings.Replace(tail, "<Message>"+code+"</Message>", "", 1)
	if strings.Contains(tail, "<Message>") {
		return fault
	}
	return []byte(head + end + "<Message>" + text + "</Message>" + tail)
}

// s3Messages are S3's words for errors to which gofakes3 gives none. Clients show
// them, and some decide by them.
var s3Messages = map[string]string{
	"NoSuchKey":             "The specified key does not exist.",
	"NoSuchUpload":          "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
	"NoSuchBucket":          "The specified bucket does not exist",
	"InvalidRange":          "The requested range is not satisfiable",
	"InvalidPart":           "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
	"InvalidPartOrder":      "The list of parts was not in ascending order. Parts must be ordered by part number.",
	"InvalidArgument":       "Invalid Argument",
	"InvalidDigest":         "The Content-MD5 you specified was invalid.",
	"BadDigest":             "The Content-MD5 or checksum value that you specified did not match what the server received.",
	"IncompleteBody":        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
	"EntityTooLarge":        "Your proposed upload exceeds the maximum allowed size",
	"KeyTooLongError":       "Your key is too long",
	"MalformedXML":          "The XML you provided was not well-formed or did not validate against our published schema",
	"MethodNotAllowed":      "The specified method is not allowed against this resource.",
	"MissingContentLength":  "You must provide the Content-Length HTTP header.",
	"NotImplemented":        "A header you provided implies functionality that is not implemented",
	"PreconditionFailed":    "At least one of the pre-conditions you specified did not hold",
	"RequestTimeTooSkewed":  "The difference between the request time and the server's time is too large.",
	"InternalError":         "We encountered an internal error. Please try again.",
	"SignatureDoesNotMatch": "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
}

// sha256Reader fails at the end of a body that is not what was signed.
type sha256Reader struct {
	io.ReadCloser
	want string
	left int64
	hash hash.Hash
}

func (r *sha256Reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.hash.Write(p[:n])
	r.left -= int64(n)
	if r.left <= 0 && (err == nil || errors.Is(err, io.EOF)) && hex.EncodeToString(r.hash.Sum(nil)) != r.want {
		return n, newS3Error(gofakes3.ErrInvalidRequest, "XAmzContentSHA256Mismatch",
			"the body is not the one whose SHA-256 was signed")
	}
	return n, err
}
