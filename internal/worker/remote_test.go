package worker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// remote is a simulated endpoint before a server of one's own.
func remote(t *testing.T, server http.Handler) *runpodtest.Server {
	t.Helper()
	own := httptest.NewServer(server)
	t.Cleanup(own.Close)
	program, err := Remote(own.URL, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, Handler: program, ColdStart: runpodtest.Fixed(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

// open sends a request and returns the answer with its body unread.
func open(t *testing.T, srv *runpodtest.Server, method, path string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, srv.EndpointURL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// Requests and answers pass as they are, but for the key and the worker's id.
func TestRemotePassesRequests(t *testing.T) {
	srv := remote(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Own", "1")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %q %q", r.Method, r.URL.RequestURI(), body, r.Header.Get("Authorization"))
	}))
	resp := open(t, srv, "PUT", "/a%2Fb?q=1&r=%20", io.MultiReader(strings.NewReader("stream"), strings.NewReader("ed")))
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Own") != "1" || resp.Header.Get("X-Runpod-Worker-Id") == "" ||
		string(body) != `PUT /a%2Fb?q=1&r=%20 "streamed" ""` {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

// Events arrive as they are sent, not when the stream ends.
func TestRemoteStreamsEvents(t *testing.T) {
	more := make(chan bool)
	srv := remote(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-more
		}
	}))
	lines := bufio.NewScanner(open(t, srv, "GET", "/events", nil).Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
		}
		more <- true // the server is still in the middle of it
	}
}

// A stream that the server cuts short must not look complete.
func TestRemoteCutsShort(t *testing.T) {
	srv := remote(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half of it")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	body, err := io.ReadAll(open(t, srv, "GET", "/", nil).Body)
	if string(body) != "half of it" || err == nil {
		t.Errorf("%q, %v", body, err)
	}
}

// An upgrade passes, and its answer names the worker.
func TestRemoteUpgrades(t *testing.T) {
	srv := remote(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		io.WriteString(rw, "you said "+line)
		rw.Flush()
	}))
	u, _ := url.Parse(srv.EndpointURL)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", u.Host, srv.APIKey)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Runpod-Worker-Id") == "" {
		t.Fatalf("%+v, %v", resp, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "you said hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// A server that has gone costs a 502 with the worker's id.
func TestRemoteIsGone(t *testing.T) {
	own := httptest.NewServer(http.NotFoundHandler())
	out := &strings.Builder{}
	program, err := Remote(own.URL, out)
	if err != nil {
		t.Fatal(err)
	}
	own.Close()
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, Handler: program, ColdStart: runpodtest.Fixed(0)})
	if err != nil {
		t.Fatal(err)
	}
	resp := open(t, srv, "GET", "/", nil)
	srv.Close()
	if resp.StatusCode != 502 || resp.Header.Get("X-Runpod-Worker-Id") == "" || !strings.Contains(out.String(), "GET /: ") {
		t.Errorf("%d %v, logged %q", resp.StatusCode, resp.Header, out)
	}
}

func TestRemoteIsNoServer(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for base, want := range map[string]string{
		"127.0.0.1:8000":                 "is not the address of a server",
		"http://user:secret@127.0.0.1:1": "is not the address of a server",
		"ftp://127.0.0.1":                "is not the address of a server",
		"http://" + free.Addr().String(): "start yours first",
	} {
		if _, err := Remote(base, io.Discard); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", base, err)
		}
	}
}
