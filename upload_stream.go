package runpod

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// uploadStream stores an input that can only be read from its beginning, once.
func uploadStream(ctx context.Context, u *upload) (Object, error) {
	r, err := u.in.open(ctx)
	if err != nil {
		return Object{}, u.unreadable(ctx, err)
	}
	s := &stream{upload: u, r: r}
	var once sync.Once
	closed := func() { once.Do(func() { r.Close() }) }
	defer closed()
	defer context.AfterFunc(ctx, closed)() // a read that blocks ends with the context

	first, err := s.next(ctx, 1)
	if err != nil {
		return Object{}, u.unreadable(ctx, err)
	}
	if !first.Full() { // it was so short that one buffer holds it
		defer first.Free()
		size := u.state.size
		if size < 0 {
			size = first.Size()
		}
		return u.put(ctx, body{in: u.in, size: size, local: true, open: first.Open})
	}
	m, err := s.create(ctx, first)
	if err != nil {
		return Object{}, err
	}
	return m.storeAll(ctx, func() error { return m.sendParts(ctx, u.buffers.Blocks(), s.from(first), nil) })
}

// stream is an input that is read once.
type stream struct {
	*upload
	r    io.Reader
	read int64
}

// create begins an upload in parts. If that fails, the first part is freed.
func (s *stream) create(ctx context.Context, first *line.Chunk) (m *multipart, err error) {
	defer func() {
		if m == nil {
			first.Free()
		}
	}()
	return createMultipart(ctx, s.upload)
}

// next reads the content of a part.
func (s *stream) next(ctx context.Context, number int32) (*line.Chunk, error) {
	b, err := s.buffers.Read(ctx, s.r, streamBlocks(number, s.state.size))
	if err != nil {
		return nil, err
	}
	if s.read += b.Size(); s.read > s.largest {
		b.Free()
		return nil, s.tooLarge("the stream has more than the %d bytes that can be stored", s.largest)
	}
	if s.state.size < 0 {
		s.meter.grew(b.Size())
	}
	return b, nil
}

// from produces the pieces of a stream whose first part was read already.
func (s *stream) from(b *line.Chunk) line.Producer[piece] {
	return func(ctx context.Context, emit func(piece) error) (err error) {
		for number := int32(1); ; number++ {
			if b.Size() == 0 {
				b.Free()
				break
			}
			if number > maxParts {
				b.Free()
				return s.tooLarge("the stream needs more than %d parts", maxParts)
			}
			last := !b.Full()
			p := part{number: number, size: b.Size()}
			if err := emit(piece{p, b.Open, b.Free}); err != nil {
				b.Free()
				return err
			}
			if last {
				break
			}
			if b, err = s.next(ctx, number+1); err != nil {
				return err
			}
		}
		return s.checkEnd(ctx)
	}
}

// checkEnd fails if the stream did not end as it should.
func (s *stream) checkEnd(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.state.size >= 0 && s.read != s.state.size {
		return fmt.Errorf("it has %d bytes, not %d as was said", s.read, s.state.size)
	}
	return nil
}
