package runpod

import (
	"context"
	"io"
	"net"
)

// bulkPiece is how much is written at a time. The watchdog hears of it when it
// has gone.
const bulkPiece = 128 << 10

// bulky makes connections that send what is in memory from where it is, and
// the rest in larger pieces than net/http's 32 KiB, each of which is a system
// call. With TLS between, it makes no difference.
func bulky(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &bulkConn{conn}, nil
	}
}

type bulkConn struct{ net.Conn }

// ReadFrom sends what r gives; see [io.ReaderFrom]. What net/http gives is a
// request's body, limited to its length.
func (c *bulkConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(*sentBody); ok && body.inMemory() {
			n, err := body.writeRest(c.Conn)
			limited.N -= n
			return n, err
		}
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(writeOnly{c.Conn}, r, buf[:])
}

// writeOnly hides what else a connection can do.
type writeOnly struct{ io.Writer }

// inMemory reports whether the rest of a body can be written from where it is.
func (b *sentBody) inMemory() bool {
	m, ok := b.body.(*memory)
	return ok && int64(m.Len()) == b.left
}

// writeRest writes the rest of a body in memory.
func (b *sentBody) writeRest(w io.Writer) (int64, error) {
	return b.body.(*memory).WriteTo(&bulkWriter{w, b})
}

// bulkWriter writes a body piece by piece.
type bulkWriter struct {
	w    io.Writer
	body *sentBody
}

func (w *bulkWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := w.w.Write(p[n:min(n+bulkPiece, len(p))])
		n += m
		w.body.moved(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
