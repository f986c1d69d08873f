package runpod

import (
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestVersionIsTheBuilds(t *testing.T) {
	ours, other := debug.Module{Path: modulePath, Version: "v1.2.3"}, debug.Module{Path: "example.com/x", Version: "v9.9.9"}
	for want, info := range map[string]*debug.BuildInfo{
		"v1.2.3": {Main: other, Deps: []*debug.Module{&other, &ours}},
		"devel":  {Main: debug.Module{Path: modulePath, Version: "(devel)"}},
		"v1.2.4": {Main: other, Deps: []*debug.Module{{Path: modulePath, Version: "v1.2.3", Replace: &debug.Module{Path: "../fork", Version: "v1.2.4"}}}},
	} {
		if got := versionIn(info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := versionIn(&debug.BuildInfo{Main: other}); got != "devel" {
		t.Errorf("a program without the module: %q", got)
	}
	if v := Version(); v == "" || strings.ContainsAny(v, "() ") {
		t.Errorf("%q is no token", v)
	}
}

// lastHeader is the header of an endpoint's last request; light requests come
// several at a time.
type lastHeader struct {
	mu     sync.Mutex
	header http.Header
}

// Get returns a field of it.
func (l *lastHeader) Get(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.header.Get(name)
}

// headerSeen is an endpoint that keeps the header of the last request.
func headerSeen() (runpodtest.Config, *lastHeader) {
	var last lastHeader
	cfg := program(warm(), func(w http.ResponseWriter, r *http.Request) {
		last.mu.Lock()
		defer last.mu.Unlock()
		last.header = r.Header.Clone()
	})
	return cfg, &last
}

func TestUserAgent(t *testing.T) {
	own := "runpod-go/" + Version()
	for want, opts := range map[string][]Option{
		own:             nil,
		"shop/2 " + own: {WithUserAgent("shop/2")},
		"other":         {WithUserAgent("shop/2"), WithHeader("User-Agent", "other")},
	} {
		cfg, seen := headerSeen()
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
			for how, send := range sendsBy(t, c) {
				if err := send(nil); err != nil || seen.Get("User-Agent") != want {
					t.Errorf("%s: got %q, %v, want %q", how, seen.Get("User-Agent"), err, want)
				}
				if err := send(http.Header{"User-Agent": {"mine"}}); err != nil || how != "Call" && seen.Get("User-Agent") != "mine" {
					t.Errorf("%s with its own: got %q, %v", how, seen.Get("User-Agent"), err)
				}
			}
		}, opts...)
	}
}

// sendsBy sends a request with a header of its own by each way there is; Call
// takes the header as options.
func sendsBy(t *testing.T, c *Client, opts ...CallOption) map[string]func(http.Header) error {
	by := func(do func(*http.Request) (*http.Response, error)) func(http.Header) error {
		return func(h http.Header) error {
			req, _ := http.NewRequestWithContext(WithCallOptions(t.Context(), opts...), "POST", c.ep.base.String()+"/x", nil)
			for name, values := range h {
				req.Header[name] = values
			}
			resp, err := do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
	}
	return map[string]func(http.Header) error{
		"Do": by(c.Do), "Transport": by(c.Transport().RoundTrip), "HTTPClient": by(c.HTTPClient().Do), "Session": by(c.Session().Do),
		"Call": func(http.Header) error {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil, opts...)
			return err
		},
	}
}
