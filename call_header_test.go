package runpod

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// A call's header is set on every attempt, above the request's own, and that
// above the Client's.
func TestHeaderOfCallRequestAndClient(t *testing.T) {
	cfg, seen := headerSeen()
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		opts := []CallOption{Header("x-call", "1"), Header("X-Both", "call")}
		for how, send := range sendsBy(t, c, opts...) {
			srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy")})
			given := http.Header{"X-Request": {"2"}, "X-Both": {"request"}, "X-Two": {"request"}}
			if err := send(given); err != nil {
				t.Error(how, err)
			}
			want := map[string]string{"X-Call": "1", "X-Client": "3", "X-Both": "call", "X-Two": "request", "X-Request": "2"}
			if how == "Call" {
				want["X-Two"], want["X-Request"] = "client", ""
			}
			for name, value := range want {
				if got := seen.Get(name); got != value {
					t.Errorf("%s: %s is %q, want %q", how, name, got, value)
				}
			}
			if len(given) != 3 {
				t.Errorf("%s: the caller's header was changed: %v", how, given)
			}
		}
		if _, err := c.Run(t.Context(), Job{Path: "/x", Options: []CallOption{Header("X-Job", "4")}}); err != nil || seen.Get("X-Job") != "4" {
			t.Errorf("a job's: %q, %v", seen.Get("X-Job"), err)
		}
		if _, err := c.Warm(t.Context(), 1); err != nil || seen.Get("X-Client") != "3" {
			t.Errorf("a wake's: %q, %v", seen.Get("X-Client"), err)
		}
		if _, err := c.Upload(t.Context(), "k", Bytes("k", nil)); err != nil {
			t.Error(err) // S3 would refuse a header that the signature does not know
		}
	}, WithHeader("x-client", "3"), WithHeader("X-Both", "client"), WithHeader("X-Two", "client"))
}

// What the library or HTTP itself decides is refused, and what cannot be sent.
func TestHeaderIsRefused(t *testing.T) {
	clearEnvironment(t)
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for name, value := range map[string]string{
			"Authorization": "Bearer hush", "authorization": "Bearer hush", "Connection": "close", "Keep-Alive": "1", "Proxy-Authorization": "hush",
			"Proxy-Authenticate": "x", "Proxy-Connection": "x", "TE": "trailers", "Trailer": "X", "Transfer-Encoding": "chunked", "Upgrade": "h2c",
			"Host": "elsewhere.example", "Content-Length": "5", "": "x", "Two words": "x", "X-Line": "a\r\nX-Other: hush",
		} {
			_, call := c.Call(t.Context(), "GET", "/x", nil, nil, Header(name, value))
			_, option := New(WithHeader(name, value))
			for field, err := range map[string]error{"Header": call, "WithHeader": option} {
				if fieldOf(err) != field || !errors.Is(err, ErrBadRequest) || strings.Contains(err.Error(), "hush") {
					t.Errorf("%s(%q): got %v", field, name, err)
				}
			}
		}
		if _, err := New(WithUserAgent("a\nb")); fieldOf(err) != "WithUserAgent" {
			t.Errorf("got %v", err)
		}
		if st := srv.Stats(); st.Requests > 0 {
			t.Errorf("%d requests were sent", st.Requests)
		}
	})
}
