package embedded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gpuburst/runpod-go/fleet"
)

func TestLoopbackAndToken(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") || strings.Contains(s.URL(), s.Token()) || len(s.Token()) < 20 {
		t.Errorf("URL %s", s.URL())
	}
	if c, err := nats.Connect(s.URL()); err == nil {
		c.Close()
		t.Error("a client without the token was let in")
	}
	c, err := nats.Connect(s.URL(), nats.Token(s.Token()))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v %v", info, err)
	}
	if _, err := Start(dir); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server in the folder: %v", err)
	}
}

func TestWhatIsAcknowledgedStays(t *testing.T) {
	dir := t.TempDir()
	token := ""
	for i := range 2 {
		s, err := Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			token = s.Token()
		} else if s.Token() != token {
			t.Error("the token has changed")
		}
		js, err := jetstream.New(s.Conn())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "a", Subjects: []string{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != uint64(i) {
			t.Errorf("start %d: %d messages", i, n)
		}
		if _, err := js.Publish(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A client's TLS settings serve for the fleet's own connection too.
func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	s, err := Start(t.TempDir(), TLS(&tls.Config{Certificates: web.TLS.Certificates}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if c, err := nats.Connect(s.URL(), nats.Token(s.Token())); err == nil {
		c.Close()
		t.Error("an unknown certificate was taken")
	}
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	c, err := nats.Connect(s.URL(), nats.Token(s.Token()), nats.Secure(&tls.Config{RootCAs: roots, ServerName: "example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := fleet.Open(t.Context(), c, fleet.Config{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]Option{"Listen: ": Listen("nowhere"), "Listen: \"x\"": Listen("127.0.0.1:x"), "Token: ": Token(""), "TLS: ": TLS(nil)} {
		if _, err := Start(t.TempDir(), opt); err == nil || !strings.HasPrefix(err.Error(), "embedded: "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := Start(t.TempDir(), NoToken(), Listen("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
