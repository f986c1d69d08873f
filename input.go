package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// Input is something to upload: [File], [Bytes] or [Reader] make one. Most
// callers should use File or Bytes, which can be read again after a failure
// without being buffered. An Input may be copied and used by several jobs at
// once.
type Input struct {
	name string
	size int64 // -1: state says it, or if that is nil reading does
	open func(context.Context) (io.ReadCloser, error)
	// at opens a section of it; nil: it can be read from the beginning only.
	at func(ctx context.Context, offset, size int64) (io.ReadCloser, error)
	// state returns what it is now, and refuses what cannot be uploaded; nil:
	// there is nothing to ask.
	state func() (inputState, error)
	// local says that reading it costs processor time, not waiting.
	local bool
}

// inputState is what a file system says of an input: one that differs before
// and after an upload was changed meanwhile.
type inputState struct {
	size     int64
	modified time.Time
}

// File returns the file at path as an input. It must be a regular file that
// does not change while it is uploaded. Its last path element names the object
// of a [JobInput] without a key.
func File(path string) Input {
	return fileInput(path, func() (*os.File, error) { return os.Open(path) }, func() (os.FileInfo, error) { return os.Stat(path) })
}

// fileIn is a file within a folder that the name cannot leave.
func fileIn(root *os.Root, name string) Input {
	return fileInput(name, func() (*os.File, error) { return root.Open(name) }, func() (os.FileInfo, error) { return root.Lstat(name) })
}

func fileInput(path string, open func() (*os.File, error), stat func() (os.FileInfo, error)) Input {
	return Input{
		name: filepath.Base(path),
		size: -1,
		open: func(context.Context) (io.ReadCloser, error) { return open() },
		at: func(_ context.Context, offset, size int64) (io.ReadCloser, error) {
			f, err := open()
			if err != nil {
				return nil, err
			}
			if _, err := f.Seek(offset, io.SeekStart); err != nil {
				f.Close()
				return nil, err
			}
			return &section{io.LimitReader(f, size), f}, nil
		},
		state: func() (inputState, error) {
			info, err := stat()
			if err != nil {
				return inputState{}, err
			}
			if !info.Mode().IsRegular() {
				return inputState{}, fmt.Errorf("%s is not a regular file", path)
			}
			return inputState{info.Size(), info.ModTime()}, nil
		},
		local: true,
	}
}

// section is a part of something that is open.
type section struct {
	io.Reader
	io.Closer
}

// Bytes returns b as an input. It is not copied and must not be changed while
// it is uploaded. The name stands in errors, and names the object of a
// [JobInput] without a key.
func Bytes(name string, b []byte) Input {
	return Input{
		name: name,
		size: int64(len(b)),
		open: func(context.Context) (io.ReadCloser, error) { return &memory{*bytes.NewReader(b)}, nil },
		at: func(_ context.Context, offset, size int64) (io.ReadCloser, error) {
			return &memory{*bytes.NewReader(b[offset : offset+size])}, nil
		},
		local: true,
	}
}

// memory is an input's bytes, open.
type memory struct{ bytes.Reader }

// Close does nothing: there is nothing to close.
func (*memory) Close() error { return nil }

// Reader returns as an input what open opens: size bytes, or a stream of unknown
// length if size is -1. Callers who know the size should give it. Open is called
// with the upload's context.
//
// If the size is known and at most that of a part (see [WithPartSize]), open is
// called once to take the checksum and once more for every attempt, and must
// return the same content from the beginning each time. If the size is larger
// and what open returns is an [io.Seeker], it is called for each part. Anything
// else is opened once and sent from buffers in memory, see [WithBufferMemory].
//
// If the upload's context ends, a stream is closed even while Read is called. A
// panic of open, or of what it returns, is the upload's error: much of it is read
// on goroutines where nobody could recover it.
func Reader(name string, size int64, open func(context.Context) (io.ReadCloser, error)) Input {
	in := Input{name: name, size: size}
	if open != nil {
		in.open = func(ctx context.Context) (io.ReadCloser, error) { return openGuarded(ctx, open) }
	}
	return in
}

// openGuarded opens what a caller's function opens. Files, which do not panic,
// stay files: they are sent by the kernel.
func openGuarded(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (r io.ReadCloser, err error) {
	line.Guard(func() error { r, err = open(ctx); return err }, func(e error) { err = e })
	if err != nil {
		return nil, err
	}
	switch r.(type) {
	case nil:
		return nil, errors.New("open returned nil and no error")
	case *os.File:
		return r, nil
	}
	return line.GuardReader(r), nil
}

// usable refuses what cannot be uploaded, before any traffic.
func (in Input) usable() error {
	switch {
	case in.open == nil:
		return errors.New("it is empty: make one with File, Bytes or Reader")
	case in.size < -1:
		return fmt.Errorf("size %d: want the number of bytes, or -1 for unknown", in.size)
	}
	_, err := in.current()
	return err
}

// current returns what the input is now. Its size is -1 if only reading shows it.
func (in Input) current() (inputState, error) {
	if in.state != nil {
		return in.state()
	}
	return inputState{size: in.size}, nil
}

// seekable returns the input with a way to open a section of it, if what it opens
// can seek.
func (in Input) seekable(ctx context.Context) (Input, error) {
	if in.at != nil {
		return in, nil
	}
	r, err := in.open(ctx)
	if err != nil {
		return in, err
	}
	defer r.Close()
	if _, ok := r.(io.Seeker); ok {
		in.at = in.seekTo
	}
	return in, nil
}

func (in Input) seekTo(ctx context.Context, offset, size int64) (io.ReadCloser, error) {
	r, err := in.open(ctx)
	if err != nil {
		return nil, err
	}
	seeker, ok := r.(io.Seeker)
	if !ok {
		err = errors.New("it could seek, and cannot any more")
	} else {
		_, err = seeker.Seek(offset, io.SeekStart)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return &section{io.LimitReader(r, size), r}, nil
}

// baseName is the last element of the input's name, for the key made up for it.
func (in Input) baseName() string { return path.Base(filepath.ToSlash(in.name)) }

var errChanged = errors.New("it changed while it was uploaded")

// unchanged fails if the input is not what it was: its parts may then be of
// two versions.
func (in Input) unchanged(since inputState) error {
	now, err := in.current()
	if err == nil && now != since {
		err = errChanged
	}
	return err
}

// inputError makes the error of an input that cannot be read, unless that is
// because the context has ended.
func inputError(ctx context.Context, op string, in Input, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, op)
	}
	e := &Error{Op: op, Field: "Input", Err: fmt.Errorf("reading %s: %w", in.name, err)}
	if errors.Is(err, errChanged) {
		e.Kind = ErrIntegrity
	}
	return e
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
