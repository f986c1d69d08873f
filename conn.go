package runpod

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// cloneTransport gives a transport of the Client's own, whose connections are
// counted. It speaks HTTP/1.1: uploads over HTTP/2 were seen to stall and one
// connection would make a pool of one, and with a connection for each request
// a lost connection costs one request, not all of them.
func (c *config) cloneTransport(conns *connCounter) *http.Transport {
	t := c.transport.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	dial := t.DialContext
	if c.dial != nil {
		dial, t.DialTLSContext = c.dial, nil
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = conns.counted(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = conns.counted(t.DialTLSContext)
	}
	return t
}

// connCounter counts connections. It is safe for concurrent use.
type connCounter struct {
	mu                 sync.Mutex
	opened, open, peak int
}

func (c *connCounter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	c.opened += max(n, 0)
	c.peak = max(c.peak, c.open)
}

func (c *connCounter) counts() (opened, peak int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened, c.peak
}

// counted wraps a dial function so that c counts what it opens.
func (c *connCounter) counted(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c.add(1)
		return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { c.add(-1) })}, nil
	}
}

// countedConn knows how many bytes it has written: whether a server can have
// seen a request is decided by that.
type countedConn struct {
	net.Conn
	written atomic.Int64
	closed  func()
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// counterUnder finds the counted connection beneath TLS; nil when there is
// none, as with a dial function that returns TLS connections of its own kind.
func counterUnder(conn net.Conn) *countedConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	counted, _ := conn.(*countedConn)
	return counted
}
