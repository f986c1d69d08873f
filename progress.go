package runpod

import (
	"context"
	"sync"
	"sync/atomic"
)

// Progress counts the uploads and downloads that are made under a context, see
// [WithProgress]; [Client.Progress] counts all of a Client's. Counting is cheap
// enough to be always on. The zero value is ready. A Progress is safe for
// concurrent use and must not be copied.
type Progress struct {
	files, filesDone, bytes, bytesDone atomic.Int64
}

// Transferred is what a [Progress] has counted at one moment.
type Transferred struct {
	// Files have begun, FilesDone of them have arrived whole. A transfer that
	// failed counts in Files only.
	Files, FilesDone int64
	// Bytes is the size of all that have begun, as far as it is known yet.
	// BytesDone is how many of those need not move again: it falls if an attempt
	// fails, and includes what was there already.
	Bytes, BytesDone int64
}

// Now returns what was counted so far.
func (p *Progress) Now() Transferred {
	return Transferred{Files: p.files.Load(), FilesDone: p.filesDone.Load(), Bytes: p.bytes.Load(), BytesDone: p.bytesDone.Load()}
}

type progressKey struct{}

// WithProgress returns a context whose uploads and downloads are counted in p:
// those of one call, of a whole folder, or of [Client.RunAll].
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

type jobProgressKey struct{}

// withJobProgress counts in p besides what [WithProgress] says.
func withJobProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, jobProgressKey{}, p)
}

// meter counts for the Client, for the context, and for a job that is watched.
type meter [3]*Progress

func newMeter(ctx context.Context, all *Progress) meter {
	own, _ := ctx.Value(progressKey{}).(*Progress)
	job, _ := ctx.Value(jobProgressKey{}).(*Progress)
	return meter{all, own, job}
}

func (m meter) each(count func(*Progress)) {
	for _, p := range m {
		if p != nil {
			count(p)
		}
	}
}

// fileBegun counts a file of so many bytes, 0 if that is not known.
func (m meter) fileBegun(size int64) {
	m.each(func(p *Progress) { p.files.Add(1); p.bytes.Add(size) })
}

// grew counts bytes of a file whose size was not known.
func (m meter) grew(n int64) { m.each(func(p *Progress) { p.bytes.Add(n) }) }

func (m meter) move(n int64) { m.each(func(p *Progress) { p.bytesDone.Add(n) }) }

func (m meter) fileDone() { m.each(func(p *Progress) { p.filesDone.Add(1) }) }

// tally counts what one attempt moves, and can take it back: a request goes on
// with its body for a moment after it has failed.
type tally struct {
	meter
	mu   sync.Mutex
	n    int64
	void bool
}

func (t *tally) sent(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.void {
		t.n += n
		t.meter.move(n)
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
		t.meter.move(-t.n)
	}
}

// moved counts whole objects, for [Stats].
type moved struct{ objects, bytes atomic.Int64 }

func (m *moved) whole(size int64) {
	m.objects.Add(1)
	m.bytes.Add(size)
}
