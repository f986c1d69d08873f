package runpodtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/rclone/gofakes3"
)

// localise changes a verified request into what gofakes3 and folder expect.
func localise(r *http.Request, key string, f *folder) {
	h := r.Header
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

// markTags rewrites a list of ETags as gofakes3 knows them: see etagMark.
func markTags(list string) string {
	var out []string
	for _, tag := range strings.Split(list, ",") {
		tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		out = append(out, `"`+hex.EncodeToString([]byte(etagMark+tag))+`"`)
	}
	return strings.Join(out, ", ")
}

// s3Writer gives answers their true ETag, and the gateway's dates.
type s3Writer struct {
	http.ResponseWriter
	utc    bool
	status int
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
	return w.ResponseWriter.Write(p)
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
