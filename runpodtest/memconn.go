package runpodtest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes one direction of an in-memory connection holds
// before its writer waits, about what a TCP socket would.
const window = 64 << 10

// keepBuffer is the largest drained buffer that stays with its connection:
// thousands of idle connections must not pin what one large body needed.
const keepBuffer = 4 << 10

// memAddr is the address of one end of an in-memory connection.
type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

// memListener accepts the connections that dial makes. It starts no goroutine,
// and it waits only on a sync.Cond, so that a synctest bubble sees it as idle.
type memListener struct {
	addr   memAddr
	mu     sync.Mutex
	cond   *sync.Cond
	queue  []net.Conn
	closed bool
}

func newMemListener(host string) *memListener {
	l := &memListener{addr: memAddr(host)}
	l.cond = sync.NewCond(&l.mu)
	return l
}

func (l *memListener) Addr() net.Addr { return l.addr }

func (l *memListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// dial makes a connection and queues its far end for Accept.
func (l *memListener) dial() (net.Conn, error) {
	near, far := memPipe("client", l.addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, refusedError(l.addr)
	}
	l.queue = append(l.queue, far)
	l.cond.Signal()
	return near, nil
}

// Close ends Accept; connections nobody accepted are reset.
func (l *memListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.queue {
		c.(*memConn).reset()
	}
	l.queue, l.closed = nil, true
	l.cond.Broadcast()
	return nil
}

func refusedError(addr net.Addr) error {
	return &net.OpError{Op: "dial", Net: "mem", Addr: addr,
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// memConn is one end of an in-memory connection: two buffered streams, with
// deadlines and a reset that both ends see as ECONNRESET.
type memConn struct {
	in, out       *stream
	local, remote memAddr
}

// memPipe returns the two ends of a new connection.
func memPipe(a, b memAddr) (*memConn, *memConn) {
	ab, ba := newStream(b), newStream(a)
	return &memConn{in: ba, out: ab, local: a, remote: b},
		&memConn{in: ab, out: ba, local: b, remote: a}
}

func (c *memConn) Read(p []byte) (int, error)         { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error)        { return c.out.write(p) }
func (c *memConn) LocalAddr() net.Addr                { return c.local }
func (c *memConn) RemoteAddr() net.Addr               { return c.remote }
func (c *memConn) SetReadDeadline(t time.Time) error  { return c.in.setDeadline(&c.in.readBy, t) }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writeBy, t) }

func (c *memConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// Close ends both directions: the other end reads what was sent, then EOF, and
// its writes fail as on a socket whose peer has gone.
func (c *memConn) Close() error {
	c.out.fail(nil, net.ErrClosed, false) // first: whom c.in's end wakes may reset what is still open
	c.in.fail(net.ErrClosed, syscallError("write", c.local, syscall.EPIPE), true)
	return nil
}

// CloseWrite ends this end's direction only.
func (c *memConn) CloseWrite() error {
	c.out.fail(nil, net.ErrClosed, false)
	return nil
}

// reset makes every read and write at either end fail with ECONNRESET. As on
// Linux, the other end first reads what had reached it.
func (c *memConn) reset() {
	for _, s := range []*stream{c.in, c.out} {
		s.fail(syscallError("read", s.addr, syscall.ECONNRESET),
			syscallError("write", s.addr, syscall.ECONNRESET), s == c.in)
	}
}

func syscallError(op string, addr net.Addr, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "mem", Addr: addr, Err: os.NewSyscallError(op, errno)}
}

// stream is one direction of a connection.
type stream struct {
	addr            memAddr // where it leads
	mu              sync.Mutex
	cond            *sync.Cond
	buf             []byte
	off             int
	readErr         error // nil while reading is possible; io.EOF once drained
	writeErr        error
	readBy, writeBy deadline
}

// deadline is a time after which waiting ends.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func newStream(to memAddr) *stream {
	s := &stream{addr: to}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case s.off < len(s.buf):
			return s.take(p), nil
		case s.readErr != nil:
			return 0, s.readErr
		case len(p) == 0:
			return 0, nil
		}
		s.cond.Wait()
	}
}

// take moves buffered bytes to p. The caller holds the lock.
func (s *stream) take(p []byte) int {
	n := copy(p, s.buf[s.off:])
	s.off += n
	if s.off == len(s.buf) {
		s.off = 0
		if s.buf = s.buf[:0]; cap(s.buf) > keepBuffer {
			s.buf = nil
		}
	}
	s.cond.Broadcast()
	return n
}

func (s *stream) write(p []byte) (sent int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeErr != nil:
			return sent, s.writeErr
		case s.writeBy.passed:
			return sent, os.ErrDeadlineExceeded
		}
		if room := window - (len(s.buf) - s.off); room > 0 {
			n := min(room, len(p)-sent)
			s.put(p[sent : sent+n])
			sent += n
		}
		if sent == len(p) {
			return sent, nil
		}
		s.cond.Wait()
	}
}

// put appends p. The caller holds the lock and has checked that there is room.
func (s *stream) put(p []byte) {
	if s.off > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.off:])]
		s.off = 0
	}
	s.buf = append(s.buf, p...)
	s.cond.Broadcast()
}

// fail ends the stream: readers meet readErr (nil means EOF once drained),
// writers writeErr. What failed first stays. drop discards what is buffered.
func (s *stream) fail(readErr, writeErr error, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if readErr == nil {
		readErr = io.EOF
	}
	if s.readErr == nil || (s.readErr == io.EOF && drop) { // EOF may have been the other end's
		s.readErr = readErr
	}
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	if drop {
		s.buf, s.off = nil, 0
	}
	s.readBy.stop()
	s.writeBy.stop()
	s.cond.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// setDeadline sets one of the stream's own deadlines; a zero t clears it.
func (s *stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.passed = false
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if d.passed = left <= 0; d.passed {
		s.cond.Broadcast()
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // not one that was replaced meanwhile
			d.passed = true
			s.cond.Broadcast()
		}
	})
	d.timer = timer
	return nil
}
