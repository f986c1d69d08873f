// Package httpsproxy is an HTTPS proxy on loopback that answers for chosen hosts
// itself, with certificates of an authority that lives as long as it does, and
// refuses every other host.
package httpsproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Target is where the requests for a host go.
type Target struct {
	URL    *url.URL // scheme and host of the server
	Prefix string   // a path must begin with it; others are answered with 404
}

// Proxy is a running proxy. Its methods are safe for concurrent use.
type Proxy struct {
	URL string // for HTTPS_PROXY

	route  func(host string) (Target, bool)
	hosts  string // those it answers for, for a person
	ca     *authority
	server *http.Server
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex
	refused map[string]int
	passed  map[string]int
	conns   map[net.Conn]struct{}
}

// Listen starts a proxy at addr, such as "127.0.0.1:0". route says where requests
// for a host go; false means that the proxy refuses the host. hosts names those
// it answers for, in the answer to a refused request. The certificates are good
// for the domains alone and the names below them.
func Listen(addr, hosts string, domains []string, route func(host string) (Target, bool)) (*Proxy, error) {
	ca, err := newAuthority(domains)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		URL: "http://" + l.Addr().String(), route: route, hosts: hosts, ca: ca,
		refused: map[string]int{}, passed: map[string]int{}, conns: map[net.Conn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.server = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0)}
	p.tasks.Go(func() { p.server.Serve(l) })
	return p, nil
}

// CACertificate returns the authority's certificate as PEM, which clients must
// trust.
func (p *Proxy) CACertificate() []byte { return p.ca.pem }

// Counts returns how many requests the proxy passed on for each host, and how
// often it refused one.
func (p *Proxy) Counts() (passed, refused map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.passed), maps.Clone(p.refused)
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.server.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return err
}

// ServeHTTP takes a client's CONNECT.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.URL.Hostname())
	target, known := p.route(host)
	port := r.URL.Port()
	switch {
	case r.Method != http.MethodConnect:
		p.refuse(w, host, "only https:// addresses go through this proxy")
	case !known || port != "443":
		p.refuse(w, host, net.JoinHostPort(host, port)+" is none of those")
	default:
		p.tunnel(w, host, target)
	}
}

func (p *Proxy) refuse(w http.ResponseWriter, host, why string) {
	p.count(p.refused, host)
	http.Error(w, fmt.Sprintf("runpod-sim's proxy answers for %s, port 443, and reaches nothing else: %s", p.hosts, why), http.StatusForbidden)
}

func (p *Proxy) count(in map[string]int, host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(in) < 10_000 || in[host] > 0 {
		in[host]++
	}
}

// tunnel answers a CONNECT and serves what comes through it.
func (p *Proxy) tunnel(w http.ResponseWriter, host string, target Target) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if !p.hold(conn) {
		conn.Close()
		return
	}
	defer p.release(conn)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	p.serve(tls.Server(&readAhead{conn, rw.Reader}, p.ca.config(host)), host, target)
}

// hold keeps a connection for Close; false means that has begun.
func (p *Proxy) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.conns[conn] = struct{}{}
	p.tasks.Add(1)
	return true
}

func (p *Proxy) release(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	p.tasks.Done()
}

// serve answers the requests of one connection. It has a connection of its own to
// the target, so that the target sees as many as there are.
func (p *Proxy) serve(conn *tls.Conn, host string, target Target) {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	forward := forwarder(transport, target)
	srv := &http.Server{
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.EqualFold(hostOnly(r.Host), host) || !strings.HasPrefix(r.URL.Path, target.Prefix) {
				http.Error(w, fmt.Sprintf("no %s%s here", r.Host, r.URL.Path), http.StatusNotFound)
				return
			}
			p.count(p.passed, host)
			forward.ServeHTTP(w, r)
		}),
	}
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	watched := &watchedConn{Conn: conn, closed: make(chan struct{})}
	l.conn <- watched
	p.tasks.Go(func() { srv.Serve(l) })
	<-watched.closed
	l.Close()
}

// forwarder passes requests to a target.
func forwarder(transport *http.Transport, target Target) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target.URL)
			r.Out.Host = r.In.Host // S3 clients sign it
			if r.Out.Body == nil {
				r.Out.Body = noBody{} // a request without one would be sent again on a new connection
			}
		},
		// What the target does to a connection happens to the client's.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}

// noBody is a body with nothing in it that http.Transport does not know to be one.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }

func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}

// readAhead is a connection of which some bytes were read.
type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (c *readAhead) Read(p []byte) (int, error) { return c.r.Read(p) }

// watchedConn tells when it is closed, by whoever has it.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, errors.ErrUnsupported
	}
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
