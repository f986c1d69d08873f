package runpod

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Zero, where an option takes it, means what no option means.
func TestZeroMeansTheDefault(t *testing.T) {
	clearEnvironment(t)
	bare, err := newConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	zero, err := newConfig([]Option{WithS3Conns(3), WithS3Conns(0), WithMaxInFlight(0), WithPartSize(0), WithBufferMemory(0),
		WithRetryPolicy(RetryPolicy{}), WithLogger(nil), WithResumeDir(""), WithKeepWarm(0)})
	if err != nil {
		t.Fatal(err)
	}
	type figures struct {
		conns, inFlight int
		part, buffers   int64
		path            string
		policy          RetryPolicy
	}
	of := func(c *config) figures {
		return figures{c.s3Conns, c.maxInFlight, c.partSize, c.bufferMemory, c.warm.path, c.policy}
	}
	if of(zero) != of(bare) {
		t.Errorf("%+v, want %+v", of(zero), of(bare))
	}
	if want := (figures{8, 16, 64 << 20, 64 << 20, "/ping", DefaultRetryPolicy()}); of(bare) != want {
		t.Errorf("%+v, want %+v", of(bare), want)
	}
	if bare.logger == nil || zero.logger == nil || bare.transport == nil {
		t.Error("no logger or no transport")
	}
}

func TestOptionsAreHeldAgainstEachOther(t *testing.T) {
	clearEnvironment(t)
	for want, opts := range map[string][]Option{
		"":           {WithWarmup(2), WithKeepWarm(time.Minute)},
		"WithWarmup": {WithWarmup(0)},
	} {
		_, err := newConfig(opts)
		if got := fieldOf(err); got != want {
			t.Errorf("field %q (%v), want %q", got, err, want)
		}
	}
}

// A client without S3 settings still calls and one without an endpoint still
// uploads, so only the method that lacks something complains.
func TestMethodsSayWhatToSet(t *testing.T) {
	clearEnvironment(t)
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	_, upload := c.Upload(ctx, "k", Bytes("k", nil))
	_, call := c.Call(ctx, "GET", "/", nil, nil)
	req, _ := http.NewRequest("GET", "/", nil)
	_, do := c.Do(req)
	_, run := c.Run(ctx, Job{Path: "/"})
	for err, want := range map[error]string{
		upload: "RUNPOD_S3_ENDPOINT_URL", c.Delete(ctx, "k"): "WithVolume", call: "RUNPOD_ENDPOINT_ID", do: "WithEndpoint", run: "RUNPOD_ENDPOINT_ID",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}
