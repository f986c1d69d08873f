package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
)

// maxBreaks is how often in a row a download may break without a byte of
// progress before it fails.
const maxBreaks = s3Attempts

// reading is the download of an object, or of a section of it, under way: what
// it has, and what it knows of the object.
type reading struct {
	task
	t      *transfer
	key    string
	w      io.Writer
	start  int64
	length int64 // -1: to the object's end
	have   int64
	object
	learn func() // called once when the object is known; nil: nobody asks
}

// object is what is known of an object from the first answer on.
type object struct {
	known    bool
	size     int64 // -1: the gateway did not say
	etag     string
	modified string // as the gateway wrote it; "": it did not say
}

// becomes reports how an object differs from what it was; "": it does not.
func (o object) becomes(now object) string {
	switch {
	case now.etag != o.etag:
		return fmt.Sprintf("ETag %.100q became %.100q", o.etag, now.etag)
	case o.size >= 0 && now.size >= 0 && now.size != o.size:
		return fmt.Sprintf("%d bytes became %d", o.size, now.size)
	case !sameTime(o.modified, now.modified):
		return fmt.Sprintf("modified at %.40q became %.40q", o.modified, now.modified)
	}
	return ""
}

// sameTime compares two dates. The gateway was seen to write "UTC" for HTTP's
// "GMT" (reported by users); one that is not said differs from none.
func sameTime(a, b string) bool {
	if a == "" || b == "" || a == b {
		return true
	}
	at, err1 := http.ParseTime(strings.Replace(a, " UTC", " GMT", 1))
	bt, err2 := http.ParseTime(strings.Replace(b, " UTC", " GMT", 1))
	return err1 == nil && err2 == nil && at.Equal(bt)
}

// download writes an object's content to w. After a break it goes on by Range
// where it stopped, so that no byte is written twice. A file of our own is
// filled from several connections at once, in parts of partSize.
func download(ctx context.Context, k task, key string, w io.Writer, partSize int64) (Object, error) {
	if f, ok := w.(*wholeFile); ok {
		got, err := downloadParts(ctx, k, key, f, partSize)
		return Object{Key: key, Size: got.size, ETag: got.etag}, err
	}
	r := &reading{task: k, key: key, w: w, length: -1}
	err := r.readAll(ctx)
	return Object{Key: key, Size: r.have, ETag: r.etag}, err
}

// readAll reads until everything is there.
func (r *reading) readAll(ctx context.Context) error {
	r.t = r.transfer(ctx)
	r.t.streams, r.t.advice = true, downloadAdvice
	ctx = r.t.ctx
	for breaks := 0; ; breaks++ {
		had := r.have
		err := r.advance(ctx)
		if err == nil {
			return nil
		}
		if r.have > had {
			breaks = 0
		}
		broken, ok := errors.AsType[*brokenRead](err)
		if !ok || breaks >= maxBreaks || ctx.Err() != nil {
			return r.t.failure(err)
		}
		delay := r.gw.policy.backoff(breaks, 0, -1, rand.Float64())
		last := &r.t.attempts[len(r.t.attempts)-1]
		last.Verdict, last.Cause, last.Reason = VerdictRetryBackoff, "body_broke_off", "the body broke off"
		last.Delay, last.Err = delay, broken.error
		r.t.log(last)
		if err := backoff.Sleep(ctx, delay); err != nil {
			return r.t.failure(err)
		}
	}
}

// brokenRead is an error of an answer's body: the rest can be asked for.
type brokenRead struct{ error }

func (e *brokenRead) Unwrap() error { return e.error }

// advance asks for what is still missing and writes it.
func (r *reading) advance(ctx context.Context) error {
	out, err := r.get()
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if err := r.match(ctx, out); err != nil {
		return err
	}
	n, err := copyContext(ctx, &meteredWriter{r.w, r.t.meter}, out.Body)
	r.have += n
	if failed, ok := errors.AsType[*writeError](err); ok {
		return failed.error
	}
	want := r.want()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &brokenRead{err}
	case want >= 0 && r.have < want:
		return &brokenRead{io.ErrUnexpectedEOF}
	case want >= 0 && r.have > want:
		return r.changed("it gave %d bytes more than its size", r.have-want)
	}
	return nil
}

// meteredWriter counts what is written.
type meteredWriter struct {
	io.Writer
	meter meter
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.meter.move(int64(n))
	return n, err
}

// get requests what is still missing.
func (r *reading) get() (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: &r.gw.bucket, Key: &r.key, Range: r.header()}
	out, err := perform(r.t, r.gw.client.GetObject, in)
	if refused, ok := errors.AsType[*s3Refusal](err); ok && in.Range != nil && !r.known &&
		refused.status == http.StatusRequestedRangeNotSatisfiable { // an empty object has no first byte
		in.Range, r.length = nil, -1
		return perform(r.t, r.gw.client.GetObject, in)
	}
	return out, err
}

// header returns the Range to ask for; nil: everything.
func (r *reading) header() *string {
	from := r.start + r.have
	switch {
	case r.length >= 0:
		return aws.String(fmt.Sprintf("bytes=%d-%d", from, r.start+r.length-1))
	case from > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	return nil
}

// want returns how many bytes there are to come in all; -1: that is not known.
func (r *reading) want() int64 {
	switch {
	case r.size < 0:
		return -1
	case r.length < 0:
		return r.size - r.start
	}
	return min(r.length, r.size-r.start)
}

// match compares an answer with what is known of the object, and skips what is
// there already if the gateway ignored the Range.
func (r *reading) match(ctx context.Context, out *s3.GetObjectOutput) error {
	from := r.start + r.have
	now, err := r.describe(out, from)
	if err != nil {
		return &brokenRead{err}
	}
	if how := r.becomes(now); r.known && how != "" {
		return r.changed("%s", how)
	}
	if out.ContentRange == nil {
		if r.start > 0 {
			return r.changed("it could be read from the middle, and cannot any more")
		}
		r.length = -1
	}
	if !r.known {
		r.object = now
		r.t.meter.grew(max(now.size, 0))
		if r.learn != nil {
			r.learn()
		}
	}
	if out.ContentRange == nil && from > 0 {
		if _, err := copyContext(ctx, io.Discard, io.LimitReader(out.Body, from)); err != nil {
			return &brokenRead{err}
		}
	}
	return nil
}

// describe returns what an answer says of the object. It fails if the answer does
// not begin at from, or cannot be true.
func (r *reading) describe(out *s3.GetObjectOutput, from int64) (object, error) {
	now := object{known: true, size: -1, etag: trimETag(out.ETag), modified: r.t.answer.Get("Last-Modified")}
	switch {
	case out.ContentRange != nil:
		got, err := parseContentRange(*out.ContentRange)
		if err == nil && (got.from != from || r.length >= 0 && got.to >= r.start+r.length) {
			err = fmt.Errorf("asked for the bytes from %d on, got %.100q", from, *out.ContentRange)
		}
		now.size = got.total
		return now, err
	case out.ContentLength != nil && *out.ContentLength > maxStored:
		return now, fmt.Errorf("no object has %d bytes", *out.ContentLength)
	case out.ContentLength != nil:
		now.size = *out.ContentLength
	}
	return now, nil
}

// downloadAdvice is for an object that changes, or comes otherwise than it is.
const downloadAdvice = "download it again"

func (r *reading) changed(format string, args ...any) error {
	r.t.last = decision{kind: ErrIntegrity}
	return fmt.Errorf("the object changed while it was read: "+format, args...)
}

// downloadParts fills a file from several connections at once. The first
// answer says how large the object is; the other parts are asked for while the
// first one is still coming.
func downloadParts(ctx context.Context, k task, key string, f *wholeFile, partSize int64) (object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	known := make(chan struct{})
	first := &reading{task: k, key: key, w: f.from(0), length: partSize}
	var seen object
	first.learn = sync.OnceFunc(func() {
		if seen = first.object; first.length < 0 {
			seen.size = -1 // everything comes with the first answer
		}
		close(known)
	})
	var readers sync.WaitGroup
	start := func(r *reading) {
		line.Guard(func() error { return r.readAll(ctx) }, func(err error) {
			if err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	readers.Go(func() { defer first.learn(); start(first) })
	<-known
	rest := make(chan part)
	for range min(int64(k.gw.pool.Size()), ceilDiv(seen.size, partSize)-1) {
		readers.Go(func() {
			for p := range rest {
				start(&reading{task: k, key: key, w: f.from(p.offset), start: p.offset, length: p.size, object: seen})
			}
		})
	}
	emitRest(ctx, rest, seen.size, partSize)
	close(rest)
	readers.Wait()
	if first.known && first.length >= 0 && first.size < 0 { // a section came, of nobody knows how much
		whole := &reading{task: k, key: key, w: f.from(0), length: -1}
		start(whole)
		first = whole
	}
	if ctx.Err() != nil {
		return object{}, asError(k.op, context.Cause(ctx))
	}
	return object{size: max(first.size, first.have), etag: first.etag}, nil
}

// emitRest hands out the parts after the first.
func emitRest(ctx context.Context, rest chan<- part, size, partSize int64) {
	for p := range partsOf(size, partSize) {
		if p.number == 1 {
			continue
		}
		select {
		case rest <- p:
		case <-ctx.Done():
			return
		}
	}
}
