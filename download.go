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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// maxBreaks is how often in a row a download may break without a byte of
// progress before it fails.
const maxBreaks = s3Attempts

// reading is a download under way: what it has, and what it knows of the
// object.
type reading struct {
	v    *volume
	t    *transfer
	key  string
	w    io.Writer
	have int64
	size int64 // -1: the gateway did not say
	etag string
}

// download writes an object's content to w. After a break it goes on by Range
// where it stopped, so that no byte is written twice.
func (v *volume) download(ctx context.Context, op, key string, w io.Writer) (Object, error) {
	t, ctx := v.begin(ctx, op)
	r := &reading{v: v, t: t, key: key, w: w, size: -1}
	for breaks := 0; ; breaks++ {
		had := r.have
		err := r.advance(ctx)
		if err == nil {
			v.done.downloads.Add(1)
			v.done.bytesDown.Add(r.have)
			return Object{Key: key, Size: r.have, ETag: r.etag}, nil
		}
		if r.have > had {
			breaks = 0
		}
		broken, ok := errors.AsType[*brokenRead](err)
		if !ok || breaks >= maxBreaks || ctx.Err() != nil {
			return Object{}, t.fail(err)
		}
		delay := v.policy.backoff(breaks, 0, -1, mathrand.Float64())
		last := &t.attempts[len(t.attempts)-1]
		last.Verdict, last.Reason, last.Delay, last.Err = RetryBackoff, "the body broke off", delay, broken.error
		t.log(last)
		if err := sleep(ctx, delay); err != nil {
			return Object{}, t.fail(err)
		}
	}
}

// brokenRead is an error of an answer's body: the rest can be asked for.
type brokenRead struct{ error }

func (e *brokenRead) Unwrap() error { return e.error }

// advance asks for what is still missing and writes it.
func (r *reading) advance(ctx context.Context) error {
	in := &s3.GetObjectInput{Bucket: &r.v.bucket, Key: &r.key}
	if r.have > 0 {
		in.Range = aws.String("bytes=" + strconv.FormatInt(r.have, 10) + "-")
	}
	out, err := r.v.client.GetObject(ctx, in, func(o *s3.Options) { o.Retryer = r.t })
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if err := r.match(ctx, out); err != nil {
		return err
	}
	n, err := copyContext(ctx, r.w, out.Body)
	r.have += n
	if failed, ok := errors.AsType[*writeError](err); ok {
		return failed.error
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &brokenRead{err}
	case r.size >= 0 && r.have < r.size:
		return &brokenRead{io.ErrUnexpectedEOF}
	case r.size >= 0 && r.have > r.size:
		return r.changed("it gave %d bytes more than its size", r.have-r.size)
	}
	return nil
}

// match holds an answer against what is known of the object, and skips what
// is there already where the gateway ignored the Range.
func (r *reading) match(ctx context.Context, out *s3.GetObjectOutput) error {
	size, etag := objectSize(out), trimETag(out.ETag)
	if r.have == 0 {
		r.size, r.etag = size, etag
		return nil
	}
	if etag != r.etag || (size >= 0 && r.size >= 0 && size != r.size) {
		return r.changed("ETag %s and %d bytes became ETag %s and %d bytes", r.etag, r.size, etag, size)
	}
	if out.ContentRange != nil {
		if !strings.HasPrefix(*out.ContentRange, "bytes "+strconv.FormatInt(r.have, 10)+"-") {
			return &brokenRead{fmt.Errorf("asked for the bytes from %d on, got %s", r.have, *out.ContentRange)}
		}
		return nil
	}
	if _, err := copyContext(ctx, io.Discard, io.LimitReader(out.Body, r.have)); err != nil {
		return &brokenRead{err}
	}
	return nil
}

func (r *reading) changed(format string, args ...any) error {
	r.t.last = decision{kind: ErrIntegrity}
	return fmt.Errorf("the object changed while it was read: "+format, args...)
}

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
func writeWhole(path string, fill func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	name := filepath.Join(dir, "."+shorten(base)+"."+rand.Text()[:8]+".part")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(name)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(name, path)
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
