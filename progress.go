package runpod

import (
	"context"
	"sync"
	"sync/atomic"
)

// Progress counts the uploads and downloads that are made under a context, see
// [WithProgress]; [Client.Progress] counts all of a Client's. It is cheap
// enough to be always on. The zero value is ready; it is safe for concurrent
// use and must not be copied.
type Progress struct {
	files, filesDone, bytes, bytesDone atomic.Int64
}

// Transferred is what a [Progress] has counted at one moment.
type Transferred struct {
	// Files were begun, FilesDone have arrived whole. One that failed stays
	// the difference.
	Files, FilesDone int64
	// Bytes is the size of those that were begun, as far as it is known yet;
	// BytesDone have moved and need not move again: what an attempt has moved
	// that failed is taken off, what was there already is added.
	Bytes, BytesDone int64
}

// Now tells what was counted so far.
func (p *Progress) Now() Transferred {
	return Transferred{Files: p.files.Load(), FilesDone: p.filesDone.Load(), Bytes: p.bytes.Load(), BytesDone: p.bytesDone.Load()}
}

type progressKey struct{}

// WithProgress gives a context under which uploads and downloads are counted
// in p: one of them, or all of a folder or of [Client.RunAll].
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// meter counts for the Client and for the context alike.
type meter struct{ all, own *Progress }

func (v *volume) meter(ctx context.Context) meter {
	own, _ := ctx.Value(progressKey{}).(*Progress)
	if own == nil {
		own = new(Progress) // nobody looks
	}
	return meter{&v.progress, own}
}

// begin counts a file of so many bytes, 0 when that is not known.
func (m meter) begin(size int64) {
	for _, p := range []*Progress{m.all, m.own} {
		p.files.Add(1)
		p.bytes.Add(size)
	}
}

// grow counts bytes of a file of which the size was not known.
func (m meter) grow(n int64) {
	m.all.bytes.Add(n)
	m.own.bytes.Add(n)
}

func (m meter) move(n int64) {
	m.all.bytesDone.Add(n)
	m.own.bytesDone.Add(n)
}

func (m meter) end() {
	m.all.filesDone.Add(1)
	m.own.filesDone.Add(1)
}

// tally counts what one attempt moves, and can take it back: a request goes on
// with its body for a moment after it has failed.
type tally struct {
	meter
	mu   sync.Mutex
	n    int64
	void bool
}

func (t *tally) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.void {
		t.n += n
		t.move(n)
	}
}

// reached reports whether so many bytes have gone.
func (t *tally) reached(n int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n > 0 && t.n >= n
}

func (t *tally) takeBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.void {
		t.void = true
		t.move(-t.n)
	}
}
