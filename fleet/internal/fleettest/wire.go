package fleettest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Wire is a connection to an engine that a test can cut: a proxy.
type Wire struct {
	net.Listener
	to     string
	change func([]byte) []byte // what clients send, as it goes on

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// NewWire makes a wire to an address. Change, if there is one, sees what clients
// send.
func NewWire(t testing.TB, to string, change func([]byte) []byte) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Listener: l, to: strings.TrimPrefix(to, "nats://"), change: change}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); w.Cut(true) })
	return w
}

func (w *Wire) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	w.conns = append(w.conns, c, s)
	w.mu.Unlock()
	go w.copy(c, s, nil)
	w.copy(s, c, w.change)
}

// copy loses everything while the wire is cut, and closes nothing: neither end
// is told.
func (w *Wire) copy(to, from net.Conn, change func([]byte) []byte) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut {
			continue
		}
		b := buf[:n]
		if change != nil {
			b = change(b)
		}
		if _, err := to.Write(b); err != nil {
			return
		}
	}
}

// Cut cuts the wire, or mends it: what was open then breaks, since bytes were
// lost on it.
func (w *Wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if !cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

// Connect connects to the wire's engine.
func (w *Wire) Connect(t testing.TB, token string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("nats://"+w.Addr().String(), nats.Token(token), nats.PingInterval(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}
