package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
)

// DefaultURL is where the control plane is (Runpod docs, REST v2).
const DefaultURL = "https://api.runpod.io/v2"

// Option sets one thing about a Client.
type Option func(*config) error

type config struct {
	apiKey    string
	url       *url.URL
	policy    runpod.RetryPolicy
	logger    *slog.Logger
	transport *http.Transport
}

// WithAPIKey sets the Runpod API key. It is sent to the control plane's host and
// nowhere else. Default: the environment variable RUNPOD_API_KEY.
func WithAPIKey(key string) Option {
	return func(c *config) error {
		if strings.TrimSpace(key) != key || strings.ContainsAny(key, "\r\n\x00") {
			return refuse("WithAPIKey", "the key has white space or control characters around or in it")
		}
		c.apiKey = key
		return nil
	}
}

// WithURL sets the control plane's base URL. Default: the environment variable
// RUNPOD_CONTROL_URL, else [DefaultURL].
func WithURL(base string) Option {
	return func(c *config) error {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
			return refuse("WithURL", "want an http or https URL with a host, without user and query")
		}
		u.Path = strings.TrimSuffix(u.Path, "/")
		c.url = u
		return nil
	}
}

// WithRetryPolicy sets the times of retries. Four fields are used: BaseBackoff and
// MaxBackoff bound the backoff, MaxRetryAfter caps the wait that the server can
// ask for, and Grace limits an attempt. Default, and for zero fields:
// runpod.DefaultRetryPolicy.
func WithRetryPolicy(p runpod.RetryPolicy) Option {
	return func(c *config) error {
		if min(p.BaseBackoff, p.MaxBackoff, p.MaxRetryAfter, p.Grace) < 0 {
			return refuse("WithRetryPolicy", "a time in it is negative")
		}
		c.policy = p.Scaled(1) // which fills in the defaults
		return nil
	}
}

// WithLogger sets the logger: one line an attempt at debug level, one a failed
// request at warn. Nothing secret is logged. Default, and nil: nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return refuse("WithLogger", "the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// WithHTTPTransport sets the transport whose settings are used. It is cloned and
// not changed. Default: http.DefaultTransport. A nil transport is refused.
func WithHTTPTransport(t *http.Transport) Option {
	return func(c *config) error {
		if t == nil {
			return refuse("WithHTTPTransport", "the transport is nil")
		}
		dial := c.transport.DialContext
		if c.transport = t.Clone(); c.transport.DialContext == nil {
			c.transport.DialContext = dial
		}
		return nil
	}
}

// WithDialContext sets the function that opens connections: for tunnels, networks
// in memory, and tests. Default: the transport's. A nil function is refused.
func WithDialContext(f func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) error {
		if f == nil {
			return refuse("WithDialContext", "the function is nil")
		}
		c.transport.DialContext = f
		return nil
	}
}

// newConfig applies the options, then the environment, then the defaults.
func newConfig(opts []Option) (*config, error) {
	c := &config{policy: runpod.DefaultRetryPolicy(), logger: slog.New(slog.DiscardHandler), transport: defaultTransport()}
	for _, opt := range opts {
		if opt == nil {
			return nil, refuse("options", "one of them is nil")
		}
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	if c.apiKey == "" {
		if err := WithAPIKey(os.Getenv("RUNPOD_API_KEY"))(c); err != nil {
			return nil, err
		}
	}
	if c.apiKey == "" {
		return nil, refuse("API key", "it is not set: use WithAPIKey, or RUNPOD_API_KEY")
	}
	if c.url != nil {
		return c, nil
	}
	base := DefaultURL
	if v := os.Getenv("RUNPOD_CONTROL_URL"); v != "" {
		base = v
	}
	return c, WithURL(base)(c)
}

// defaultTransport is a clone of the process's default, unless somebody replaced
// that by something that is no transport.
func defaultTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}
