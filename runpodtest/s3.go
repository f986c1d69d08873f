package runpodtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/signature"
)

// volume is the network volume's S3 gateway: signatures, faults and habits here,
// the protocol in gofakes3, the files in folder.
type volume struct {
	cfg    *Config
	folder *folder
	inner  http.Handler // gofakes3, which sees only verified requests
	faults *faultList
	ledger *ledger
	gate   *gate
	keys   map[string]string // access key id to secret

	mu        sync.Mutex
	number    int // of requests
	inFlight  int
	completed map[string]bool // upload ids
}

func newVolume(cfg *Config, f *folder, l *ledger, faults *faultList, keys map[string]string) *volume {
	v := &volume{cfg: cfg, folder: f, faults: faults, ledger: l, keys: keys, completed: map[string]bool{}}
	v.inner = gofakes3.New(f, gofakes3.WithTimeSkewLimit(0)).Server()
	v.prime()
	return v
}

// prime makes gofakes3 list no uploads, rather than fail, before there were any.
func (v *volume) prime() {
	target := "/" + v.folder.bucket + "/prime?uploads"
	rec := httptest.NewRecorder()
	v.inner.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, target, nil))
	var made struct {
		UploadId string
	}
	xml.Unmarshal(rec.Body.Bytes(), &made)
	target = "/" + v.folder.bucket + "/prime?uploadId=" + url.QueryEscape(made.UploadId)
	v.inner.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, target, nil))
}

// s3Call is one request to the gateway.
type s3Call struct {
	w    http.ResponseWriter
	r    *http.Request
	conn *servedConn
	key  string // "" for the bucket itself
	act  Action
	n    int // its number
	many int // requests under way, itself included
}

// ServeHTTP takes a request past the faults, the check of its signature and the
// gateway's habits.
func (v *volume) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c := &s3Call{r: r, conn: connOf(r.Context()), key: key}
	v.enter(c)
	defer v.leave()
	c.act = v.faults.forRequest(OnS3, r, key)
	if c.act.at != whileReply && v.cfg.S3.BytesPerSecond > 0 && r.Method == http.MethodGet {
		c.w = SlowReply(v.cfg.S3.BytesPerSecond).shape(w, r.Context(), c.conn, v.cfg.Speed)
	} else {
		c.w = c.act.shape(w, r.Context(), c.conn, v.cfg.Speed)
	}
	if !sleep(r.Context(), v.cfg.real(c.act.delay)) {
		return
	}
	switch c.act.at {
	case atArrival, atWorker: // there is no worker here: the gateway answers
		c.act.perform(c.w, c.conn)
	case atRead:
		io.Copy(io.Discard, r.Body)
		abort(c.conn)
	case afterWork:
		v.serve(c, discard{http.Header{}})
		c.act.perform(c.w, c.conn)
	default:
		v.serve(c, c.w)
	}
}

// enter counts a request in.
func (v *volume) enter(c *s3Call) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.number++
	v.inFlight++
	c.n, c.many = v.number, v.inFlight
	v.ledger.note(func() { v.ledger.s3++ })
}

func (v *volume) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inFlight--
}

// serve answers a request as the gateway does.
func (v *volume) serve(c *s3Call, w http.ResponseWriter) {
	if r := c.refusal(v); r != nil {
		r.write(w, c.r)
		return
	}
	v.localise(c)
	out := &s3Writer{ResponseWriter: w, utc: v.cfg.S3.UTCDates}
	if !v.isComplete(c.r) {
		v.inner.ServeHTTP(out, c.r)
		out.WriteHeader(http.StatusOK) // if nothing was written
		return
	}
	v.complete(c, out)
}

// complete finishes a multipart upload, with what habits there are.
func (v *volume) complete(c *s3Call, out *s3Writer) {
	w := out.ResponseWriter
	if v.cfg.S3.LateComplete {
		out.ResponseWriter = discard{http.Header{}}
	}
	v.inner.ServeHTTP(out, c.r)
	if out.status < 300 {
		v.mu.Lock()
		v.completed[c.r.URL.Query().Get("uploadId")] = true
		v.mu.Unlock()
	}
	if v.cfg.S3.LateComplete {
		(&s3Refusal{status: 524}).write(w, c.r)
	}
}

func (v *volume) isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// s3Refusal is an answer of the gateway itself. Without a code it has no S3 body,
// as the answers of the network in front of the gateway.
type s3Refusal struct {
	status        int
	code, message string
}

func (e *s3Refusal) write(w http.ResponseWriter, r *http.Request) {
	if e.code == "" {
		writeText(w, e.status, fmt.Sprintf("error code: %d", e.status))
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method == http.MethodHead {
		return
	}
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
		Resource      string
	}{Code: e.code, Message: e.message, Resource: r.URL.Path})
}

// refusal says why a request is not served, or nil.
func (c *s3Call) refusal(v *volume) *s3Refusal {
	q := c.r.URL.Query()
	if q.Has("X-Amz-Signature") {
		return notImplemented("presigned URLs are not supported")
	}
	if r := v.cfg.S3.transient(v.cfg.Seed, c.n, c.many); r != nil {
		return r
	}
	if code := signature.V4SignVerifyWithLookup(c.r, v.secret); code != signature.ErrNone {
		e := signature.GetAPIError(code)
		return &s3Refusal{e.HTTPStatusCode, e.Code, e.Description}
	}
	if sub := unsupported(c.r.Method, c.key, q); sub != "" {
		return notImplemented(sub + " is not supported")
	}
	if c.key != "" {
		if err := checkKey(c.key); err != nil {
			code, message, _ := strings.Cut(err.Error(), ": ")
			return &s3Refusal{http.StatusBadRequest, code, message}
		}
	}
	return v.overfull(c, q)
}

func notImplemented(message string) *s3Refusal {
	return &s3Refusal{http.StatusNotImplemented, "NotImplemented", message}
}

func (v *volume) secret(accessKey string) (string, bool) {
	s, ok := v.keys[accessKey]
	return s, ok
}

// unsupported names what the gateway does not offer (Runpod docs), if the
// request is for that.
func unsupported(method, key string, q url.Values) string {
	for _, sub := range []string{"acl", "tagging", "versions", "versionId", "versioning", "location",
		"policy", "lifecycle", "cors", "encryption", "object-lock", "retention", "legal-hold",
		"website", "replication", "notification", "logging", "attributes", "torrent", "select"} {
		if q.Has(sub) {
			return sub
		}
	}
	switch {
	case method == http.MethodPost && q.Has("delete"):
		return "DeleteObjects"
	case method == http.MethodPost && key == "":
		return "uploading by a form"
	}
	return ""
}

// localise changes a verified request into what gofakes3 and folder expect.
func (v *volume) localise(c *s3Call) {
	h := c.r.Header
	if tag := h.Get("If-Range"); tag != "" && !v.isCurrent(c.key, tag) {
		h.Del("Range") // the object has changed: all of it
	}
	for _, name := range []string{"If-Match", "If-None-Match", "X-Amz-Copy-Source-If-Match", "X-Amz-Copy-Source-If-None-Match"} {
		if list := h.Get(name); list != "" && list != "*" {
			h.Set(name, markTags(list))
		}
	}
	if sum := h.Get("X-Amz-Content-Sha256"); len(sum) == 2*sha256.Size && c.r.ContentLength > 0 {
		c.r.Body = &sha256Reader{ReadCloser: c.r.Body, want: sum, left: c.r.ContentLength, hash: sha256.New()}
	}
}

// isCurrent reports whether a key's ETag or date is still what If-Range says.
func (v *volume) isCurrent(key, tag string) bool {
	info, err := v.folder.stat(key)
	if err != nil {
		return false
	}
	etag, meta := v.folder.describe(key, info)
	return tag == `"`+etag+`"` || tag == meta["Last-Modified"]
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
