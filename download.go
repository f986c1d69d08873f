package runpod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// maxBreaks is how often in a row a download may break without a byte of
// progress before it fails.
const maxBreaks = s3Attempts

// reading is the download of an object, or of a section of it, under way: what
// it has, and what it knows of the object.
type reading struct {
	v      *volume
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
	known bool
	size  int64 // -1: the gateway did not say
	etag  string
}

// download writes an object's content to w. After a break it goes on by Range
// where it stopped, so that no byte is written twice. A file of our own is
// filled from several connections at once.
func (v *volume) download(ctx context.Context, op, key string, w io.Writer) (Object, error) {
	ctx = asCaller(ctx)
	count := v.meter(ctx)
	count.begin(0)
	got, err := object{}, error(nil)
	if f, ok := w.(*wholeFile); ok {
		got, err = v.downloadParts(ctx, op, key, f)
	} else {
		r := &reading{v: v, key: key, w: w, length: -1}
		err = r.run(ctx, op)
		got = object{size: r.have, etag: r.etag}
	}
	if err != nil {
		return Object{}, err
	}
	count.end()
	v.done.downloads.Add(1)
	v.done.bytesDown.Add(got.size)
	return Object{Key: key, Size: got.size, ETag: got.etag}, nil
}

// downloadFile fills the file at path, whole or not at all.
func (v *volume) downloadFile(ctx context.Context, op, key, path string) (Object, error) {
	var obj Object
	err := writeWhole(path, func(w io.Writer) (err error) {
		obj, err = v.download(ctx, op, key, w)
		return err
	})
	if err != nil {
		return Object{}, asError(op, err)
	}
	return obj, nil
}

// run reads until everything is there.
func (r *reading) run(ctx context.Context, op string) error {
	r.t, ctx = r.v.begin(ctx, op)
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
			return r.t.fail(err)
		}
		delay := r.v.policy.backoff(breaks, 0, -1, mathrand.Float64())
		last := &r.t.attempts[len(r.t.attempts)-1]
		last.Verdict, last.Reason, last.Delay, last.Err = VerdictRetryBackoff, "the body broke off", delay, broken.error
		r.t.log(last)
		if err := sleep(ctx, delay); err != nil {
			return r.t.fail(err)
		}
	}
}

// brokenRead is an error of an answer's body: the rest can be asked for.
type brokenRead struct{ error }

func (e *brokenRead) Unwrap() error { return e.error }

// advance asks for what is still missing and writes it.
func (r *reading) advance(ctx context.Context) error {
	out, err := r.ask(ctx)
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

// ask requests what is still missing.
func (r *reading) ask(ctx context.Context) (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: &r.v.bucket, Key: &r.key, Range: r.header()}
	opt := func(o *s3.Options) { o.Retryer = r.t }
	out, err := r.v.client.GetObject(ctx, in, opt)
	if err != nil && in.Range != nil && !r.known && apiCode(err) == "InvalidRange" {
		in.Range, r.length = nil, -1 // an empty object has no first byte
		return r.v.client.GetObject(ctx, in, opt)
	}
	return out, err
}

// header is the Range to ask for; nil: everything.
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

// want is how many bytes there are to come in all; -1: that is not known.
func (r *reading) want() int64 {
	switch {
	case r.size < 0:
		return -1
	case r.length < 0:
		return r.size - r.start
	}
	return min(r.length, r.size-r.start)
}

// match holds an answer against what is known of the object, and skips what
// is there already where the gateway ignored the Range.
func (r *reading) match(ctx context.Context, out *s3.GetObjectOutput) error {
	size, etag := objectSize(out), trimETag(out.ETag)
	if r.known && (etag != r.etag || size >= 0 && r.size >= 0 && size != r.size) {
		return r.changed("ETag %s and %d bytes became ETag %s and %d bytes", r.etag, r.size, etag, size)
	}
	from := r.start + r.have
	if out.ContentRange != nil && !strings.HasPrefix(*out.ContentRange, "bytes "+strconv.FormatInt(from, 10)+"-") {
		return &brokenRead{fmt.Errorf("asked for the bytes from %d on, got %s", from, *out.ContentRange)}
	}
	if out.ContentRange == nil {
		if r.start > 0 {
			return r.changed("it could be read from the middle, and cannot any more")
		}
		r.length = -1
	}
	if !r.known {
		r.object = object{known: true, size: size, etag: etag}
		r.t.meter.grow(max(size, 0))
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

func (r *reading) changed(format string, args ...any) error {
	r.t.last = decision{kind: ErrIntegrity}
	return fmt.Errorf("the object changed while it was read: "+format, args...)
}

// downloadParts fills a file from several connections at once. The first
// answer tells how large the object is; the other parts are asked for while
// the first one is still coming.
func (v *volume) downloadParts(ctx context.Context, op, key string, f *wholeFile) (object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	known := make(chan struct{})
	first := &reading{v: v, key: key, w: f.at(0), length: v.partSize}
	var seen object
	first.learn = sync.OnceFunc(func() {
		if seen = first.object; first.length < 0 {
			seen.size = -1 // everything comes with the first answer
		}
		close(known)
	})
	var readers sync.WaitGroup
	start := func(r *reading) {
		if err := r.run(ctx, op); err != nil {
			cancel(err) // the first one counts
		}
	}
	readers.Go(func() { defer first.learn(); start(first) })
	<-known
	rest := make(chan part)
	for range min(int64(v.places.Size()), ceilDiv(seen.size, v.partSize)-1) {
		readers.Go(func() {
			for p := range rest {
				start(&reading{v: v, key: key, w: f.at(p.offset), start: p.offset, length: p.size, object: seen})
			}
		})
	}
	emitRest(ctx, rest, seen.size, v.partSize)
	close(rest)
	readers.Wait()
	if first.known && first.length >= 0 && first.size < 0 { // a section came, of nobody knows how much
		whole := &reading{v: v, key: key, w: f.at(0), length: -1}
		start(whole)
		first = whole
	}
	if ctx.Err() != nil {
		return object{}, asError(op, context.Cause(ctx))
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

// wholeFile is a file of our own, in which any place may be written at any
// time.
type wholeFile struct{ *os.File }

func (f *wholeFile) at(offset int64) io.Writer { return io.NewOffsetWriter(f.File, offset) }

// objectSize is the whole object's size, from the answer to a plain or a
// ranged request; -1 when it is not said.
func objectSize(out *s3.GetObjectOutput) int64 {
	if out.ContentRange != nil {
		_, total, _ := strings.Cut(*out.ContentRange, "/")
		if n, err := strconv.ParseInt(total, 10, 64); err == nil {
			return n
		}
		return -1
	}
	if out.ContentLength != nil {
		return *out.ContentLength
	}
	return -1
}

// writeWhole fills a file at path whole or not at all: under a temporary name
// beside it, renamed when fill has succeeded.
func writeWhole(path string, fill func(io.Writer) error) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return writeWholeIn(root, filepath.Base(path), fill)
}

// writeWholeIn does so within a folder that the name cannot leave, not by
// symbolic links either.
func writeWholeIn(root *os.Root, path string, fill func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	name := filepath.Join(dir, "."+shorten(base)+"."+rand.Text()[:8]+".part")
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			root.Remove(name)
		}
	}()
	if err := fill(&wholeFile{f}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return root.Rename(name, path)
}

// shorten keeps the temporary name within a file name's 255 bytes.
func shorten(base string) string { return base[:min(len(base), 200)] }

// checkTarget refuses a file that could not be written, before any traffic.
func checkTarget(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and is not a regular file", path)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	return err
}
