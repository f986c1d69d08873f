package runpod

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/gpuburst/runpod-go/internal/line"
)

// body is what one request carries of an input.
type body struct {
	in    Input
	size  int64
	local bool // reading it costs processor time, not waiting
	open  func(context.Context) (io.ReadCloser, error)
	known *digest      // taken already; nil: it is not
	late  *atomic.Bool // set if it went out whole and was not answered for; nil: nobody asks
}

// checksums takes the checksums of bodies, and knows which the store wants. It
// is safe for concurrent use.
type checksums struct {
	chosen  Checksum
	crc32c  crc32cSupport
	hashing *line.Gate // at once: more than processors only interleave
}

func newChecksums(chosen Checksum) *checksums {
	return &checksums{chosen: chosen, hashing: line.NewGate(runtime.GOMAXPROCS(0))}
}

// kind returns the checksum to send.
func (s *checksums) kind() Checksum {
	if s.crc32c.lacking.Load() {
		return ChecksumMD5
	}
	return s.chosen
}

// sum takes the checksum of a body. Bodies at hand wait for a processor, so
// that the first ones are ready to be sent while the others are summed up.
func (s *checksums) sum(ctx context.Context, kind Checksum, b body) (digest, error) {
	if b.known != nil && b.known.kind == kind {
		return *b.known, nil
	}
	if b.local {
		if err := s.hashing.Acquire(ctx); err != nil {
			return digest{}, err
		}
		defer s.hashing.Release()
	}
	d, err := kind.of(ctx, b.open)
	if err == nil && d.size != b.size {
		err = fmt.Errorf("it has %d bytes, not %d as was said", d.size, b.size)
	}
	return d, err
}

func (s *checksums) isMD5Of(ctx context.Context, b body, etag string) bool {
	d, err := s.sum(ctx, ChecksumMD5, b)
	return err == nil && looksLikeMD5(etag) && d.verify(etag, nil) == nil
}

// partsETag foretells the ETag of an input that is stored in parts.
func (s *checksums) partsETag(ctx context.Context, in Input, size, partSize int64) (string, error) {
	var etags []string
	for p := range partsOf(size, partSize) {
		open := func(ctx context.Context) (io.ReadCloser, error) { return in.at(ctx, p.offset, p.size) }
		d, err := s.sum(ctx, ChecksumMD5, body{in: in, size: p.size, local: true, open: open})
		if err != nil {
			return "", err
		}
		etags = append(etags, hex.EncodeToString(d.sum))
	}
	return partsETag(etags), nil
}

// bodySender makes the request that carries a body, and returns the ETag and the
// CRC32C of the answer.
type bodySender func(t *transfer, d digest) (etag, crc *string, err error)

// sendBody sends a body with its checksum and compares the answer with it.
func sendBody(ctx context.Context, k task, sums *checksums, b body, send bodySender) (digest, string, error) {
	kind := sums.kind()
	if b.known != nil {
		kind = b.known.kind
	}
	for ; ; kind = ChecksumMD5 {
		d, err := sums.sum(ctx, kind, b)
		if err != nil {
			return d, "", inputError(ctx, k.op, b.in, err)
		}
		t := k.transfer(ctx)
		t.body = b.open
		tag, crc, err := send(t, d)
		if t.late && b.late != nil {
			b.late.Store(true)
		}
		if err != nil {
			if kind == ChecksumCRC32C && sums.crc32c.blamed(t.last.kind) {
				continue
			}
			return d, "", t.failure(err)
		}
		etag := trimETag(tag)
		if kind == ChecksumCRC32C && !sums.crc32c.confirmed(crc) {
			if sums.isMD5Of(ctx, b, etag) {
				return d, etag, nil
			}
			t.meter.move(-d.size)
			continue
		}
		if err := d.verify(etag, crc); err != nil {
			t.meter.move(-d.size)
			return d, "", t.damaged(err, "what is stored is not what was sent: upload it again")
		}
		return d, etag, nil
	}
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
