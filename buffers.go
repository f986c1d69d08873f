package runpod

import (
	"container/list"
	"context"
	"errors"
	"io"
	"sync"
)

// buffers bounds the memory that streams are read into, in blocks. Who waits
// for some is served first come, first served. Blocks are taken before a place
// of the pool, never while holding one. It is safe for concurrent use.
type buffers struct {
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

func newBuffers(total int64, block int) *buffers {
	n := max(1, int(total/int64(block)))
	return &buffers{block: block, total: n, left: n}
}

// take waits for n blocks, or fails with the context's cause. More than there
// are count as all there are.
func (b *buffers) take(ctx context.Context, n int) error {
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
		b.leave(mine, w)
		return context.Cause(ctx)
	}
}

func (b *buffers) leave(mine *list.Element, w *blockWait) {
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

// give returns n blocks, and the memory that stood for them.
func (b *buffers) give(n int, memory [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += min(n, b.total)
	b.spare = append(b.spare, memory...)
	if b.left == b.total || len(b.spare) > b.total {
		b.spare = nil // nobody streams any more: the memory goes back
	}
	b.admit()
}

// admit serves as many as there is room for. The caller holds the lock.
func (b *buffers) admit() {
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

func (b *buffers) memory() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.spare); n > 0 {
		m := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return m
	}
	return make([]byte, b.block)
}

// buffered is the content of one part of a stream.
type buffered struct {
	from   *buffers
	n      int // blocks taken
	blocks [][]byte
	size   int64

	readers sync.WaitGroup
}

// read takes n blocks and fills them. It gives fewer bytes only at the end of
// the stream.
func (b *buffers) read(ctx context.Context, r io.Reader, n int) (*buffered, error) {
	if err := b.take(ctx, n); err != nil {
		return nil, err
	}
	p := &buffered{from: b, n: n}
	for range n {
		m := b.memory()
		p.blocks = append(p.blocks, m)
		got, err := io.ReadFull(r, m)
		p.size += int64(got)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return p, nil
		case err == nil && ctx.Err() != nil:
			err = context.Cause(ctx)
		}
		if err != nil {
			p.free()
			return nil, err
		}
	}
	return p, nil
}

// full reports whether the stream may go on after this part.
func (p *buffered) full() bool { return p.size == int64(p.n*p.from.block) }

func (p *buffered) open(context.Context) (io.ReadCloser, error) {
	p.readers.Add(1)
	return &bufferedReader{part: p}, nil
}

// free gives the blocks back when nobody reads them any more: a request goes
// on with its body for a moment after it was answered early, or failed.
func (p *buffered) free() {
	p.readers.Wait()
	p.from.give(p.n, p.blocks)
}

// bufferedReader reads a part once.
type bufferedReader struct {
	part *buffered
	mu   sync.Mutex
	at   int64
	done bool
}

func (r *bufferedReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return 0, errors.New("read after Close")
	}
	left := r.part.size - r.at
	if left == 0 {
		return 0, io.EOF
	}
	size := int64(r.part.from.block)
	block := r.part.blocks[r.at/size][r.at%size:]
	n := copy(b, block[:min(left, int64(len(block)))])
	r.at += int64(n)
	return n, nil
}

func (r *bufferedReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.done = true
		r.part.readers.Done()
	}
	return nil
}
