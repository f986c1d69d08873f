package runpod

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"
	"sync/atomic"
)

// Checksum is what the body of an upload carries, so that the store can refuse
// one that arrives damaged or cut short. See [WithChecksum]. Most callers should
// leave it at the default.
type Checksum int

const (
	// ChecksumCRC32C, the default, is the header x-amz-checksum-crc32c, which
	// costs next to nothing. AWS S3 and versitygw check it; whether Runpod's
	// gateway does is not known. A store that checks it repeats it in its answer.
	// If an answer lacks it, the body's MD5 is compared with the ETag. If the
	// header is refused with a 400 or 501, the body is sent again without it.
	// From then on bodies carry their MD5.
	ChecksumCRC32C Checksum = iota
	// ChecksumMD5 is the header Content-MD5. Every S3 store is meant to check
	// it, and returns it as the ETag of whole objects and parts, which is
	// compared. It costs about 1.6 ms of processor time for each MB.
	ChecksumMD5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c Checksum) hash() hash.Hash {
	if c == ChecksumCRC32C {
		return crc32.New(castagnoli)
	}
	return md5.New()
}

// digest is what is known of a body before it is sent.
type digest struct {
	kind Checksum
	size int64
	sum  []byte
}

// of reads something to its end and sums it up, what is in memory already
// without copying it.
func (c Checksum) of(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (digest, error) {
	r, err := open(ctx)
	if err != nil {
		return digest{}, err
	}
	defer r.Close()
	h := c.hash()
	var n int64
	if m, ok := r.(*memory); ok {
		n, err = m.WriteTo(&untilDone{ctx, h})
	} else {
		n, err = copyContext(ctx, h, r)
	}
	if err != nil {
		return digest{}, err
	}
	return digest{kind: c, size: n, sum: h.Sum(nil)}, nil
}

// untilDone writes a little at a time, until the context ends.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u *untilDone) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if u.ctx.Err() != nil {
			return n, context.Cause(u.ctx)
		}
		m, err := u.w.Write(p[n:min(n+1<<20, len(p))])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// contentMD5 and crc32c are the headers' values; nil for the other kind.
func (d digest) contentMD5() *string { return d.header(ChecksumMD5) }
func (d digest) crc32c() *string     { return d.header(ChecksumCRC32C) }

func (d digest) header(kind Checksum) *string {
	if d.kind != kind {
		return nil
	}
	s := base64.StdEncoding.EncodeToString(d.sum)
	return &s
}

// verify compares a body with what the store says it has stored. An ETag means
// something only if it is an MD5.
func (d digest) verify(etag string, crc *string) error {
	switch {
	case d.kind == ChecksumMD5 && looksLikeMD5(etag) && !strings.EqualFold(etag, hex.EncodeToString(d.sum)):
		return fmt.Errorf("the gateway stored something else: its ETag is %s, not %x", etag, d.sum)
	case d.kind == ChecksumCRC32C && crc != nil && *crc != *d.crc32c():
		return fmt.Errorf("the gateway stored something else: its CRC32C is %s, not %s", *crc, *d.crc32c())
	}
	return nil
}

// crc32cSupport is what a store has shown of its ways with CRC32C. It is safe
// for concurrent use.
type crc32cSupport struct {
	seen    atomic.Bool // it has repeated one
	lacking atomic.Bool // it has not: bodies get MD5s from then on
}

// confirmed notes whether an answer repeats the CRC32C: a store that does not
// has not said that it checks it.
func (s *crc32cSupport) confirmed(crc *string) bool {
	if crc != nil {
		s.seen.Store(true)
		return true
	}
	s.lacking.Store(true)
	return false
}

// blamed reports whether a failure of this kind may be due to the header itself:
// the store calls the request a bad one and has never confirmed a CRC32C.
func (s *crc32cSupport) blamed(kind error) bool {
	if kind != ErrBadRequest || s.seen.Load() {
		return false
	}
	s.lacking.Store(true)
	return true
}

// looksLikeMD5 reports whether an ETag can be the MD5 of the content: those of
// multipart uploads and of files a worker wrote are something else.
func looksLikeMD5(etag string) bool {
	_, err := hex.DecodeString(etag)
	return len(etag) == 2*md5.Size && err == nil
}

// partsETag is the ETag of an object made of parts: the MD5 of their MD5s, and
// their number (reported by users). It is "" when one of theirs is no MD5.
func partsETag(etags []string) string {
	h := md5.New()
	for _, etag := range etags {
		sum, err := hex.DecodeString(etag)
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		h.Write(sum)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(etags))
}
