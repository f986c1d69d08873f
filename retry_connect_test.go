package runpod

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What will never connect is tried once, and the error says who has refused and
// what to look at.
func TestConnectingThatWillNeverWork(t *testing.T) {
	clearEnvironment(t)
	server, trust := testTLS()
	answers := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, text)
		}
	}
	says := func(reply ...byte) func(net.Conn) {
		return func(conn net.Conn) {
			io.ReadAtLeast(conn, make([]byte, 4096), 1)
			conn.Write(reply)
		}
	}
	refused := func(status int) func(net.Conn) {
		return answers(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status)))
	}
	wantsCertificate := server.Clone()
	wantsCertificate.ClientAuth = tls.RequireAnyClientCert
	for _, tt := range []struct {
		name  string
		proxy string
		serve func(net.Conn)
		dial  error
		says  []string
		retry bool
		races bool // with TLS 1.3 the request may be on its way before the alert is read
	}{
		{name: "a proxy that wants a password", proxy: "http://me:hush@proxy.test:3128", serve: refused(407), says: []string{"the proxy proxy.test:3128 refused", "407", "HTTPS_PROXY"}},
		{name: "a proxy that lets nobody through", proxy: "http://proxy.test:3128", serve: refused(403), says: []string{"proxy.test:3128", "403 Forbidden", "check the proxy"}},
		{name: "a proxy that is no proxy", proxy: "http://proxy.test:3128", serve: refused(405), says: []string{"405", "check the proxy"}},
		{name: "a proxy that is busy", proxy: "http://proxy.test:3128", serve: refused(503), says: []string{"503"}, retry: true},
		{name: "a proxy whose address is wrong", proxy: "bad", says: []string{"address of the proxy is wrong", "HTTPS_PROXY"}},
		{name: "a SOCKS proxy that wants a password", proxy: "socks5://proxy.test", serve: says(5, 0xff), says: []string{"authentication", "check the proxy"}},
		{name: "a SOCKS proxy that hangs up", proxy: "socks5://proxy.test", serve: func(conn net.Conn) { io.ReadAtLeast(conn, make([]byte, 3), 3) }, says: []string{"socks"}, retry: true},
		{name: "a proxy whose certificate nobody trusts", proxy: "https://other.test:3128", serve: func(conn net.Conn) { tls.Server(conn, server).Handshake() }, says: []string{"proxyconnect", "other.test", "check the proxy"}},
		{name: "a TLS alert", serve: says(21, 3, 3, 0, 2, 2, 40), says: []string{"handshake failure", "certificates"}},
		{name: "a server that wants a client's certificate", serve: func(conn net.Conn) {
			io.Copy(io.Discard, tls.Server(conn, wantsCertificate))
			io.Copy(io.Discard, conn) // so that the alert is read before the end is noticed
		}, says: []string{"certificate required"}, races: true},
		{name: "a server that speaks http", serve: says([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...), says: []string{"scheme"}},
		{name: "a firewall", dial: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}, says: []string{"permission denied", "firewall"}},
		{name: "an address that is none", dial: &net.OpError{Op: "dial", Err: &net.AddrError{Err: "invalid port", Addr: "x:99999"}}, says: []string{"invalid port", "check the address"}},
		{name: "a server that is not up yet", dial: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, says: []string{"refused"}, retry: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := &http.Transport{TLSClientConfig: trust}
				if tt.proxy != "" {
					transport.Proxy = func(*http.Request) (*url.URL, error) {
						if tt.proxy == "bad" {
							return nil, errors.New(`invalid proxy address "http://me:hush@"`)
						}
						return url.Parse(tt.proxy)
					}
				}
				c, err := New(WithAPIKey("k"), WithEndpoint("https://example.com"), WithHTTPTransport(transport),
					WithDialContext(func(context.Context, string, string) (net.Conn, error) {
						if tt.dial != nil {
							return nil, tt.dial
						}
						near, far := net.Pipe()
						go func() {
							defer far.Close()
							tt.serve(far)
						}()
						return near, nil
					}))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err = c.Call(ctx, "GET", "/x", nil, nil)
				if got := attempts(err); got != 1 != tt.retry && !(tt.races && got <= 3) {
					t.Errorf("%d attempts: %v", got, err)
				}
				for _, want := range tt.says {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("it does not say %q: %v", want, err)
					}
				}
				if strings.Contains(err.Error(), "hush") {
					t.Errorf("it has the proxy's password: %v", err)
				}
			})
		})
	}
}
