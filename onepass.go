package runpod

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// uploadStream stores an input that can only be read from its beginning, once.
func (v *volume) uploadStream(ctx context.Context, op, key string, in Input, size int64) (Object, error) {
	r, err := in.open(ctx)
	if err != nil {
		return Object{}, inputError(ctx, op, in, err)
	}
	s := &stream{v: v, in: in, r: r, size: size}
	closed := sync.OnceFunc(func() { r.Close() })
	defer closed()
	defer context.AfterFunc(ctx, closed)() // a read that blocks ends with the context

	first, err := s.next(ctx, 1)
	if err != nil {
		return Object{}, inputError(ctx, op, in, err)
	}
	if !first.Full() { // it was so short that one buffer holds it
		defer first.Free()
		if size < 0 {
			size = first.Size()
		}
		return v.put(ctx, op, key, body{in: in, size: size, local: true, open: first.Open})
	}
	m, err := v.create(ctx, op, key)
	if err != nil {
		first.Free()
		return Object{}, err
	}
	return m.finish(ctx, func() error { return m.send(ctx, in, v.buffers.Blocks(), s.from(first), nil) })
}

// stream is an input that is read once.
type stream struct {
	v    *volume
	in   Input
	r    io.Reader
	size int64 // -1: unknown
	read int64
}

func (s *stream) next(ctx context.Context, number int32) (*line.Chunk, error) {
	b, err := s.v.buffers.Read(ctx, s.r, streamBlocks(number, s.size))
	if err == nil {
		s.read += b.Size()
		if s.size < 0 {
			s.v.meter(ctx).grow(b.Size())
		}
	}
	return b, err
}

// from makes the pieces of a stream whose first part was read already.
func (s *stream) from(b *line.Chunk) line.Producer[piece] {
	return func(ctx context.Context, emit func(piece) error) (err error) {
		for number := int32(1); ; number++ {
			if b.Size() == 0 || number > maxParts {
				b.Free()
				break
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
		return s.whole(ctx)
	}
}

// whole fails if the stream did not end where it should.
func (s *stream) whole(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.size >= 0 && s.read != s.size {
		return fmt.Errorf("it has %d bytes, not %d as was said", s.read, s.size)
	}
	return nil
}
