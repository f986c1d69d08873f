package runpod

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/gpuburst/runpod-go/internal/redact"
	"golang.org/x/time/rate"
)

// The defaults of the options. Those of [RetryPolicy] are in
// [DefaultRetryPolicy].
const (
	// defaultS3Conns: 6 uploads at once were reported to pass the volumes' S3
	// gateway without refusals, 16 to have a third refused with 403.
	defaultS3Conns = 8
	// defaultMaxInFlight: the autoscaler asks for one worker per scaler value
	// (default 4) of requests it sees, up to max workers (default 3). 12 in
	// flight keep a default endpoint busy, a few more keep it so while answers
	// are on their way.
	defaultMaxInFlight = 16
	// defaultPartSize: 50 to 64 MB is what people converge on. Parts may have
	// 500 MB (Runpod docs), but above 128 MB some were refused (reported by
	// users).
	defaultPartSize = 64 << 20
	// defaultBufferMemory keeps as many parts of a stream on their way as there
	// are S3 connections.
	defaultBufferMemory = 64 << 20
	// defaultWarmPath is what the balancer polls too (Runpod docs).
	defaultWarmPath = "/ping"
)

// maxWarm bounds what a slip of the finger can cost, in workers.
const maxWarm = 1000

// config is what the options and the environment set. A zero field means its
// default, which setDefaults fills in.
type config struct {
	unmade bool // it is that of a Client which New has not made

	apiKey   string
	endpoint *url.URL

	maxInFlight int
	admission   Admission
	limiter     *rate.Limiter
	shared      Limiter
	policy      RetryPolicy
	classifiers []Classifier
	header      http.Header // of all calls
	product     string      // in front of our User-Agent

	s3           s3Config
	s3Conns      int
	partSize     int64
	bufferMemory int64
	checksum     Checksum
	resumeDir    string
	skipExisting bool

	control     ControlPlane
	warm        warmConfig
	maxSpending time.Duration // worker-time of wakes and holds; 0: no cap

	logger    *slog.Logger
	observers []Observer

	secrets *redact.Secrets // what no error and no log line may show

	transport *http.Transport
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

// s3Config says how the volume is reached.
type s3Config struct {
	url         *url.URL
	region      string
	bucket      string
	credentials aws.CredentialsProvider
	secret      string // known only if the keys were given as such; for redaction
}

// warmConfig is what the options say of waking.
type warmConfig struct {
	onRun bool // Run and RunAll begin a wake
	n     int  // how many workers that wakes; 0: by what is coming
	path  string
	keep  time.Duration
}

func (c *config) setDefaults() {
	c.maxInFlight = cmp.Or(c.maxInFlight, defaultMaxInFlight)
	c.s3Conns = cmp.Or(c.s3Conns, defaultS3Conns)
	c.partSize = cmp.Or(c.partSize, defaultPartSize)
	c.bufferMemory = cmp.Or(c.bufferMemory, defaultBufferMemory)
	c.warm.path = cmp.Or(c.warm.path, defaultWarmPath)
	c.policy = c.policy.withDefaults()
	c.secrets = redact.New(c.apiKey, c.s3.secret)
	if c.header == nil {
		c.header = http.Header{}
	}
	if c.header["User-Agent"] == nil {
		c.header["User-Agent"] = []string{userAgent(c.product)}
	}
	if c.control != nil {
		c.control = guardedControl{c.control}
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.transport == nil {
		c.transport = defaultTransport()
	}
}

// defaultTransport is the process's default, unless somebody replaced that by
// something that is no transport.
func defaultTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// check refuses options that do not go together.
func (c *config) check() error {
	if c.warm.onRun && c.warm.n == 0 && c.control == nil {
		return refuse("new client", "WithWarmup", "0 leaves the number to the library, which needs WithControl to know the endpoint's scaler value and maximum")
	}
	return nil
}

// missingForCalls and missingForS3 refuse an operation whose settings are not
// there, and name what must be set; nil if nothing is missing.
func (c *config) missingForCalls(method, path string) error {
	switch {
	case c.unmade:
		return errUnmade(operationName(method, path))
	case c.endpoint == nil:
		return refuse(operationName(method, path), "endpoint", "it is not set: use WithEndpoint, or RUNPOD_ENDPOINT_ID")
	case c.apiKey == "":
		return refuse(operationName(method, path), "API key", "it is not set: use WithAPIKey, or RUNPOD_API_KEY")
	}
	return nil
}

func (c *config) missingForS3(op string) error {
	switch {
	case c.unmade:
		return errUnmade(op)
	case c.s3.url == nil:
		return refuse(op, "volume", "it is not set: use WithVolume or WithS3Endpoint, "+
			"or RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION and RUNPOD_S3_BUCKET_NAME together")
	case c.s3.credentials == nil:
		return refuse(op, "S3 credentials", "they are not set: use WithS3Credentials, "+
			"or RUNPOD_S3_ACCESS_KEY_ID and RUNPOD_S3_SECRET_ACCESS_KEY")
	}
	return nil
}
