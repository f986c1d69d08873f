package runpodtest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newTwin starts a server and a plain HTTP client for it; both end with the test.
func newTwin(t testing.TB, cfg Config) (*Server, *http.Client) {
	t.Helper()
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: srv.DialContext}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, &http.Client{Transport: tr}
}

// got is one answer, read whole.
type got struct {
	status int
	worker string
	body   string
	took   time.Duration
	err    error
}

// send makes one request with the server's key.
func send(srv *Server, hc *http.Client, method, path, body string) got {
	req, err := http.NewRequest(method, srv.EndpointURL+path, strings.NewReader(body))
	if err != nil {
		return got{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	start := time.Now()
	resp, err := hc.Do(req)
	if err != nil {
		return got{err: err, took: time.Since(start)}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header.Get(workerHeader), string(b), time.Since(start), err}
}
