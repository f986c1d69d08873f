package line

import (
	"container/list"
	"context"
	"errors"
	"io"
	"sync"
)

// Buffers bounds the memory that streams are read into, in blocks. Whoever
// finds too few free blocks waits, first come, first served. It is safe for
// concurrent use.
//
// Read before acquiring a place of a [Pool], never while holding one: a stream
// that waits for blocks would keep those who hold them from being sent.
type Buffers struct {
	mu      sync.Mutex
	block   int
	total   int
	left    int
	spare   [][]byte  // to be used again
	waiting list.List // of *blockWait
}

type blockWait struct {
	n     int
	ready chan struct{}
}

// NewBuffers returns total bytes of memory in blocks of the given size, one
// block at least. Memory is allocated as it is needed.
func NewBuffers(total int64, block int) *Buffers {
	n := max(1, int(total/int64(block)))
	return &Buffers{block: block, total: n, left: n}
}

// Blocks returns how many blocks there are.
func (b *Buffers) Blocks() int { return b.total }

// reserve waits for n blocks, or fails with the context's cause. More than
// there are count as all there are.
func (b *Buffers) reserve(ctx context.Context, n int) error {
	n = min(n, b.total)
	b.mu.Lock()
	if b.left >= n && b.waiting.Len() == 0 {
		b.left -= n
		b.mu.Unlock()
		return nil
	}
	w := &blockWait{n: n, ready: make(chan struct{})}
	mine := b.waiting.PushBack(w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		b.quit(mine, w)
		return context.Cause(ctx)
	}
}

func (b *Buffers) quit(mine *list.Element, w *blockWait) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready:
		b.left += w.n
	default:
		b.waiting.Remove(mine)
	}
	b.admit()
}

// giveBack returns n blocks, and the memory that stood for them.
func (b *Buffers) giveBack(n int, memory [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += min(n, b.total)
	b.spare = append(b.spare, memory...)
	if b.left == b.total || len(b.spare) > b.total {
		b.spare = nil // nobody streams any more: the memory goes back
	}
	b.admit()
}

// admit serves as many as there is room for. The lock is held.
func (b *Buffers) admit() {
	for b.waiting.Len() > 0 {
		w := b.waiting.Front().Value.(*blockWait)
		if w.n > b.left {
			return
		}
		b.left -= w.n
		b.waiting.Remove(b.waiting.Front())
		close(w.ready)
	}
}

func (b *Buffers) memory() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.spare); n > 0 {
		m := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return m
	}
	return make([]byte, b.block)
}

// Counts returns how many blocks are free, and how many of those keep memory
// that will be used again.
func (b *Buffers) Counts() (free, spare int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left, len(b.spare)
}

// Chunk is a piece of a stream in memory. It may be read any number of times,
// also at once, until it is freed.
type Chunk struct {
	from   *Buffers
	n      int // blocks reserved
	blocks [][]byte
	size   int64

	readers sync.WaitGroup
}

// Read reserves n blocks and fills them from r. The chunk is shorter only at
// the end of the stream. If ctx ends first, Read returns its cause as soon as
// the read that is under way has returned.
func (b *Buffers) Read(ctx context.Context, r io.Reader, n int) (*Chunk, error) {
	if err := b.reserve(ctx, n); err != nil {
		return nil, err
	}
	c, filled := &Chunk{from: b, n: n}, false
	defer func() {
		if !filled { // also if r has panicked
			c.Free()
		}
	}()
	for range n {
		m := b.memory()
		c.blocks = append(c.blocks, m)
		got, err := io.ReadFull(r, m)
		c.size += int64(got)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			filled = true
			return c, nil
		case err == nil && ctx.Err() != nil:
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	filled = true
	return c, nil
}

// Size returns how many bytes the chunk has.
func (c *Chunk) Size() int64 { return c.size }

// Full reports whether the stream may go on after the chunk.
func (c *Chunk) Full() bool { return c.size == int64(c.n*c.from.block) }

// Open returns a reader of the chunk from its beginning. Its error is nil: it
// has the signature of sources that may fail.
func (c *Chunk) Open(context.Context) (io.ReadCloser, error) {
	c.readers.Add(1)
	return &chunkReader{chunk: c}, nil
}

// Free returns the blocks once every reader is closed: a request goes on
// with its body for a moment after it was answered early, or failed.
func (c *Chunk) Free() {
	c.readers.Wait()
	c.from.giveBack(c.n, c.blocks)
}

// chunkReader reads a chunk once.
type chunkReader struct {
	chunk *Chunk
	mu    sync.Mutex
	at    int64
	done  bool
}

func (r *chunkReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return 0, errors.New("read after Close")
	}
	left := r.chunk.size - r.at
	if left == 0 {
		return 0, io.EOF
	}
	size := int64(r.chunk.from.block)
	block := r.chunk.blocks[r.at/size][r.at%size:]
	n := copy(b, block[:min(left, int64(len(block)))])
	r.at += int64(n)
	return n, nil
}

func (r *chunkReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.done = true
		r.chunk.readers.Done()
	}
	return nil
}
