package runpod

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialTimeout bounds the opening of a connection, as in http.DefaultTransport.
const dialTimeout = 30 * time.Second

// cloneTransport returns a transport of the Client's own, which dials with own
// unless that is nil, and whose connections are counted. It speaks HTTP/1.1: uploads over HTTP/2 were seen to stall and one
// connection would make a pool of one, and with a connection for each request
// a lost connection costs one request, not all of them.
func cloneTransport(from *http.Transport, own dialFunc, conns *connCounter) *http.Transport {
	t := from.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	dial := t.DialContext
	if own != nil {
		dial, t.DialTLSContext = own, nil
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	t.DialContext = conns.counted(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = conns.counted(t.DialTLSContext)
	}
	t.Proxy, t.OnProxyConnectResponse = proxySetting(t.Proxy), proxyAnswer(t.OnProxyConnectResponse)
	return t
}

// proxyError is a proxy that does not connect, or that cannot be asked to.
type proxyError struct {
	proxy  string // its host; "": not known
	status int    // what it answered; 0: nothing
}

func (e *proxyError) Error() string {
	if e.status == 0 {
		return "the address of the proxy is wrong" // which may have a password in it
	}
	return fmt.Sprintf("the proxy %s refused to connect: %d %s", e.proxy, e.status, http.StatusText(e.status))
}

// permanent reports whether asking again does not help.
func (e *proxyError) permanent() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.status < 500
}

// proxyAnswer has net/http fail with the status that a proxy has answered a
// CONNECT with, where by itself it keeps the status's text alone.
func proxyAnswer(callers func(context.Context, *url.URL, *http.Request, *http.Response) error) func(context.Context, *url.URL, *http.Request, *http.Response) error {
	return func(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
		if callers != nil {
			if err := callers(ctx, proxy, req, resp); err != nil {
				return err
			}
		}
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		return &proxyError{proxy: proxy.Host, status: resp.StatusCode}
	}
}

// proxySetting marks errors of finding out which proxy to use.
func proxySetting(callers func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if callers == nil {
		return nil
	}
	return func(req *http.Request) (*url.URL, error) {
		proxy, err := callers(req)
		if err != nil {
			return nil, &proxyError{}
		}
		return proxy, nil
	}
}

// connCounter counts connections, and can end them all. It is safe for
// concurrent use.
type connCounter struct {
	mu     sync.Mutex
	open   map[*countedConn]struct{}
	opened int
	peak   int
	life   context.Context // of the connections, and of their opening
	end    context.CancelFunc
}

func newConnCounter() *connCounter {
	c := &connCounter{open: map[*countedConn]struct{}{}}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

func (c *connCounter) counts() (opened, peak int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened, c.peak
}

// dialGuarded dials on a goroutine of its own, so that a panic or a Goexit of the
// caller's function is an error: net/http dials where nobody could recover it.
func dialGuarded(ctx context.Context, dial dialFunc, network, addr string) (conn net.Conn, err error) {
	err = line.Apart(func() error { conn, err = dial(ctx, network, addr); return err })
	if err == nil && conn == nil {
		err = errors.New("the dial function returned nil and no error")
	}
	return conn, err
}

// counted wraps a dial function so that c counts what it opens.
func (c *connCounter) counted(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.life, cancel)()
		conn, err := dialGuarded(ctx, dial, network, addr)
		if err != nil {
			return nil, err
		}
		return c.register(conn)
	}
}

func (c *connCounter) register(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	keepAlive(conn)
	counted := &countedConn{Conn: conn, counter: c}
	c.open[counted] = struct{}{}
	c.opened++
	c.peak = max(c.peak, len(c.open))
	return counted, nil
}

func (c *connCounter) unregister(conn *countedConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// shut closes every connection, and each that is still to be opened.
func (c *connCounter) shut() {
	c.end()
	c.mu.Lock()
	all := slices.Collect(maps.Keys(c.open))
	c.mu.Unlock()
	for _, conn := range all {
		conn.Close()
	}
}

// keepAlive has the system notice within 45 s that the other side is gone without
// a word. The default takes two and a half minutes.
func keepAlive(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6})
	}
}

// countedConn knows how many bytes it has written: whether a server can have
// seen a request is decided by that.
type countedConn struct {
	net.Conn
	counter *connCounter
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

func (c *countedConn) Close() error {
	c.counter.unregister(c)
	return c.Conn.Close()
}

// counterUnder finds the counted connection beneath the layers of TLS, of which
// an https:// proxy adds one. It returns nil if there is none, as with a dial
// function that returns TLS connections of its own kind.
func counterUnder(conn net.Conn) *countedConn {
	for {
		secure, ok := conn.(*tls.Conn)
		if !ok {
			break
		}
		conn = secure.NetConn()
	}
	counted, _ := conn.(*countedConn)
	return counted
}
