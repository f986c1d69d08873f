// Package embedded runs the engine of a fleet, a NATS server with JetStream,
// inside a Go program. It is the only package of the module that links the
// server: a program that connects to a server elsewhere does not import it.
package embedded

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startLimit bounds how long a server may take to read its store and listen.
const startLimit = 2 * time.Minute

// Server is a NATS server in this process. Its methods are safe for concurrent
// use. Close it when done.
type Server struct {
	ns    *server.Server
	conn  *nats.Conn
	token string
	tls   bool
	lock  *os.File
}

// Start runs a JetStream server that keeps its data under dir, which is made if
// it is not there. It listens on a free port of 127.0.0.1 and asks every client
// for a token, see [Server.Token]; [Listen] and [NoToken] change that.
//
// Every write is synced to the disk before it is acknowledged: JetStream's
// default, a sync every two minutes, was shown to lose acknowledged writes when
// the power fails (Jepsen, NATS 2.12.1). Two servers cannot share a dir: the
// second one is refused.
func Start(dir string, opts ...Option) (*Server, error) {
	o := options{host: "127.0.0.1", port: server.RANDOM_PORT}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
	}
	s, err := start(dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded: start a server in %s: %w", dir, err)
	}
	return s, nil
}

func start(dir string, o options) (_ *Server, err error) {
	s := &Server{tls: o.tls != nil}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if s.lock, err = lock(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if s.token, err = o.findToken(filepath.Join(dir, "token")); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "runpod-fleet", Host: o.host, Port: o.port,
		Authorization: s.token, TLS: o.tls != nil, TLSConfig: o.tls, TLSTimeout: 5,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, err
	}
	s.ns = ns
	ns.Start()
	if !ns.ReadyForConnections(startLimit) {
		return nil, fmt.Errorf("it does not listen on %s after %s: is the port taken?", net.JoinHostPort(o.host, strconv.Itoa(o.port)), startLimit)
	}
	s.conn, err = nats.Connect("", nats.InProcessServer(ns), nats.Token(s.token), nats.MaxReconnects(-1))
	return s, err
}

// Conn is a connection to the server within the process. It is closed with the
// server.
func (s *Server) Conn() *nats.Conn { return s.conn }

// URL is where other processes reach the server, without the token.
func (s *Server) URL() string {
	scheme := "nats://"
	if s.tls {
		scheme = "tls://"
	}
	return scheme + s.ns.Addr().String()
}

// Token is what other processes must present: nats.Token(srv.Token()). It is a
// secret. "" means that none is asked for. The same is in the file token of the
// server's folder, readable by its owner only, and stays from one start to the
// next.
func (s *Server) Token() string { return s.token }

// Close ends every connection and stops the server. What was acknowledged is on
// the disk. Closing twice is fine.
func (s *Server) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
	}
	if s.lock != nil {
		s.lock.Close() // which unlocks it; closing twice is an error that says nothing
	}
	return nil
}

// Option sets one thing about a [Server].
type Option func(*options) error

type options struct {
	host    string
	port    int
	token   string
	noToken bool
	tls     *tls.Config
}

// Listen sets the address, such as "0.0.0.0:4222", that the server listens on.
// Default: a free port of 127.0.0.1. Off loopback, use [TLS] as well: without
// it the token and the jobs travel as plain text.
func Listen(addr string) Option {
	return func(o *options) error {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("Listen: %w", err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fmt.Errorf("Listen: %q is not a port", port)
		}
		if o.host, o.port = host, int(n); n == 0 {
			o.port = server.RANDOM_PORT
		}
		return nil
	}
}

// Token sets the token that clients must present. Default: a random one, kept in
// the server's folder.
func Token(token string) Option {
	return func(o *options) error {
		if token == "" {
			return errors.New("Token: it is empty; NoToken does without one")
		}
		o.token = token
		return nil
	}
}

// NoToken lets everyone in who can reach the address.
func NoToken() Option {
	return func(o *options) error { o.noToken = true; return nil }
}

// TLS has clients connect by TLS with the server's certificate in cfg. Default:
// none, which is for loopback.
func TLS(cfg *tls.Config) Option {
	return func(o *options) error {
		if cfg == nil {
			return errors.New("TLS: the configuration is nil")
		}
		o.tls = cfg
		return nil
	}
}

// findToken is the token that was set, or the one in the file, which is made at
// the first start.
func (o *options) findToken(name string) (string, error) {
	if o.noToken || o.token != "" {
		return o.token, nil
	}
	b, err := os.ReadFile(name)
	if err == nil {
		if t := strings.TrimSpace(string(b)); t != "" {
			return t, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	t := rand.Text()
	return t, os.WriteFile(name, []byte(t+"\n"), 0o600)
}
