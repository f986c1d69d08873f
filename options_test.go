package runpod

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// clearEnvironment keeps the settings of whoever runs the tests out of them.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID", "RUNPOD_ENDPOINT_URL", "RUNPOD_S3_ENDPOINT_URL", "RUNPOD_S3_REGION",
		"RUNPOD_S3_BUCKET_NAME", "RUNPOD_S3_ACCESS_KEY_ID", "RUNPOD_S3_SECRET_ACCESS_KEY",
	} {
		t.Setenv(name, "")
	}
}

func TestOptionsAreRefusedByName(t *testing.T) {
	clearEnvironment(t)
	for _, c := range []struct {
		field string
		opt   Option
	}{
		{"WithAPIKey", WithAPIKey("key\n")},
		{"WithEndpoint", WithEndpoint("")},
		{"WithEndpoint", WithEndpoint("not an id")},
		{"WithEndpoint", WithEndpoint("ftp://host")},
		{"WithEndpoint", WithEndpoint("https://")},
		{"WithEndpoint", WithEndpoint("https://host/?key=hush")},
		{"WithEndpoint", WithEndpoint("https://user:hush@host")},
		{"WithEndpoint", WithEndpoint("://hush")},
		{"WithVolume", WithVolume("Bucharest", "vol")},
		{"WithVolume", WithVolume("EU-RO-1", "")},
		{"WithVolume", WithVolume("EU-RO-1", "a/b")},
		{"WithS3Endpoint", WithS3Endpoint("s3.example", "r", "b")},
		{"WithS3Endpoint", WithS3Endpoint("https://s3.example", "", "b")},
		{"WithS3Credentials", WithS3Credentials("", "hush")},
		{"WithS3Credentials", WithS3Credentials("id", "")},
		{"WithS3CredentialsProvider", WithS3CredentialsProvider(nil)},
		{"WithS3Conns", WithS3Conns(-1)},
		{"WithMaxInFlight", WithMaxInFlight(-1)},
		{"WithRateLimit", WithRateLimit(0, 1)},
		{"WithRateLimit", WithRateLimit(1, 0)},
		{"WithRetryPolicy", WithRetryPolicy(RetryPolicy{GiveUp: -1})},
		{"WithRetryPolicy", WithRetryPolicy(RetryPolicy{BaseBackoff: time.Hour})},
		{"WithHTTPTransport", WithHTTPTransport(nil)},
		{"WithDialContext", WithDialContext(nil)},
		{"option 0", nil},
	} {
		_, err := New(c.opt)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Field != c.field || !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: got %v", c.field, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows a secret: %v", c.field, err)
		}
	}
}

func TestEnvironmentFillsWhatOptionsLeave(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("RUNPOD_API_KEY", "from-env")
	t.Setenv("RUNPOD_ENDPOINT_ID", "abc123")
	t.Setenv("RUNPOD_ENDPOINT_URL", "https://abc123.api.runpod.ai/") // the same one
	t.Setenv("RUNPOD_S3_ENDPOINT_URL", "https://s3.example")
	t.Setenv("RUNPOD_S3_REGION", "EU-RO-1")
	t.Setenv("RUNPOD_S3_BUCKET_NAME", "vol")
	t.Setenv("RUNPOD_S3_ACCESS_KEY_ID", "id")
	t.Setenv("RUNPOD_S3_SECRET_ACCESS_KEY", "secret")
	c, err := newConfig([]Option{WithAPIKey("from-option")})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.s3.credentials.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		c.apiKey: "from-option", c.endpoint.String(): "https://abc123.api.runpod.ai",
		c.s3.url.String(): "https://s3.example", c.s3.region: "EU-RO-1", c.s3.bucket: "vol",
		keys.AccessKeyID: "id", keys.SecretAccessKey: "secret",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	t.Setenv("RUNPOD_ENDPOINT_ID", "")
	t.Setenv("RUNPOD_ENDPOINT_URL", "nonsense url")
	if _, err := New(); err == nil || !strings.Contains(err.Error(), "RUNPOD_ENDPOINT_URL") {
		t.Errorf("a malformed URL in the environment: %v", err)
	}
}

func TestVolumeGivesGatewayRegionAndBucket(t *testing.T) {
	clearEnvironment(t)
	c, err := newConfig([]Option{WithVolume("eu-ro-1", "vol42")})
	if err != nil {
		t.Fatal(err)
	}
	if c.s3.url.String() != "https://s3api-eu-ro-1.runpod.io" || c.s3.region != "EU-RO-1" || c.s3.bucket != "vol42" {
		t.Errorf("got %s, %s, %s", c.s3.url, c.s3.region, c.s3.bucket)
	}
}

func TestTransportIsClonedNotChanged(t *testing.T) {
	clearEnvironment(t)
	own := &http.Transport{MaxConnsPerHost: 3, ForceAttemptHTTP2: true}
	c, err := New(WithHTTPTransport(own))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if own.MaxConnsPerHost != 3 || own.DialContext != nil || own.Protocols != nil {
		t.Error("the caller's transport was changed")
	}
	if c.ep.transport == own || c.volume.gw.transport == own || c.ep.transport == c.volume.gw.transport {
		t.Error("a transport is shared")
	}
}
