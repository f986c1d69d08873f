package runpod

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// maxPut is the most that PutObject takes (Runpod docs: under 500 MB).
const maxPut = 500_000_000 - 1

// upload stores an input under key. The MD5 is taken before anything is sent,
// goes out with every attempt as Content-MD5 (the gateway refuses what does
// not match, so a body cut short is never stored as whole), and is compared
// with the ETag that comes back.
func (v *volume) upload(ctx context.Context, op, key string, in Input) (Object, error) {
	d, err := in.digest(ctx)
	switch {
	case ctx.Err() != nil:
		return Object{}, ended(ctx, op)
	case err != nil:
		return Object{}, &Error{Op: op, Field: "Input", Err: fmt.Errorf("reading %s: %w", in.name, err)}
	case d.size > maxPut:
		return Object{}, &Error{Op: op, Field: "Input", Kind: ErrTooLarge, Err: fmt.Errorf("%s has %d bytes, at most %d can be stored", in.name, d.size, maxPut)}
	}
	return v.put(ctx, op, key, in, d)
}

func (v *volume) put(ctx context.Context, op, key string, in Input, d digest) (Object, error) {
	t, ctx := v.begin(ctx, op)
	t.body = in.open
	out, err := v.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:        &v.bucket,
		Key:           &key,
		Body:          &placeholder{size: d.size},
		ContentLength: &d.size,
		ContentMD5:    aws.String(base64.StdEncoding.EncodeToString(d.md5[:])),
	}, func(o *s3.Options) { o.Retryer = t })
	if err != nil {
		return Object{}, t.fail(err)
	}
	obj := Object{Key: key, Size: d.size, ETag: trimETag(out.ETag)}
	if want := hex.EncodeToString(d.md5[:]); looksLikeMD5(obj.ETag) && !strings.EqualFold(obj.ETag, want) {
		t.last = decision{kind: ErrIntegrity}
		return Object{}, t.fail(fmt.Errorf("the gateway stored something else: its ETag is %s, not %s", obj.ETag, want))
	}
	v.done.uploads.Add(1)
	v.done.bytesUp.Add(d.size)
	return obj, nil
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

// looksLikeMD5 reports whether an ETag can be the MD5 of the content: those of
// multipart uploads and of files a worker wrote are something else.
func looksLikeMD5(etag string) bool {
	_, err := hex.DecodeString(etag)
	return len(etag) == 32 && err == nil
}

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
