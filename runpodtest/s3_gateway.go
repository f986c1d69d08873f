package runpodtest

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/rclone/gofakes3"
)

// volume is the network volume's S3 gateway: signatures, faults and habits here,
// the protocol in gofakes3, the files in folder.
type volume struct {
	cfg    *Config
	folder *folder
	inner  http.Handler // gofakes3, which sees only verified requests
	faults *faultList
	ledger *ledger
	keys   map[string]string // access key id to secret

	mu        sync.Mutex
	number    int // of requests
	inFlight  int
	completed map[string]bool // upload ids
}

func newVolume(cfg *Config, f *folder, l *ledger, faults *faultList, keys map[string]string) *volume {
	v := &volume{cfg: cfg, folder: f, faults: faults, ledger: l, keys: keys, completed: map[string]bool{}}
	v.inner = gofakes3.New(volumeBackend{f, newUploads(f)}, gofakes3.WithTimeSkewLimit(0)).Server()
	v.prime()
	return v
}

// volumeBackend is what gofakes3 serves.
type volumeBackend struct {
	*folder
	*uploads
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
	localise(c.r, c.key, v.folder)
	out := &s3Writer{ResponseWriter: w, utc: v.cfg.S3.UTCDates}
	if !v.isComplete(c.r) {
		v.inner.ServeHTTP(out, c.r)
		out.finish()
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
	out.finish()
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
