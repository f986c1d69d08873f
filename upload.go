package runpod

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gpuburst/runpod-go/internal/line"
)

// uploads is what all uploads of a Client share.
type uploads struct {
	sums     *checksums
	buffers  *line.Buffers // for streams
	partSize int64
	largest  int64      // that an object may be
	resume   *resumeDir // nil: uploads are not gone on with
	once     *flights   // nil: what is there is stored again
	tidy     *tidying
	done     moved
}

func newUploads(c *config) *uploads {
	us := &uploads{
		sums:     newChecksums(c.checksum),
		buffers:  line.NewBuffers(c.bufferMemory, bufferBlock),
		partSize: c.partSize,
		largest:  maxObject,
		tidy:     newTidying(c.logger),
	}
	if c.skipExisting {
		us.once = newFlights()
	}
	if c.resumeDir != "" && c.s3.url != nil {
		us.resume = newResumeDir(c.resumeDir, c.s3.url.String()+" "+c.s3.bucket)
	}
	return us
}

// upload is one upload under way: whole, in parts that are read where they are,
// or as a stream that is kept in buffers. Whatever goes out carries a checksum
// that was taken before: the gateway refuses what does not match, so that a body
// cut short is never stored as whole.
type upload struct {
	task
	*uploads
	key   string
	in    Input
	state inputState // when it began; its size is -1 if that is not known
	known *digest    // of the whole content; nil: it was not taken
}

// newUpload looks at the input and refuses what cannot be stored.
func (us *uploads) newUpload(ctx context.Context, k task, key string, in Input) (*upload, error) {
	u := &upload{task: k, uploads: us, key: key, in: in}
	var err error
	if u.state, err = in.current(); err != nil {
		return nil, u.unreadable(ctx, err)
	}
	if u.state.size > u.largest {
		return nil, u.tooLarge("it has %d bytes, at most %d can be stored", u.state.size, u.largest)
	}
	if u.state.size > us.partSize {
		if u.in, err = in.seekable(ctx); err != nil {
			return nil, u.unreadable(ctx, err)
		}
	}
	u.meter.fileBegun(max(u.state.size, 0))
	return u, nil
}

// fitsOneRequest reports whether the input goes whole; inSections whether its
// parts can be read where they are. If neither does, it goes as a stream.
func (u *upload) fitsOneRequest() bool { return u.state.size >= 0 && u.state.size <= u.partSize }
func (u *upload) inSections() bool     { return u.state.size > u.partSize && u.in.at != nil }

// whole returns the input as one body.
func (u *upload) whole() body {
	return body{in: u.in, size: u.state.size, local: u.in.local, open: u.in.open, known: u.known}
}

// put stores a body as the whole object.
func (u *upload) put(ctx context.Context, b body) (Object, error) {
	d, etag, err := sendBody(ctx, u.task, u.sums, b, func(t *transfer, d digest) (*string, *string, error) {
		out, err := perform(t, u.gw.client.PutObject, &s3.PutObjectInput{
			Bucket:         &u.gw.bucket,
			Key:            &u.key,
			Body:           &placeholder{size: d.size},
			ContentLength:  &d.size,
			ContentMD5:     d.contentMD5(),
			ChecksumCRC32C: d.crc32c(),
		})
		if err != nil {
			return nil, nil, err
		}
		return out.ETag, out.ChecksumCRC32C, nil
	})
	if err != nil {
		return Object{}, err
	}
	u.done.whole(d.size)
	return Object{Key: u.key, Size: d.size, ETag: etag}, nil
}

// contentETag foretells the ETag of the object, and keeps the MD5 of one that is
// stored whole.
func (u *upload) contentETag(ctx context.Context) (string, error) {
	if u.inSections() {
		return u.sums.partsETag(ctx, u.in, u.state.size, partSizeFor(u.state.size, u.partSize))
	}
	d, err := u.sums.sum(ctx, ChecksumMD5, u.whole())
	u.known = &d
	return hex.EncodeToString(d.sum), err
}

// existed returns an object that was there already, or was stored by another
// upload.
func (u *upload) existed(obj Object) Object {
	u.meter.move(obj.Size)
	obj.Existed = true
	return obj
}

// unreadable makes the error of an input that cannot be read.
func (u *upload) unreadable(ctx context.Context, err error) error {
	return inputError(ctx, u.op, u.in, err)
}

func (u *upload) tooLarge(format string, args ...any) error {
	return &Error{Op: u.op, Field: "Input", Kind: ErrTooLarge,
		Err: fmt.Errorf("%s: "+format, append([]any{u.in.name}, args...)...)}
}
