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
	"net/http/httptrace"
	"net/url"
	"strings"
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

// A stream that falls silent for good ends with an error that says what was
// seen. One that lives does not, however slow it or its reader is.
func TestStreamThatFallsSilent(t *testing.T) {
	idle := DefaultRetryPolicy().StreamIdle
	silent := func(w http.ResponseWriter, r *http.Request) { dribble(w, r, 200, "data: 1\n\n") }
	for name, read := range map[string]func(ctx context.Context, c *Client) error{
		"a client on Transport": func(_ context.Context, c *Client) error {
			resp, err := c.HTTPClient().Get("/x")
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			return err
		},
		"events": func(ctx context.Context, c *Client) error {
			req, _ := http.NewRequestWithContext(ctx, "GET", "/x", nil)
			resp, err := c.Do(req)
			if err == nil {
				resp.Header.Set("Content-Type", "text/event-stream")
				_, err = collect(resp)
			}
			return err
		},
		"Call into an io.Writer": func(ctx context.Context, c *Client) error {
			_, err := c.Call(ctx, "GET", "/x", nil, io.Discard)
			return err
		},
	} {
		withServer(t, silent, func(t *testing.T, c *Client) {
			start := time.Now()
			err := read(t.Context(), c)
			e, ok := errors.AsType[*Error](err)
			if !ok || !e.MayHaveRun || !strings.Contains(err.Error(), "nothing came for 6m0s") || time.Since(start) != idle {
				t.Errorf("%s, after %s: %v", name, time.Since(start), err)
			}
			if s := c.Stats(); s.InFlight != 0 {
				t.Errorf("%s: %d in flight", name, s.InFlight)
			}
		})
	}
	slow := func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			time.Sleep(idle - time.Second)
		}
	}
	withServer(t, slow, func(t *testing.T, c *Client) {
		resp, err := c.HTTPClient().Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * idle) // the reader is slow too
		if got := read(t, resp, nil); got != "xxxx" {
			t.Errorf("got %q", got)
		}
	})
}

// What was seen of an attempt that ended by its limit: nothing at all, or an
// answer that did not end.
func TestAttemptLimitSaysWhatWasSeen(t *testing.T) {
	for says, serve := range map[string]http.HandlerFunc{
		"nothing came back for 8m0s":        func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"the answer began, and did not end": func(w http.ResponseWriter, r *http.Request) { dribble(w, r, 200, `{"ok":`) },
	} {
		withServer(t, serve, func(t *testing.T, c *Client) {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			if !errors.Is(err, ErrProcessingTimeout) || !strings.Contains(err.Error(), says) {
				t.Errorf("it does not say %q: %v", says, err)
			}
		})
	}
}

// What an earlier request has written on a connection is not this one's: only an
// attempt whose own bytes went out can have reached a worker.
func TestSentCountsOnlyTheAttemptsOwnBytes(t *testing.T) {
	conn := &countedConn{}
	conn.written.Store(100)
	var a attempt
	a.gotConn(httptrace.GotConnInfo{Conn: conn, Reused: true})
	a.wroteHeaders()
	if a.wrote() {
		t.Error("an attempt that wrote nothing counts as sent")
	}
	conn.written.Add(1)
	if !a.wrote() {
		t.Error("an attempt that wrote a byte does not count as sent")
	}
}
