package runpod

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// peekTime is how long the beginning of an error's body is waited for. What
	// has come by then decides, with the status and the headers. It is the
	// network's time, not the service's, and no policy scales it.
	peekTime = 5 * time.Second
	// peekAhead is how much of an error's body is read ahead: one that ends within
	// it leaves a connection that can be used again.
	peekAhead = 16 << 10
)

// peekedBody is a body whose beginning has been read ahead, for so long. It is
// read as if nothing had been: what has come is there at once, and what is still
// to come as it comes.
type peekedBody struct {
	src  io.ReadCloser
	done chan struct{} // closed when nothing more is read ahead
	news chan struct{} // something has been

	mu      sync.Mutex
	ahead   []byte
	given   int   // of ahead, to the reader
	err     error // why nothing more is read ahead; nil: it is enough
	stopped bool
}

// peekBody reads the beginning of a body ahead, until it has enough, the time is
// over, or ctx has ended.
func peekBody(ctx context.Context, src io.ReadCloser, most time.Duration) *peekedBody {
	b := &peekedBody{src: src, done: make(chan struct{}), news: make(chan struct{}, 1)}
	go b.readAhead()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	return b
}

func (b *peekedBody) readAhead() {
	defer close(b.done)
	chunk := make([]byte, peekLimit)
	for {
		n, err := b.src.Read(chunk)
		if b.append(chunk[:n], err) {
			return
		}
		select {
		case b.news <- struct{}{}:
		default:
		}
	}
}

// append takes in what was read, and reports whether it is enough.
func (b *peekedBody) append(p []byte, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead, b.err = append(b.ahead, p...), err
	return err != nil || b.stopped || len(b.ahead) >= peekAhead
}

// beginning returns the text of what was read ahead, at most peekLimit, without
// the compression that the server has named.
func (b *peekedBody) beginning(encoding string) []byte {
	b.mu.Lock()
	head := bytes.Clone(b.ahead)
	b.mu.Unlock()
	var plain io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(bytes.NewReader(head))
	case "deflate":
		plain, err = zlib.NewReader(bytes.NewReader(head))
	}
	if plain != nil && err == nil {
		head, _ = io.ReadAll(io.LimitReader(plain, peekLimit)) // cut off where it was cut off
	}
	return head[:min(len(head), peekLimit)]
}

// whole reports whether all of the body has been read ahead.
func (b *peekedBody) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == io.EOF
}

func (b *peekedBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for over := false; ; {
		b.mu.Lock()
		n := copy(p, b.ahead[b.given:])
		b.given += n
		err := b.err
		b.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case over && err != nil:
			return 0, err
		case over:
			return b.src.Read(p)
		}
		select {
		case <-b.news:
		case <-b.done:
			over = true
		}
	}
}

// Close ends the body, and the reading ahead.
func (b *peekedBody) Close() error {
	err := b.src.Close()
	<-b.done
	return err
}
