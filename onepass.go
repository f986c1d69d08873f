package runpod

import (
	"context"
	"fmt"
	"io"
	"sync"
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
	if !first.full() { // it was so short that one buffer holds it
		defer first.free()
		if size < 0 {
			size = first.size
		}
		return v.put(ctx, op, key, body{in: in, size: size, local: true, open: first.open})
	}
	m, err := v.create(ctx, op, key)
	if err != nil {
		first.free()
		return Object{}, err
	}
	return m.finish(ctx, func() error { return m.send(ctx, in, v.buffers.total, s.from(first), nil) })
}

// stream is an input that is read once.
type stream struct {
	v    *volume
	in   Input
	r    io.Reader
	size int64 // -1: unknown
	read int64
}

func (s *stream) next(ctx context.Context, number int32) (*buffered, error) {
	b, err := s.v.buffers.read(ctx, s.r, streamBlocks(number, s.size))
	if err == nil {
		s.read += b.size
		if s.size < 0 {
			s.v.meter(ctx).grow(b.size)
		}
	}
	return b, err
}

// from makes the pieces of a stream whose first part was read already.
func (s *stream) from(b *buffered) producer[piece] {
	return func(ctx context.Context, emit func(piece) error) (err error) {
		for number := int32(1); ; number++ {
			if b.size == 0 || number > maxParts {
				b.free()
				break
			}
			last := !b.full()
			p := part{number: number, size: b.size}
			if err := emit(piece{p, b.open, b.free}); err != nil {
				b.free()
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
