package runpod

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Every form in which people write an endpoint's address is understood, or
// refused with the right one.
func TestEndpointAddresses(t *testing.T) {
	clearEnvironment(t)
	for in, want := range map[string]string{
		"abc123":                              "https://abc123.api.runpod.ai",
		"abc123.api.runpod.ai":                "https://abc123.api.runpod.ai",
		"https://abc123.api.runpod.ai":        "https://abc123.api.runpod.ai",
		"https://abc123.api.runpod.ai/":       "https://abc123.api.runpod.ai/",
		"https://abc123.api.runpod.ai:443":    "https://abc123.api.runpod.ai",
		"abc123.api.runpod.ai:443":            "https://abc123.api.runpod.ai",
		"http://localhost:8080":               "http://localhost:8080",
		"http://localhost:80":                 "http://localhost",
		"https://gateway.example/gpu/abc":     "https://gateway.example/gpu/abc",
		"https://api.runpod.ai/v2/abc123":     "https://api.runpod.ai/v2/abc123", // as queue passes it on
		"https://api.runpod.ai:443/v2/abc123": "https://api.runpod.ai/v2/abc123",
	} {
		c, err := New(WithAPIKey("k"), WithEndpoint(in))
		if err != nil || c.ep.base.String() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
			continue
		}
		c.Close()
	}
	for in, says := range map[string]string{
		"https://api.runpod.ai/v2/abc123/run":        `want WithEndpoint("abc123") for a load-balancing endpoint, or queue.New("abc123")`,
		"https://api.runpod.ai/v2/abc123/status/j1":  `"https://api.runpod.ai/v2/abc123/status/j1": that is one call`,
		"https://api.runpod.ai":                      "it names no endpoint",
		"https://api.runpod.ai/v1/abc123":            "it names no endpoint",
		"https://abc123.api.runpod.ai/api/v1":        "want https://abc123.api.runpod.ai, and the path with each call",
		"abc123.api.runpod.ai/api/v1/tryon":          "want https://abc123.api.runpod.ai, and the path with each call",
		"localhost:8080":                             "such as https://host or http://localhost:8080",
		"example.com":                                "want an http or https URL",
		"https://me:hush@host":                       "a user or password",
		"https://abc123.api.runpod.ai/?api_key=hush": "without query",
	} {
		_, err := New(WithAPIKey("k"), WithEndpoint(in))
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != "WithEndpoint" || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v, want %q", in, err, says)
		}
	}
}

// Two variables that name two endpoints are refused: one may be real while the
// other is the simulated one.
func TestEndpointVariablesThatDisagree(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("RUNPOD_ENDPOINT_ID", "abc123")
	for address, refused := range map[string]bool{
		"": false, "https://abc123.api.runpod.ai": false, "https://ABC123.api.runpod.ai:443/": false,
		"http://127.0.0.1:8000": true, "https://other.api.runpod.ai": true, "http://abc123.api.runpod.ai": true,
	} {
		t.Setenv("RUNPOD_ENDPOINT_URL", address)
		c, err := New(WithAPIKey("k"))
		if err == nil {
			c.Close()
		}
		if e, _ := errors.AsType[*Error](err); refused != (err != nil) || refused && (e.Field != "RUNPOD_ENDPOINT_ID, RUNPOD_ENDPOINT_URL" || !strings.Contains(err.Error(), "abc123.api.runpod.ai")) {
			t.Errorf("%q: %v", address, err)
		}
		if c, err := New(WithAPIKey("k"), WithEndpoint("mine")); err != nil || c.ep.base.Host != "mine.api.runpod.ai" {
			t.Errorf("%q, and WithEndpoint: %v", address, err)
		}
	}
}

// What is wrong with a setting of the environment is said of its variable.
func TestErrorsNameTheVariable(t *testing.T) {
	for name, value := range map[string]string{
		"RUNPOD_API_KEY": "key\n", "RUNPOD_ENDPOINT_ID": "no id", "RUNPOD_ENDPOINT_URL": "localhost:8080",
		"RUNPOD_S3_ACCESS_KEY_ID": "id\n", "RUNPOD_S3_SECRET_ACCESS_KEY": "secret ", "RUNPOD_S3_ENDPOINT_URL": "s3.example", "RUNPOD_S3_BUCKET_NAME": "no bucket!",
	} {
		clearEnvironment(t)
		for other, good := range map[string]string{
			"RUNPOD_S3_ENDPOINT_URL": "https://s3.example", "RUNPOD_S3_REGION": "r", "RUNPOD_S3_BUCKET_NAME": "b",
			"RUNPOD_S3_ACCESS_KEY_ID": "id", "RUNPOD_S3_SECRET_ACCESS_KEY": "secret",
		} {
			t.Setenv(other, good)
		}
		t.Setenv(name, value)
		_, err := New()
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Field, name) || strings.Contains(err.Error(), "With") && !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(WithAPIKey("two words")); err == nil {
		t.Error("a key with a space in it was taken")
	}
}

// A path that repeats the address's own, or that no job API has, is refused
// before it is sent.
func TestPathsThatTheAddressCannotHave(t *testing.T) {
	clearEnvironment(t)
	for _, tt := range []struct{ base, path, says string }{
		{"https://gateway.example/api/v1", "/api/v1/tryon", "/api/v1"},
		{"https://gateway.example/api/v1/", "api/v1", "/api/v1"},
		{"https://api.runpod.ai/v2/abc123", "/api/v1/tryon", `WithEndpoint("abc123")`},
	} {
		c, err := New(WithAPIKey("k"), WithEndpoint(tt.base))
		if err != nil {
			t.Fatal(err)
		}
		_, called := c.Call(t.Context(), "GET", tt.path, nil, nil)
		req, _ := http.NewRequest("GET", "/"+strings.TrimPrefix(tt.path, "/"), nil)
		_, done := c.Do(req)
		for _, err := range []error{called, done} {
			if !errors.Is(err, ErrBadRequest) || attempts(err) != 0 || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s, %s: %v", tt.base, tt.path, err)
			}
		}
		c.Close()
	}
	for _, path := range []string{"/run", "/status/x", "/health"} {
		if err := checkPath(mustParse(t, "https://api.runpod.ai/v2/abc123"), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
