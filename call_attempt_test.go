package runpod

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// testTLS is a server's certificate for example.com, and a client's trust in it.
func testTLS() (server, client *tls.Config) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates}, srv.Client().Transport.(*http.Transport).TLSClientConfig
}

// The attempt's limit also ends an attempt beneath two layers of TLS, and what
// was written there counts as sent.
func TestAttemptLimitBehindATLSProxy(t *testing.T) {
	clearEnvironment(t)
	server, trust := testTLS()
	// silent is a proxy, and behind it an endpoint that reads for ever.
	silent := func(conn net.Conn) {
		defer conn.Close()
		outer := tls.Server(conn, server)
		if _, err := http.ReadRequest(bufio.NewReader(outer)); err != nil {
			return
		}
		io.WriteString(outer, "HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(io.Discard, tls.Server(outer, server))
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := New(WithAPIKey("k"), WithEndpoint("https://example.com"), WithHTTPTransport(&http.Transport{
			Proxy:           http.ProxyURL(&url.URL{Scheme: "https", Host: "example.com:3128"}),
			TLSClientConfig: trust,
		}), WithDialContext(func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go silent(far)
			return near, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		_, err = c.Call(t.Context(), "POST", "/x", nil, nil)
		took := time.Since(start)
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrProcessingTimeout) || !e.MayHaveRun || took != DefaultRetryPolicy().attemptLimit() {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
