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
)

// Input is something to upload: [File], [Bytes] or [Reader] make one. It is a
// value that may be copied and used by several jobs at once.
type Input struct {
	name string
	size int64 // -1: see state, and without one found out by reading
	open func(context.Context) (io.ReadCloser, error)
	// at opens a section of it; nil: it can be read from the beginning only.
	at func(ctx context.Context, offset, size int64) (io.ReadCloser, error)
	// state tells what it is now, and refuses what cannot be uploaded; nil:
	// there is nothing to ask.
	state func() (inputState, error)
	// local says that reading it costs processor time, not waiting.
	local bool
}

// inputState is what a file system tells of an input: one that differs before
// and after an upload was changed meanwhile.
type inputState struct {
	size     int64
	modified time.Time
}

// File is the file at path. It must be a regular file that does not change
// while it is uploaded; its last path element names the object of a job whose
// key is "".
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

// Bytes is b itself, which must not be changed while it is uploaded. The name
// serves where a job's key is "", and in errors.
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

// Reader is whatever open gives: size bytes, or an unknown number when size is
// -1; the context is the upload's.
//
// Of known size, up to the size of a part (see [WithPartSize]), it is opened
// once to take the checksum and once more for every attempt, each time from
// the beginning and with the same content. Otherwise it is opened once, and
// read into buffers that are sent from there: see [WithBufferMemory]. Where
// what it opens can seek (io.Seeker), a large one of known size is not
// buffered but opened anew for each part. When the upload's context ends, what
// is being read into buffers is closed, also in the middle of a Read.
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
	}
	_, err := in.current()
	return err
}

// current is what the input is now; its size is -1 when only reading tells.
func (in Input) current() (inputState, error) {
	if in.state != nil {
		return in.state()
	}
	return inputState{size: in.size}, nil
}

// seekable gives the input a way to open a section of it, if what it opens can
// seek.
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
