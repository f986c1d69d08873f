package runpod

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// placedBody releases its place when it is closed.
type placedBody struct {
	io.ReadCloser
	release func()
}

func (b *placedBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// leastBytes must move in each time of a watchdog's limit: what trickles holds
// its place for nothing.
const leastBytes = 16 << 10

// watchdog ends an attempt in which no byte moves for limit, or in which bytes
// keep moving, but fewer than least of them within limit. It is safe for
// concurrent use: a request's body may go on while the answer comes.
type watchdog struct {
	limit time.Duration
	least int64 // bytes within limit
	end   context.CancelCauseFunc
	timer *time.Timer

	mu    sync.Mutex
	since time.Time // when the bytes of this round began to move; zero: none has
	n     int64
}

func newWatchdog(limit time.Duration, least int64, end context.CancelCauseFunc) *watchdog {
	w := &watchdog{limit: limit, least: least, end: end}
	w.timer = time.AfterFunc(limit, func() { end(errStalled) })
	return w
}

// stroke puts the end off, because n bytes have moved, unless it has come
// already.
func (w *watchdog) stroke(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
	now := time.Now()
	switch w.n += int64(n); {
	case w.since.IsZero():
		w.since = now
	case now.Sub(w.since) < w.limit:
	case w.n < w.least:
		w.end(errStalled)
	default:
		w.since, w.n = now, 0
	}
}

// restart begins anew: what moved, and how fast, counts no more.
func (w *watchdog) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
	w.since, w.n = time.Time{}, 0
}

// watchedBody is an answer's body under the watchdog.
type watchedBody struct {
	body io.ReadCloser
	dog  *watchdog
	ctx  context.Context
	stop func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.dog.stroke(n)
	}
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.stop()
	return b.body.Close()
}

// sentBody is a request's body under the watchdog. It yields just as many bytes
// as were promised, or an error: an input that changed must not go out.
type sentBody struct {
	body   io.ReadCloser
	left   int64
	dog    *watchdog
	tally  *tally
	failed func(error) error // hears of the input's own errors, and returns them
	spent  bool              // it has gone without being read
}

func (b *sentBody) Read(p []byte) (int, error) {
	if b.spent {
		return 0, io.EOF
	}
	n, err := b.body.Read(p)
	b.moved(n)
	if b.left == 0 && err == nil && n > 0 { // the last bytes go out only if they are the last
		var beyond [1]byte
		var more int
		if more, err = b.body.Read(beyond[:]); more > 0 {
			b.left--
		}
	}
	switch {
	case b.left < 0, err == io.EOF && b.left > 0:
		return 0, b.failed(errChanged)
	case err != nil && err != io.EOF:
		return 0, b.failed(err)
	}
	return n, err
}

// moved counts n bytes that have gone.
func (b *sentBody) moved(n int) {
	b.left -= int64(n)
	if n > 0 {
		b.dog.stroke(n)
		b.tally.sent(int64(n))
	}
}

func (b *sentBody) Close() error { return b.body.Close() }

// The watchdog hears of a piece when it has gone.
const (
	// filePiece is less than the 64 KiB that the kernel's pipe between a file
	// and a socket holds: larger pieces cost a third more processor time.
	filePiece = 48 << 10
	// Pieces from memory begin small, and grow while each takes less than
	// quickPiece: one system call a MB costs a fifth less than one for 128 KiB.
	firstPiece = 128 << 10
	largePiece = 1 << 20
	quickPiece = 250 * time.Millisecond
)

// bulky makes connections that send what is in memory, or in a file, from where
// it is, and the rest in larger pieces than net/http's 32 KiB, each of which is
// a system call. With TLS between, it makes no difference.
func bulky(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &bulkConn{conn, firstPiece}, nil
	}
}

type bulkConn struct {
	net.Conn
	piece int // how much of what is in memory goes at a time
}

// ReadFrom sends what r gives; see [io.ReaderFrom]. What net/http gives is a
// request's body, limited to its length.
func (c *bulkConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(*sentBody); ok {
			n, done, err := body.writeRest(c)
			limited.N -= n
			if done || err != nil {
				return n, err
			}
		}
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(writeOnly{c.Conn}, r, buf[:])
}

// writeOnly hides what else a connection can do.
type writeOnly struct{ io.Writer }

// writeRest writes the rest of a body from where it is, if that is memory, or
// a file while the connection is TCP's, which the kernel then does by itself.
func (b *sentBody) writeRest(c *bulkConn) (n int64, done bool, err error) {
	if m, ok := b.body.(*memory); ok && int64(m.Len()) == b.left {
		n, err = m.WriteTo(&bulkWriter{c, b})
		return n, true, err
	}
	counted, ok := c.Conn.(*countedConn)
	if !ok {
		return 0, false, nil
	}
	tcp, ok := counted.Conn.(*net.TCPConn)
	f := b.file()
	if !ok || f == nil {
		return 0, false, nil
	}
	b.spent = true
	n, err = b.sendFile(tcp, f)
	return n, true, err
}

// file is the file that the rest of the body is in, where it goes on; nil:
// there is none, or it is not as long as it was.
func (b *sentBody) file() *os.File {
	if s, ok := b.body.(*section); ok {
		f, _ := s.Closer.(*os.File)
		return f
	}
	f, ok := b.body.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	at, err2 := f.Seek(0, io.SeekCurrent)
	if err != nil || err2 != nil || info.Size() != at+b.left {
		return nil // reading it tells what is wrong
	}
	return f
}

func (b *sentBody) sendFile(tcp *net.TCPConn, f *os.File) (total int64, err error) {
	for b.left > 0 {
		n, err := tcp.ReadFrom(&io.LimitedReader{R: f, N: min(b.left, filePiece)})
		b.moved(int(n))
		total += n
		if err == nil && n == 0 {
			err = b.failed(errChanged) // it has become shorter
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// bulkWriter writes a body piece by piece.
type bulkWriter struct {
	conn *bulkConn
	body *sentBody
}

func (w *bulkWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		start := time.Now()
		m, err := w.conn.Conn.Write(p[n:min(n+w.conn.piece, len(p))])
		n += m
		w.body.moved(m)
		if err != nil {
			return n, err
		}
		if time.Since(start) < quickPiece {
			w.conn.piece = min(2*w.conn.piece, largePiece)
		} else {
			w.conn.piece = firstPiece
		}
	}
	return n, nil
}
