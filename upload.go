package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// upload stores an input under key: whole, in parts that are read where they
// are, or as a stream that is kept in buffers. Whatever goes out carries its
// checksum, which was taken before: the gateway refuses what does not match,
// so that a body cut short is never stored as whole.
func (v *volume) upload(ctx context.Context, op, key string, in Input) (Object, error) {
	state, err := in.current()
	if err != nil {
		return Object{}, inputError(ctx, op, in, err)
	}
	if state.size > maxObject {
		return Object{}, objectTooLarge(op, in, "it has %d bytes, at most %d can be stored", state.size, int64(maxObject))
	}
	if state.size > v.partSize {
		if in, err = in.seekable(ctx); err != nil {
			return Object{}, inputError(ctx, op, in, err)
		}
	}
	count := v.meter(ctx)
	count.begin(max(state.size, 0))
	ctx = asCaller(ctx)
	var obj Object
	if v.once != nil && state.size >= 0 && (in.at != nil || state.size <= v.partSize) {
		obj, err = v.uploadOnce(ctx, op, key, in, state)
	} else {
		obj, err = v.store(ctx, op, key, in, state, nil)
	}
	if err == nil {
		count.end()
	}
	return obj, err
}

// store uploads an input, of which the MD5 may be known already.
func (v *volume) store(ctx context.Context, op, key string, in Input, state inputState, known *digest) (Object, error) {
	switch {
	case state.size >= 0 && state.size <= v.partSize:
		return v.put(ctx, op, key, body{in: in, size: state.size, local: in.local, open: in.open, known: known})
	case state.size >= 0 && in.at != nil:
		return v.uploadSections(ctx, op, key, in, state)
	}
	return v.uploadStream(ctx, op, key, in, state.size)
}

// body is what one request carries of an input.
type body struct {
	in    Input
	size  int64
	local bool // reading it costs processor time, not waiting
	open  func(context.Context) (io.ReadCloser, error)
	known *digest      // taken already; nil: it is not
	late  *atomic.Bool // set where it went out whole and was not answered for; nil: nobody asks
}

func (v *volume) put(ctx context.Context, op, key string, b body) (Object, error) {
	d, etag, err := v.sendBody(ctx, op, b, func(ctx context.Context, d digest, opt func(*s3.Options)) (*string, *string, error) {
		out, err := v.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket:         &v.bucket,
			Key:            &key,
			Body:           &placeholder{size: d.size},
			ContentLength:  &d.size,
			ContentMD5:     d.contentMD5(),
			ChecksumCRC32C: d.crc32c(),
		}, opt)
		if err != nil {
			return nil, nil, err
		}
		return out.ETag, out.ChecksumCRC32C, nil
	})
	if err != nil {
		return Object{}, err
	}
	v.uploaded(d.size)
	return Object{Key: key, Size: d.size, ETag: etag}, nil
}

// bodySender makes the request that carries a body, and gives the ETag and the
// CRC32C of the answer.
type bodySender func(ctx context.Context, d digest, opt func(*s3.Options)) (etag, crc *string, err error)

// sendBody sends a body with its checksum and holds the answer against it.
func (v *volume) sendBody(ctx context.Context, op string, b body, send bodySender) (digest, string, error) {
	kind := v.checksumNow()
	if b.known != nil {
		kind = b.known.kind
	}
	for ; ; kind = ChecksumMD5 {
		d, err := v.sum(ctx, kind, b)
		if err != nil {
			return d, "", inputError(ctx, op, b.in, err)
		}
		t, ctx := v.begin(ctx, op)
		t.body = b.open
		tag, crc, err := send(ctx, d, func(o *s3.Options) { o.Retryer = t })
		if t.late && b.late != nil {
			b.late.Store(true)
		}
		if err != nil {
			if kind == ChecksumCRC32C && v.crc32c.refused(t.last) {
				continue
			}
			return d, "", t.fail(err)
		}
		etag := trimETag(tag)
		if kind == ChecksumCRC32C && !v.crc32c.confirmed(crc) {
			if v.isMD5Of(ctx, b, etag) {
				return d, etag, nil
			}
			t.meter.move(-d.size)
			continue
		}
		if err := d.check(etag, crc); err != nil {
			t.meter.move(-d.size)
			return d, "", t.damaged(err)
		}
		return d, etag, nil
	}
}

// checksumNow is the checksum to send.
func (v *volume) checksumNow() Checksum {
	if v.crc32c.lacking.Load() {
		return ChecksumMD5
	}
	return v.checksum
}

// sum takes the checksum of a body. Bodies at hand wait for a processor, so
// that the first ones are ready to be sent while the others are summed up.
func (v *volume) sum(ctx context.Context, kind Checksum, b body) (digest, error) {
	if b.known != nil && b.known.kind == kind {
		return *b.known, nil
	}
	if b.local {
		if err := v.hashing.Acquire(ctx); err != nil {
			return digest{}, err
		}
		defer v.hashing.Release()
	}
	d, err := kind.of(ctx, b.open)
	if err == nil && d.size != b.size {
		err = fmt.Errorf("it has %d bytes, not %d as was said", d.size, b.size)
	}
	return d, err
}

func (v *volume) isMD5Of(ctx context.Context, b body, etag string) bool {
	d, err := v.sum(ctx, ChecksumMD5, b)
	return err == nil && looksLikeMD5(etag) && d.check(etag, nil) == nil
}

func (v *volume) uploaded(size int64) {
	v.done.uploads.Add(1)
	v.done.bytesUp.Add(size)
}

// inputError makes the error of an input that cannot be read, unless that is
// because the context has ended.
func inputError(ctx context.Context, op string, in Input, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, op)
	}
	e := &Error{Op: op, Field: "Input", Err: fmt.Errorf("reading %s: %w", in.name, err)}
	if errors.Is(err, errChanged) {
		e.Kind = ErrIntegrity
	}
	return e
}

func objectTooLarge(op string, in Input, format string, args ...any) error {
	return &Error{Op: op, Field: "Input", Kind: ErrTooLarge, Err: fmt.Errorf("%s: "+format, append([]any{in.name}, args...)...)}
}

// delete removes an object; one that is not there is no error.
func (v *volume) delete(ctx context.Context, op, key string) error {
	t, ctx := v.begin(ctx, op)
	_, err := v.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &key},
		func(o *s3.Options) { o.Retryer = t })
	if err != nil {
		if err = t.fail(err); errors.Is(err, ErrNotFound) && apiCode(err) != "NoSuchBucket" {
			return nil
		}
	}
	return err
}

func trimETag(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

// placeholder stands for a body within the SDK, which wants to seek in what it
// sends again. What is really sent is opened anew for each attempt, below it.
type placeholder struct{ size, at int64 }

func (p *placeholder) Read([]byte) (int, error) {
	return 0, errors.New("runpod: the S3 client read a body that is not its own")
}

func (p *placeholder) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	p.at = offset
	return p.at, nil
}
