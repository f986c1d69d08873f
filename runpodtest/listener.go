package runpodtest

import (
	"context"
	"net"
	"sync"
)

// gate is a listener that counts what it accepts and can end all of it.
type gate struct {
	net.Listener
	refuse func() bool // asked for every connection: reset this one? nil: no

	mu           sync.Mutex
	conns        map[*servedConn]struct{}
	opened, peak int
}

func newGate(l net.Listener, refuse func() bool) *gate {
	return &gate{Listener: l, refuse: refuse, conns: map[*servedConn]struct{}{}}
}

// Accept hands on the next connection, counted.
func (g *gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	sc := &servedConn{Conn: c, gate: g}
	g.mu.Lock()
	g.conns[sc] = struct{}{}
	g.opened++
	g.peak = max(g.peak, len(g.conns))
	g.mu.Unlock()
	if g.refuse != nil && g.refuse() {
		sc.reset()
	}
	return sc, nil
}

// counts returns the connections opened so far and the most open at once.
func (g *gate) counts() (opened, peak int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened, g.peak
}

// closeAll closes every connection that is open, those taken over by a
// WebSocket handler included: net/http no longer knows of these.
func (g *gate) closeAll() {
	g.mu.Lock()
	open := make([]*servedConn, 0, len(g.conns))
	for c := range g.conns {
		open = append(open, c)
	}
	g.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// servedConn is a connection on the server's side, in memory or a TCP one.
type servedConn struct {
	net.Conn
	gate *gate
}

func (c *servedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection without losing its last answer.
func (c *servedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reset ends the connection so that the client sees ECONNRESET.
func (c *servedConn) reset() {
	switch conn := c.Conn.(type) {
	case *memConn:
		conn.reset()
	case *net.TCPConn:
		conn.SetLinger(0) // makes Close send RST
	}
	c.Close()
}

type connKey struct{}

// withConn is the http.Server.ConnContext that lets a handler find its
// connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *servedConn {
	c, _ := ctx.Value(connKey{}).(*servedConn)
	return c
}
