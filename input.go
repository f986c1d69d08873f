package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// Input is something to upload: [File], [Bytes] or [Reader] make one. It is a
// value that may be copied and used by several jobs at once; it is opened anew
// for every attempt.
type Input struct {
	name string
	size int64 // -1: found out by reading
	open func(context.Context) (io.ReadCloser, error)
	stat func() error // what must hold before any traffic; nil: nothing
}

// File is the file at path. It must be a regular file that does not change
// while it is uploaded; its last path element names the object of a job whose
// key is "".
func File(path string) Input {
	return Input{
		name: filepath.Base(path),
		size: -1,
		open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) },
		stat: func() error {
			info, err := os.Stat(path)
			if err == nil && !info.Mode().IsRegular() {
				err = fmt.Errorf("%s is not a regular file", path)
			}
			return err
		},
	}
}

// Bytes is b itself, which must not be changed while it is uploaded. The name
// serves where a job's key is "", and in errors.
func Bytes(name string, b []byte) Input {
	return Input{
		name: name,
		size: int64(len(b)),
		open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// Reader is whatever open gives: size bytes, or an unknown number when size is
// -1. It is opened once to take the checksum and once more for every attempt,
// each time from the beginning and with the same content; the context is the
// upload's.
func Reader(name string, size int64, open func(context.Context) (io.ReadCloser, error)) Input {
	return Input{name: name, size: size, open: open}
}

// check refuses what cannot be uploaded, before any traffic.
func (in Input) check() error {
	switch {
	case in.open == nil:
		return errors.New("it is empty: make one with File, Bytes or Reader")
	case in.size < -1:
		return fmt.Errorf("size %d: want the number of bytes, or -1 for unknown", in.size)
	case in.stat != nil:
		return in.stat()
	}
	return nil
}

// baseName is the last element of the input's name, for the key made up for it.
func (in Input) baseName() string { return path.Base(filepath.ToSlash(in.name)) }

// digest is what is known of an input's content before it is sent.
type digest struct {
	size int64
	md5  [md5.Size]byte
}

// digest reads the input once, start to end.
func (in Input) digest(ctx context.Context) (digest, error) {
	r, err := in.open(ctx)
	if err != nil {
		return digest{}, err
	}
	defer r.Close()
	h := md5.New()
	n, err := copyContext(ctx, h, r)
	if err != nil {
		return digest{}, err
	}
	if in.size >= 0 && n != in.size {
		return digest{}, fmt.Errorf("it has %d bytes, not %d as was said", n, in.size)
	}
	d := digest{size: n}
	h.Sum(d.md5[:0])
	return d, nil
}

const copyBuffer = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// copyContext is io.Copy that looks at the context after every buffer.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		if ctx.Err() != nil {
			return total, context.Cause(ctx)
		}
		n, err := r.Read(buf[:])
		if n > 0 {
			m, werr := w.Write(buf[:n])
			total += int64(m)
			if werr != nil {
				return total, &writeError{werr}
			}
			if m < n {
				return total, &writeError{io.ErrShortWrite}
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// writeError marks an error as the destination's, not the source's.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }
