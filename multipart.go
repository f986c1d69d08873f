package runpod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gpuburst/runpod-go/internal/line"
)

// ownID is the name of the metadata that tells whose an object is. It is a
// random text for each upload.
const ownID = "runpod-go-upload"

// multipart is an upload in parts under way.
type multipart struct {
	v       *volume
	op, key string
	id      string // the gateway's name for the upload
	own     string // ours for the object

	partSize int64

	resume *resumable         // nil: it cannot be gone on with
	there  map[int32]sentPart // what an earlier attempt has left
	done   *Object            // an earlier attempt has completed it
	again  bool               // parts can be read, and sent, again

	late atomic.Bool // a part may arrive when nobody waits for it any more

	mu    sync.Mutex
	parts map[int32]sentPart
}

// sentPart is a part that the gateway has.
type sentPart struct {
	size int64
	etag string
	crc  *string
}

// piece is a part together with its content.
type piece struct {
	part
	open func(context.Context) (io.ReadCloser, error)
	free func() // the content is not needed any more
}

// uploadSections stores an input in parts that are read where they are.
func (v *volume) uploadSections(ctx context.Context, op, key string, in Input, state inputState) (Object, error) {
	m, err := v.beginParts(ctx, op, key, in, state.size, partSizeFor(state.size, v.partSize))
	if err != nil {
		return Object{}, err
	}
	if m.done != nil {
		return m.ended(ctx, *m.done), nil
	}
	m.again = true
	plan := slices.Collect(partsOf(state.size, m.partSize))
	return m.finish(ctx, func() error {
		return m.send(ctx, in, len(plan), m.missing(in, plan), func() error { return in.unchanged(state) })
	})
}

// missing produces the parts of a plan that the gateway has not got from us.
func (m *multipart) missing(in Input, plan []part) line.Producer[piece] {
	return func(_ context.Context, emit func(piece) error) error {
		for _, p := range plan {
			if m.kept(p.number) {
				continue
			}
			open := func(ctx context.Context) (io.ReadCloser, error) { return in.at(ctx, p.offset, p.size) }
			if err := emit(piece{p, open, func() {}}); err != nil {
				return err
			}
		}
		return nil
	}
}

// unchanged fails if the input is not what it was: its parts may then be of
// two versions.
func (in Input) unchanged(since inputState) error {
	now, err := in.current()
	if err == nil && now != since {
		err = errChanged
	}
	return err
}

// create begins an upload.
func (v *volume) create(ctx context.Context, op, key string) (*multipart, error) {
	m := &multipart{v: v, op: op, key: key, own: rand.Text(), parts: map[int32]sentPart{}}
	in := &s3.CreateMultipartUploadInput{Bucket: &v.bucket, Key: &key, Metadata: map[string]string{ownID: m.own}}
	if v.checksumNow() == ChecksumCRC32C {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	for {
		t, ctx := v.begin(ctx, op)
		out, err := v.client.CreateMultipartUpload(ctx, in, func(o *s3.Options) { o.Retryer = t })
		if err == nil {
			if m.id = aws.ToString(out.UploadId); m.id == "" {
				return nil, t.fail(fmt.Errorf("the gateway gave the upload no id"))
			}
			return m, nil
		}
		if in.ChecksumAlgorithm == "" || !v.crc32c.refused(t.last) {
			return nil, t.fail(err)
		}
		in.ChecksumAlgorithm = ""
	}
}

// send sends what produce makes, several pieces at a time. One piece more than
// there are places is held ready, its checksum taken. Last, if not nil, has the
// last word.
func (m *multipart) send(ctx context.Context, in Input, most int, produce line.Producer[piece], last func() error) error {
	err := line.ForEach(ctx, min(most, m.v.places.Size()+1), produce, func(ctx context.Context, p piece) error {
		defer p.free()
		return m.sendPart(ctx, in, p)
	})
	if err == nil && last != nil {
		err = last()
	}
	if _, ours := errors.AsType[*Error](err); err == nil || ours {
		return err
	}
	return inputError(ctx, m.op, in, err)
}

func (m *multipart) sendPart(ctx context.Context, in Input, p piece) error {
	b := body{in: in, size: p.size, local: true, open: p.open, late: &m.late}
	if s, ok := m.has(ctx, b, p.number); ok {
		m.keep(p.number, s)
		m.v.meter(ctx).move(s.size)
		return nil
	}
	d, etag, err := m.v.sendBody(ctx, m.op, b, func(ctx context.Context, d digest, opt func(*s3.Options)) (*string, *string, error) {
		out, err := m.v.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket:         &m.v.bucket,
			Key:            &m.key,
			UploadId:       &m.id,
			PartNumber:     &p.number,
			Body:           &placeholder{size: p.size},
			ContentLength:  &p.size,
			ContentMD5:     d.contentMD5(),
			ChecksumCRC32C: d.crc32c(),
		}, opt)
		if err != nil {
			return nil, nil, err
		}
		return out.ETag, out.ChecksumCRC32C, nil
	})
	if err == nil {
		m.keep(p.number, sentPart{size: p.size, etag: etag, crc: d.crc32c()})
	}
	return err
}

func (m *multipart) kept(number int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.parts[number]
	return ok
}

func (m *multipart) keep(number int32, s sentPart) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[number] = s
}

// finish sends the parts and has them put together. An upload that has failed
// is given up, unless another attempt can go on with it.
func (m *multipart) finish(ctx context.Context, send func() error) (obj Object, err error) {
	for tries := 1; ; tries++ {
		if err = send(); err == nil {
			obj, err = m.complete(ctx)
		}
		if err == nil {
			return m.ended(ctx, obj), nil
		}
		if tries == maxThin+1 || !m.hasLost(ctx, err) {
			break
		}
	}
	if m.resume == nil {
		m.abort(ctx)
	}
	m.resume.unclaim()
	return Object{}, err
}

// ended takes note that the object is there.
func (m *multipart) ended(ctx context.Context, obj Object) Object {
	if m.done != nil {
		m.v.meter(ctx).move(obj.Size)
	}
	if m.resume != nil {
		m.resume.forget()
		m.resume.unclaim()
	}
	m.v.uploaded(obj.Size)
	return obj
}

// hasLost reports whether the gateway has lost parts that it had taken, which
// can be sent again.
func (m *multipart) hasLost(ctx context.Context, err error) bool {
	if apiCode(err) != "InvalidPart" || !m.again {
		return false
	}
	there, err := m.v.listParts(ctx, m.op, m.key, m.id)
	if err != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.parts)
	maps.DeleteFunc(m.parts, func(number int32, s sentPart) bool {
		t := there[number]
		return t.size != s.size || t.etag != s.etag
	})
	return len(m.parts) < before
}

// lateAborts is how often an upload is aborted again whose parts may arrive
// late.
const lateAborts = 2

// abort tells the gateway to forget the upload, also when the context has
// ended. A part whose last byte is out can arrive after that and bring the
// upload back (the S3 API reference says so, and versitygw does it): then the
// gateway is told again, a little later.
func (m *multipart) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.v.policy.Stall)
	defer cancel()
	m.abortOnce(ctx)
	for again := range lateAborts {
		if !m.late.Load() || sleep(ctx, m.v.policy.backoff(again, 0, -1, 1)) != nil {
			return
		}
		m.abortOnce(ctx)
	}
}

// abortOnce logs what cannot be aborted: the upload's own failure stands.
func (m *multipart) abortOnce(ctx context.Context) {
	t, ctx := m.v.begin(ctx, m.op)
	_, err := m.v.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &m.v.bucket, Key: &m.key, UploadId: &m.id,
	}, func(o *s3.Options) { o.Retryer = t })
	if err != nil && apiCode(err) != "NoSuchUpload" {
		m.v.logger.LogAttrs(ctx, slog.LevelWarn, "unfinished upload left on the volume",
			slog.String("key", m.key), slog.String("upload", m.id), slog.String("error", t.plainCause(err).Error()))
	}
}

// whole is what the object must be once its parts are put together. Its ETag
// is "" when it cannot be foretold.
func (m *multipart) whole() (obj Object, parts []types.CompletedPart) {
	obj.Key = m.key
	var etags []string
	for _, number := range slices.Sorted(maps.Keys(m.parts)) {
		s := m.parts[number]
		obj.Size += s.size
		etags = append(etags, s.etag)
		parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: aws.String(`"` + s.etag + `"`), ChecksumCRC32C: s.crc})
	}
	obj.ETag = partsETag(etags)
	return obj, parts
}

// complete has the gateway put the parts together. That succeeds at times
// while the answer says otherwise (a 524, a lost connection: Runpod docs), or
// says NoSuchUpload because it had succeeded before (reported by users). So
// before it is asked again, and before it counts as failed, we look.
func (m *multipart) complete(ctx context.Context) (Object, error) {
	want, parts := m.whole()
	if err := m.resume.completing(m.key); err != nil {
		return Object{}, &Error{Op: m.op, Field: "WithResumeDir", Err: err}
	}
	t, ctx := m.v.begin(ctx, m.op)
	t.careful = true
	t.stall = completeStalls * m.v.policy.Stall
	in := &s3.CompleteMultipartUploadInput{Bucket: &m.v.bucket, Key: &m.key, UploadId: &m.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	doubted := false
	for looks := 0; ; looks++ {
		out, err := m.v.client.CompleteMultipartUpload(ctx, in, func(o *s3.Options) { o.Retryer = t })
		if err == nil {
			return m.completed(ctx, t, want, trimETag(out.ETag))
		}
		gone := apiCode(err) == "NoSuchUpload"
		doubted = doubted || t.doubt
		if !gone && !t.doubt {
			return Object{}, t.fail(err)
		}
		if doubted { // it may still be at work
			if sleep(ctx, m.v.policy.backoff(looks, 0, -1, mathrand.Float64())) != nil {
				return Object{}, t.fail(err)
			}
		}
		obj, lookErr := m.v.confirm(ctx, m.op, want, m.own)
		switch {
		case lookErr == nil:
			return obj, nil
		case !isNotYet(lookErr):
			return Object{}, lookErr
		case gone && (!doubted || looks+1 >= s3Attempts):
			return Object{}, t.fail(fmt.Errorf("the gateway has forgotten the parts (%w), and the object is not there (%v): upload it again", t.plainCause(err), lookErr))
		case looks+1 >= s3Attempts:
			return Object{}, t.fail(fmt.Errorf("%w; and the object is not there (%v)", t.plainCause(err), lookErr))
		}
	}
}

// completeStalls: putting a large object together takes minutes in which no
// byte moves; the network in front of the gateway ends it after 100 s or more.
const completeStalls = 4

// completed checks an object that the gateway says is complete. Where its ETag
// proves nothing, its size is looked at.
func (m *multipart) completed(ctx context.Context, t *transfer, want Object, etag string) (Object, error) {
	if want.ETag != "" && looksLikeParts(etag) {
		if !strings.EqualFold(etag, want.ETag) {
			return Object{}, t.damaged(fmt.Errorf("the gateway stored something else: its ETag is %s, not %s", etag, want.ETag))
		}
		want.ETag = etag
		return want, nil
	}
	return m.v.confirm(ctx, m.op, want, m.own)
}
