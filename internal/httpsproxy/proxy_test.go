package httpsproxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newProxy is a proxy that answers for below.test by a server of one's own.
func newProxy(t *testing.T, h http.Handler) (*Proxy, *http.Client) {
	t.Helper()
	own := httptest.NewServer(h)
	t.Cleanup(own.Close)
	u, err := url.Parse(own.URL)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Listen("127.0.0.1:0", "*.below.test", []string{"below.test"}, func(host string) (Target, bool) {
		return Target{URL: u, Prefix: map[string]string{"api.below.test": "/v2/"}[host]}, strings.HasSuffix(host, ".below.test") || host == "else.test"
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.CACertificate()) {
		t.Fatal("the authority's certificate cannot be read")
	}
	at, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		p.Close()
	})
	return p, &http.Client{Transport: tr}
}

func TestProxyAnswersForItsHosts(t *testing.T) {
	p, hc := newProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q %q", r.Method, r.Host, r.URL.RequestURI(), body, r.Header.Get("Accept-Encoding"))
	}))
	for range 3 {
		req, _ := http.NewRequest("PUT", "https://abc.below.test/x%2Fy?q=%20", strings.NewReader("body"))
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != `PUT abc.below.test /x%2Fy?q=%20 "body" "gzip"` {
			t.Errorf("%s", b)
		}
	}
	if passed, refused := p.Counts(); passed["abc.below.test"] != 3 || len(refused) != 0 {
		t.Errorf("passed %v, refused %v", passed, refused)
	}
}

// Other hosts are refused by name, and so are plain http and other ports.
func TestProxyRefusesOtherHosts(t *testing.T) {
	p, hc := newProxy(t, http.NotFoundHandler())
	for _, target := range []string{"https://example.org/", "https://abc.below.test:8443/"} {
		if _, err := hc.Get(target); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s: %v", target, err)
		}
	}
	resp, err := hc.Get("http://abc.below.test/")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 403 || !strings.Contains(string(b), "only https://") {
		t.Errorf("plain http: %d %s", resp.StatusCode, b)
	}
	if _, refused := p.Counts(); refused["example.org"] != 1 || refused["abc.below.test"] != 2 {
		t.Errorf("refused %v", refused)
	}
}

// The authority's certificates are good for its domains alone.
func TestProxyCannotSpeakForOthers(t *testing.T) {
	_, hc := newProxy(t, http.NotFoundHandler())
	var bad x509.CertificateInvalidError
	if _, err := hc.Get("https://else.test/"); !errors.As(err, &bad) || bad.Reason != x509.CANotAuthorizedForThisName {
		t.Errorf("%v", err)
	}
}

func TestProxyKeepsToThePrefix(t *testing.T) {
	_, hc := newProxy(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for path, want := range map[string]int{"/v2/x/run": 200, "/graphql": 404} {
		resp, err := hc.Get("https://api.below.test" + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// A connection that the server cuts is cut for the client, and nothing is sent
// twice.
func TestProxyPassesCuts(t *testing.T) {
	var n atomic.Int32
	_, hc := newProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	get := func() (string, error) {
		resp, err := hc.Post("https://a.below.test/", "text/plain", strings.NewReader("x"))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if _, err := get(); err != nil {
		t.Fatal(err)
	}
	if _, err := get(); err == nil {
		t.Error("a cut before the answer was hidden")
	}
	if body, err := get(); err == nil || body != "half" {
		t.Errorf("a cut answer: %q, %v", body, err)
	}
	if n.Load() != 3 {
		t.Errorf("%d requests arrived, want 3", n.Load())
	}
}

// Upgrades pass; Close ends them.
func TestProxyUpgradesAndCloses(t *testing.T) {
	p, hc := newProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		io.Copy(conn, rw)
	}))
	raw, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fmt.Fprintf(raw, "CONNECT a.below.test:443 HTTP/1.1\r\nHost: a.below.test:443\r\n\r\n")
	in := bufio.NewReader(raw)
	if resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	conn := tls.Client(raw, &tls.Config{ServerName: "a.below.test", RootCAs: hc.Transport.(*http.Transport).TLSClientConfig.RootCAs})
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a.below.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in = bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection outlived the proxy")
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("Close hangs")
	}
}
