package runpod

import (
	"context"
	"io"
)

// store is the volume as the doors see it: each method checks its arguments,
// opens one operation of the Client's lifetime, and does the work inside it. It
// is safe for concurrent use.
type store struct {
	volume  *volume
	life    *lifetime
	missing func(op string) error // what is not set, if anything
}

// begin begins an operation on the volume.
func (s *store) begin(ctx context.Context, op string) (*operation, error) {
	if err := s.missing(op); err != nil {
		return nil, err
	}
	return s.life.begin(ctx, op)
}

func (s *store) upload(ctx context.Context, key string, in Input) (Object, error) {
	op := opOn("upload", key)
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	if err := in.usable(); err != nil {
		return Object{}, refuse(op, "Input", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return s.volume.upload(o, op, key, in)
}

func (s *store) download(ctx context.Context, key string, w io.Writer) (Object, error) {
	op := opOn("download", key)
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	if w == nil {
		return Object{}, refuse(op, "w", "it is nil")
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return s.volume.download(o, op, key, w)
}

func (s *store) downloadFile(ctx context.Context, key, path string) (Object, error) {
	op := opOn("download", key)
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	if err := checkTarget(path); err != nil {
		return Object{}, refuse(op, "path", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return s.volume.downloadFile(o, op, key, path)
}

func (s *store) stat(ctx context.Context, key string) (Object, error) {
	op := opOn("stat", key)
	if err := checkKey(key); err != nil {
		return Object{}, refuse(op, "key", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return Object{}, err
	}
	defer o.end()
	return s.volume.stat(o, op, key)
}

func (s *store) delete(ctx context.Context, key string) error {
	op := opOn("delete", key)
	if err := checkKey(key); err != nil {
		return refuse(op, "key", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return err
	}
	defer o.end()
	return s.volume.delete(o, op, key)
}
