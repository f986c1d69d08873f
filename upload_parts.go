package runpod

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
)

// multipart is an upload in parts under way.
type multipart struct {
	*upload
	id   string // the gateway's name for the upload
	own  string // ours for the object
	size int64  // of a part; 0: a stream's parts grow

	resume *resumable         // nil: it cannot be gone on with
	there  map[int32]sentPart // what an earlier attempt has left
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

// createMultipart begins an upload in parts.
func createMultipart(ctx context.Context, u *upload) (*multipart, error) {
	m := &multipart{upload: u, own: rand.Text(), parts: map[int32]sentPart{}}
	in := &s3.CreateMultipartUploadInput{Bucket: &u.gw.bucket, Key: &u.key, Metadata: map[string]string{ownID: m.own}}
	if u.sums.kind() == ChecksumCRC32C {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	for {
		t := u.transfer(ctx)
		out, err := perform(t, u.gw.client.CreateMultipartUpload, in)
		if err == nil {
			if m.id = aws.ToString(out.UploadId); m.id == "" {
				return nil, t.failure(errors.New("the gateway gave the upload no id"))
			}
			return m, nil
		}
		if in.ChecksumAlgorithm == "" || !u.sums.crc32c.blamed(t.last.kind) {
			return nil, t.failure(err)
		}
		in.ChecksumAlgorithm = ""
	}
}

// sendParts sends what produce makes, several pieces at a time. One piece more
// than there are places is held ready, its checksum taken. Last, if not nil, has
// the last word.
func (m *multipart) sendParts(ctx context.Context, most int, produce line.Producer[piece], last func() error) error {
	err := line.ForEach(ctx, min(most, m.gw.pool.Size()+1), produce, func(ctx context.Context, p piece) error {
		defer p.free()
		return m.sendPart(ctx, p)
	})
	if err == nil && last != nil {
		err = last()
	}
	if _, ours := errors.AsType[*Error](err); err == nil || ours {
		return err
	}
	return m.unreadable(ctx, err)
}

func (m *multipart) sendPart(ctx context.Context, p piece) error {
	b := body{in: m.in, size: p.size, local: true, open: p.open, late: &m.late}
	if s, ok := m.partThere(ctx, b, p.number); ok {
		m.keep(p.number, s)
		m.meter.move(s.size)
		return nil
	}
	d, etag, err := sendBody(ctx, m.task, m.sums, b, func(t *transfer, d digest) (*string, *string, error) {
		out, err := perform(t, m.gw.client.UploadPart, &s3.UploadPartInput{
			Bucket:         &m.gw.bucket,
			Key:            &m.key,
			UploadId:       &m.id,
			PartNumber:     &p.number,
			Body:           &placeholder{size: p.size},
			ContentLength:  &p.size,
			ContentMD5:     d.contentMD5(),
			ChecksumCRC32C: d.crc32c(),
		})
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

// partThere reports whether the gateway has a part already: the same size, and
// for an ETag the MD5 of the same content.
func (m *multipart) partThere(ctx context.Context, b body, number int32) (sentPart, bool) {
	there, ok := m.there[number]
	if !ok || there.size != b.size {
		return there, false
	}
	sum, err := m.sums.sum(ctx, ChecksumMD5, b)
	if err != nil || there.etag != hex.EncodeToString(sum.sum) {
		return there, false
	}
	if m.sums.chosen == ChecksumCRC32C {
		if sum, err = m.sums.sum(ctx, ChecksumCRC32C, b); err != nil {
			return there, false
		}
		there.crc = sum.crc32c()
	}
	return there, true
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

// storeAll sends the parts and has them put together. An upload that has failed
// is given up, unless another attempt can go on with it.
func (m *multipart) storeAll(ctx context.Context, send func() error) (obj Object, err error) {
	stored := false
	defer func() {
		if !stored { // also if reading the input has ended the goroutine
			m.leave(ctx)
		}
	}()
	for tries := 1; ; tries++ {
		if err = send(); err == nil {
			obj, err = m.complete(ctx)
		}
		if err == nil {
			stored = true
			return m.ended(obj), nil
		}
		if tries == maxThin+1 || !m.hasLost(ctx, err) {
			return Object{}, err
		}
	}
}

// leave gives up an upload that is not stored: its parts stay only if it can be
// gone on with.
func (m *multipart) leave(ctx context.Context) {
	defer m.resume.unclaim()
	if m.resume == nil {
		m.abort(ctx)
	}
}

// ended takes note that the object is there.
func (m *multipart) ended(obj Object) Object {
	if m.resume != nil {
		m.resume.forget()
		m.resume.unclaim()
	}
	m.done.whole(obj.Size)
	return obj
}

// hasLost reports whether the gateway has lost parts that it had taken, which
// can be sent again.
func (m *multipart) hasLost(ctx context.Context, err error) bool {
	if apiCode(err) != "InvalidPart" || !m.again {
		return false
	}
	there, err := listParts(ctx, m.task, m.key, m.id)
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

// abort tells the gateway to forget the upload, also if the context has ended. A
// gateway that is silent is waited for in the background, see tidying.
func (m *multipart) abort(ctx context.Context) {
	m.tidy.do(ctx, m.gw.policy.Stall, m.abortAll)
}

// abortAll aborts the upload. A part whose last byte is out can arrive after that
// and bring the upload back (the S3 API reference says so, and versitygw does
// it): then the gateway is told again, a little later.
func (m *multipart) abortAll(ctx context.Context) {
	m.abortOnce(ctx)
	for again := range lateAborts {
		if !m.late.Load() || backoff.Sleep(ctx, m.gw.policy.backoff(again, 0, -1, 1)) != nil {
			return
		}
		m.abortOnce(ctx)
	}
}

// abortOnce logs what cannot be aborted: the upload's own failure stands.
func (m *multipart) abortOnce(ctx context.Context) {
	t := m.transfer(ctx)
	_, err := perform(t, m.gw.client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: &m.gw.bucket, Key: &m.key, UploadId: &m.id})
	if err != nil && apiCode(err) != "NoSuchUpload" {
		m.gw.logger.LogAttrs(ctx, slog.LevelWarn, "unfinished upload left on the volume",
			slog.String("key", m.key), slog.String("upload", m.id), slog.String("error", t.plainCause(err).Error()))
	}
}

// expected is what the object must be once its parts are put together. Its ETag
// is "" if it cannot be foretold.
func (m *multipart) expected() (obj Object, parts []types.CompletedPart) {
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
// says NoSuchUpload because it had succeeded before (reported by users). And it
// was answered 200 with nothing stored behind it (reported of 5 GB). So every
// end is looked at, before it is asked for again and before it counts as failed.
func (m *multipart) complete(ctx context.Context) (Object, error) {
	want, parts := m.expected()
	if err := m.resume.completing(m.key); err != nil {
		return Object{}, &Error{Op: m.op, Field: "WithResumeDir", Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, completeLimit, errTooSlow)
	defer cancel()
	t := m.transfer(ctx)
	t.careful = true
	t.stall = completeStalls * m.gw.policy.Stall
	t.least = 0 // some stores send a blank now and then, to show that they live
	in := &s3.CompleteMultipartUploadInput{Bucket: &m.gw.bucket, Key: &m.key, UploadId: &m.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	end := &completion{multipart: m, t: t, want: want}
	for {
		out, err := perform(t, m.gw.client.CompleteMultipartUpload, in)
		if err == nil {
			end.answered, end.etag = true, trimETag(out.ETag)
		} else if !t.doubt && apiCode(err) != "NoSuchUpload" {
			return Object{}, t.failure(err)
		}
		if obj, done, err := end.look(ctx, err); done {
			return obj, err
		}
	}
}

// completeStalls: putting a large object together takes minutes in which no
// byte moves; the network in front of the gateway ends it after 100 s or more.
const completeStalls = 4

// completeLimit is what all of that may take: 2 hours are what Runpod's docs
// advise to wait.
const completeLimit = 2 * time.Hour

var errTooSlow = fmt.Errorf("the gateway did not put the parts together within %s", completeLimit)

// completion is what is known of the end of an upload.
type completion struct {
	*multipart
	t        *transfer
	want     Object
	etag     string // of the object, as the gateway has answered
	answered bool   // it has said that the object is complete
	doubted  bool   // it may have been put together, or be about to be
	looks    int
}

// look looks for the object after an attempt to complete it, which failed with
// err. It reports whether that is the end.
func (c *completion) look(ctx context.Context, err error) (obj Object, done bool, _ error) {
	c.doubted = c.doubted || c.answered || c.t.doubt
	if c.doubted && (err != nil || c.looks > 0) { // it may still be at work
		if backoff.Sleep(ctx, c.gw.policy.backoff(c.looks, 0, -1, mathrand.Float64())) != nil {
			return Object{}, true, ended(ctx, c.op)
		}
	}
	c.looks++
	obj, lookErr := confirmObject(ctx, c.task, c.want, c.own, c.want.ETag, c.etag)
	switch {
	case lookErr == nil:
		return obj, true, nil
	case !isNotYet(lookErr):
		return Object{}, true, lookErr
	case c.doubted && c.looks < s3Attempts:
		return Object{}, false, nil
	case c.answered:
		return Object{}, true, c.t.damaged(fmt.Errorf("the gateway said that the object is complete, and it is not there: %w", lookErr), "upload it again")
	case apiCode(err) == "NoSuchUpload":
		err = fmt.Errorf("the gateway has forgotten the parts (%w), and the object is not there (%v): upload it again", c.t.plainCause(err), lookErr)
	default:
		err = fmt.Errorf("%w; and the object is not there (%v)", c.t.plainCause(err), lookErr)
	}
	return Object{}, true, c.t.conclude(err)
}

// listParts returns the parts of an unfinished upload that the gateway has.
func listParts(ctx context.Context, k task, key, id string) (map[int32]sentPart, error) {
	parts := map[int32]sentPart{}
	in := &s3.ListPartsInput{Bucket: &k.gw.bucket, Key: &key, UploadId: &id}
	for {
		t := k.transfer(ctx)
		out, err := perform(t, k.gw.client.ListParts, in)
		if err != nil {
			return nil, t.failure(err)
		}
		for _, p := range out.Parts {
			parts[aws.ToInt32(p.PartNumber)] = sentPart{size: aws.ToInt64(p.Size), etag: trimETag(p.ETag)}
		}
		next := aws.ToString(out.NextPartNumberMarker)
		if !aws.ToBool(out.IsTruncated) || next == "" || next == aws.ToString(in.PartNumberMarker) {
			return parts, nil
		}
		in.PartNumberMarker = &next
	}
}
