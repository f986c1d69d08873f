package runpod

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// resumeDir keeps one small file for each upload that is not finished, named
// after the object, so that another process can go on with it. It is safe for
// concurrent use; of two uploads to one key at once only the first can be gone
// on with.
type resumeDir struct {
	dir, store string // store: the gateway's address and the bucket

	mu   sync.Mutex
	busy map[string]bool
}

// unfinishedUpload is what such a file says.
type unfinishedUpload struct {
	Store, Key string
	UploadID   string // the gateway's
	Own        string // the id in the object's metadata
	Size       int64
	PartSize   int64
	Checksum   Checksum
	Completing bool // its parts may be being put together
}

// resumable is one upload's own file in the folder.
type resumable struct {
	dir  *resumeDir
	path string
}

// claim reserves a key's file; nil when another upload has it, or when there
// is no such folder.
func (d *resumeDir) claim(key string) *resumable {
	if d == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(d.store + "\x00" + key))
	r := &resumable{dir: d, path: filepath.Join(d.dir, fmt.Sprintf("%x.upload", sum[:16]))}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[r.path] {
		return nil
	}
	d.busy[r.path] = true
	return r
}

func (r *resumable) unclaim() {
	if r != nil {
		r.dir.mu.Lock()
		defer r.dir.mu.Unlock()
		delete(r.dir.busy, r.path)
	}
}

// load reads what is known of an unfinished upload of the key; nil: nothing.
func (r *resumable) load(key string) *unfinishedUpload {
	data, err := os.ReadFile(r.path)
	var u unfinishedUpload
	if err != nil || json.Unmarshal(data, &u) != nil || u.Store != r.dir.store || u.Key != key {
		return nil
	}
	return &u
}

func (r *resumable) save(u unfinishedUpload) error {
	if err := os.MkdirAll(r.dir.dir, 0o700); err != nil {
		return err
	}
	return writeWhole(r.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(u) })
}

// completing notes that the gateway is about to be asked to put the parts
// together.
func (r *resumable) completing(key string) error {
	if r == nil {
		return nil
	}
	u := r.load(key)
	if u == nil || u.Completing {
		return nil
	}
	u.Completing = true
	return r.save(*u)
}

func (r *resumable) forget() { os.Remove(r.path) }

// beginParts begins an upload in parts of partSize, or goes on with one that was
// not finished. Its resumable is kept until it is finished or given up.
func (v *volume) beginParts(ctx context.Context, op, key string, in Input, size, partSize int64) (*multipart, error) {
	r := v.resume.claim(key)
	if r == nil {
		m, err := v.create(ctx, op, key)
		if err == nil {
			m.partSize = partSize
		}
		return m, err
	}
	m, err := v.goOn(ctx, op, key, in, r, unfinishedUpload{Size: size, PartSize: partSize, Checksum: v.checksum})
	if err == nil && m == nil {
		m, err = v.createResumable(ctx, op, key, r, size, partSize)
	}
	if err != nil {
		r.unclaim()
		return nil, err
	}
	m.resume = r
	return m, nil
}

func (v *volume) createResumable(ctx context.Context, op, key string, r *resumable, size, partSize int64) (*multipart, error) {
	m, err := v.create(ctx, op, key)
	if err != nil {
		return nil, err
	}
	m.partSize = partSize
	err = r.save(unfinishedUpload{Store: r.dir.store, Key: key, UploadID: m.id, Own: m.own,
		Size: size, PartSize: partSize, Checksum: v.checksum})
	if err != nil {
		m.abort(ctx)
		return nil, &Error{Op: op, Field: "WithResumeDir", Err: err}
	}
	return m, nil
}

// goOn finds the unfinished upload that the file tells of. It gives nil when
// there is none, or when it was one of another content's size: that is ended.
func (v *volume) goOn(ctx context.Context, op, key string, in Input, r *resumable, want unfinishedUpload) (*multipart, error) {
	u := r.load(key)
	if u == nil {
		return nil, nil
	}
	m := &multipart{v: v, op: op, key: key, id: u.UploadID, own: u.Own, parts: map[int32]sentPart{}}
	if m.partSize = u.PartSize; u.Size != want.Size || m.partSize < 1 || u.Checksum != want.Checksum {
		m.abort(ctx)
		r.forget()
		return nil, nil
	}
	var err error
	if m.there, err = v.listParts(ctx, op, key, u.UploadID); err == nil {
		return m, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if m.done, err = v.endedBefore(ctx, op, in, u); m.done != nil || err != nil {
		return m, err
	}
	r.forget()
	return nil, nil
}

// endedBefore finds the object of an upload that the gateway has forgotten: it
// may have been completed for a process that did not live to hear of it. While
// parts are put together there may be neither the upload nor the object
// (versitygw): then it looks again.
func (v *volume) endedBefore(ctx context.Context, op string, in Input, u *unfinishedUpload) (*Object, error) {
	for looks := 1; ; looks++ {
		obj, err := v.lookEnded(ctx, op, in, u)
		if obj != nil || err != nil || !u.Completing || looks == s3Attempts {
			return obj, err
		}
		if sleep(ctx, v.policy.backoff(looks-1, 0, -1, rand.Float64())) != nil {
			return nil, ended(ctx, op)
		}
	}
}

func (v *volume) lookEnded(ctx context.Context, op string, in Input, u *unfinishedUpload) (*Object, error) {
	obj, own, err := v.head(ctx, op, u.Key)
	if err != nil || own != u.Own || obj.Size != u.Size {
		return nil, ctx.Err()
	}
	etag, err := v.partsETagOf(ctx, in, u.Size, u.PartSize)
	if err != nil {
		return nil, inputError(ctx, op, in, err)
	}
	if obj.ETag != etag {
		return nil, nil
	}
	return &obj, nil
}

// partsETagOf foretells the ETag of an input that is stored in parts.
func (v *volume) partsETagOf(ctx context.Context, in Input, size, partSize int64) (string, error) {
	var etags []string
	for p := range partsOf(size, partSize) {
		open := func(ctx context.Context) (io.ReadCloser, error) { return in.at(ctx, p.offset, p.size) }
		d, err := v.sum(ctx, ChecksumMD5, body{in: in, size: p.size, local: true, open: open})
		if err != nil {
			return "", err
		}
		etags = append(etags, hex.EncodeToString(d.sum))
	}
	return partsETag(etags), nil
}

// listParts gives the parts of an unfinished upload that the gateway has.
func (v *volume) listParts(ctx context.Context, op, key, id string) (map[int32]sentPart, error) {
	parts := map[int32]sentPart{}
	for marker := ""; ; {
		t, ctx := v.begin(ctx, op)
		in := &s3.ListPartsInput{Bucket: &v.bucket, Key: &key, UploadId: &id}
		if marker != "" {
			in.PartNumberMarker = &marker
		}
		out, err := v.client.ListParts(ctx, in, func(o *s3.Options) { o.Retryer = t })
		if err != nil {
			return nil, t.fail(err)
		}
		for _, p := range out.Parts {
			parts[aws.ToInt32(p.PartNumber)] = sentPart{size: aws.ToInt64(p.Size), etag: trimETag(p.ETag)}
		}
		next := aws.ToString(out.NextPartNumberMarker)
		if !aws.ToBool(out.IsTruncated) || next == "" || next == marker {
			return parts, nil
		}
		marker = next
	}
}

// has reports whether the gateway has a part already: the same size, and for
// an ETag the MD5 of the same content.
func (m *multipart) has(ctx context.Context, b body, number int32) (sentPart, bool) {
	there, ok := m.there[number]
	if !ok || there.size != b.size {
		return there, false
	}
	sum, err := m.v.sum(ctx, ChecksumMD5, b)
	if err != nil || there.etag != hex.EncodeToString(sum.sum) {
		return there, false
	}
	if m.v.checksum == ChecksumCRC32C {
		if sum, err = m.v.sum(ctx, ChecksumCRC32C, b); err != nil {
			return there, false
		}
		there.crc = sum.crc32c()
	}
	return there, true
}
