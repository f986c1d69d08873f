package runpod

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// firstly answers the first request by one handler and the rest by 200.
func firstly(h http.HandlerFunc) http.HandlerFunc {
	var served atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) == 1 {
			h(w, r)
		}
	}
}

// dribble sends what there is and then nothing, for ever.
func dribble(w http.ResponseWriter, r *http.Request, status int, text string) {
	w.WriteHeader(status)
	io.WriteString(w, text)
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func deflated(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// An error whose body never ends is judged by what has come within seconds.
func TestErrorWhoseBodyNeverEnds(t *testing.T) {
	for _, status := range []int{503, 400} {
		endless := firstly(func(w http.ResponseWriter, r *http.Request) {
			dribble(w, r, status, `{"error":"no workers available"}`)
		})
		withServer(t, endless, func(t *testing.T, c *Client) {
			start := time.Now()
			r, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			if err != nil || len(r.Attempts) != 2 || time.Since(start) > 7*time.Second {
				t.Errorf("%d, after %s: %+v, %v", status, time.Since(start), r, err)
			}
		})
	}
	// One that is final comes to the caller with what there is.
	withServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(workerIDHeader, "w1")
		dribble(w, r, 422, "no such picture")
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		r, err := c.Call(t.Context(), "POST", "/x", nil, nil)
		if !errors.Is(err, ErrBadRequest) || !strings.Contains(err.Error(), "no such picture") || time.Since(start) > 11*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if r == nil || string(r.Body) != "no such picture" {
			t.Errorf("got %+v", r)
		}
	})
}

// An error whose body is slow is the caller's to read to its end.
func TestErrorWhoseBodyIsSlow(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(workerIDHeader, "w1")
		w.WriteHeader(422)
		for _, piece := range []string{"one ", "two ", "three"} {
			io.WriteString(w, piece)
			http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Second)
		}
	}
	withServer(t, slow, func(t *testing.T, c *Client) {
		start := time.Now()
		resp, err := c.HTTPClient().Get("/x")
		if err != nil || time.Since(start) != 5*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		piece := make([]byte, 100)
		if n, _ := resp.Body.Read(piece); string(piece[:n]) != "one " || time.Since(start) != 5*time.Second {
			t.Errorf("after %s: %q", time.Since(start), piece[:n])
		}
		if got := read(t, resp, nil); got != "two three" {
			t.Errorf("got %q", got)
		}
	})
}

// A compressed error gets the verdict that it gets as plain text, and a client
// that asked for it compressed gets the bytes as they were sent.
func TestErrorThatIsCompressed(t *testing.T) {
	const cold = `{"error":"no workers available"}`
	for encoding, body := range map[string]string{"gzip": gzipped(cold), "x-gzip": gzipped(cold), "deflate": deflated(cold), "GZIP": gzipped(cold)} {
		refuse := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			w.WriteHeader(400)
			io.WriteString(w, body)
		}
		withServer(t, firstly(refuse), func(t *testing.T, c *Client) {
			req, _ := http.NewRequest("POST", "/x", nil)
			req.Header.Set("Accept-Encoding", "gzip, deflate")
			resp, err := c.HTTPClient().Do(req)
			if read(t, resp, err); err == nil && resp.StatusCode != 200 {
				t.Errorf("%s: status %d", encoding, resp.StatusCode)
			}
		})
		named := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(workerIDHeader, "w1")
			w.Header().Set("X-Own", "1")
			w.Header().Set("Content-Encoding", encoding)
			w.WriteHeader(422)
			io.WriteString(w, body)
		}
		withServer(t, named, func(t *testing.T, c *Client) {
			req, _ := http.NewRequest("POST", "/x", nil)
			req.Header.Set("Accept-Encoding", "gzip, deflate")
			resp, err := c.HTTPClient().Do(req)
			if got := read(t, resp, err); got != body {
				t.Errorf("%s: got %q", encoding, got)
			}
		})
	}
}

// The server is asked for no compression in which an error could not be read.
func TestAcceptEncodingIsReadable(t *testing.T) {
	for accepts, want := range map[string]string{
		"gzip, deflate, br, zstd": "gzip, deflate", "br;q=1.0, gzip;q=0.8, *;q=0.1": "gzip;q=0.8", "br": "identity", "identity": "identity", "*": "identity",
	} {
		if got := readable(accepts); got != want {
			t.Errorf("%q becomes %q, want %q", accepts, got, want)
		}
	}
	var got string
	withServer(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Get("Accept-Encoding") }, func(t *testing.T, c *Client) {
		req, _ := http.NewRequest("GET", "/x", nil)
		req.Header.Set("Accept-Encoding", "gzip, br")
		resp, err := c.HTTPClient().Do(req)
		if read(t, resp, err); got != "gzip" || req.Header.Get("Accept-Encoding") != "gzip, br" {
			t.Errorf("sent %q, and the caller's own became %q", got, req.Header.Get("Accept-Encoding"))
		}
	})
}

// However a body comes, and however much is read ahead, its reader gets all of
// it and its error.
func TestPeekedBodyIsRead(t *testing.T) {
	broke := errors.New("broke")
	for _, size := range []int{0, 1, peekLimit, peekAhead - 1, peekAhead, peekAhead + 1, 3 * peekAhead} {
		for _, end := range []error{nil, broke} {
			text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
			var src io.Reader = iotest.HalfReader(strings.NewReader(text))
			if end != nil {
				src = io.MultiReader(src, iotest.ErrReader(end))
			}
			body := peekBody(t.Context(), io.NopCloser(src), time.Minute)
			if head := body.beginning(""); string(head) != text[:min(size, peekLimit)] {
				t.Errorf("%d: its beginning has %d bytes", size, len(head))
			}
			if got, err := io.ReadAll(iotest.OneByteReader(body)); string(got) != text || err != end {
				t.Errorf("%d: got %d bytes, %v", size, len(got), err)
			}
			if err := body.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
