package runpod

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Also over TLS, with a server that offers HTTP/2 and a transport that asks for
// it, every connection speaks HTTP/1.1.
func TestConnectionsSpeakHTTP1(t *testing.T) {
	clearEnvironment(t)
	var proto string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proto = r.Proto }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	transport := srv.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	c, err := New(WithAPIKey("k"), WithEndpoint(srv.URL), WithHTTPTransport(transport),
		WithS3Endpoint(srv.URL, "r", "b"), WithS3Credentials("id", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(t.Context(), "GET", "/", nil, nil); err != nil || proto != "HTTP/1.1" {
		t.Errorf("endpoint: %s, %v", proto, err)
	}
	proto = ""
	if err := c.Delete(t.Context(), "k"); err != nil || proto != "HTTP/1.1" {
		t.Errorf("S3: %s, %v", proto, err)
	}
}

func TestUntrustedCertificateEndsAtOnce(t *testing.T) {
	clearEnvironment(t)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	c, err := New(WithAPIKey("k"), WithEndpoint(srv.URL), WithS3Endpoint(srv.URL, "r", "b"), WithS3Credentials("id", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, call := c.Call(t.Context(), "GET", "/", nil, nil)
	_, upload := c.Upload(t.Context(), "k", Bytes("k", []byte("k")))
	for _, err := range []error{call, upload} {
		if attempts(err) != 1 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}
