package runpod

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/time/rate"
)

const (
	// defaultS3Conns: 6 uploads at once were reported to pass the volumes' S3
	// gateway without refusals, 16 to have a third refused with 403.
	defaultS3Conns = 8
	// defaultMaxInFlight: the autoscaler asks for one worker per scaler value
	// (default 4) of requests it sees, up to max workers (default 3): 12 in
	// flight keep a default endpoint whole, a few more keep it so while
	// answers are on their way.
	defaultMaxInFlight = 16
)

// Option sets one thing about a Client. Options are applied in order, the last
// one wins.
type Option func(*config) error

// config is what the options and the environment give.
type config struct {
	apiKey      string
	endpoint    *url.URL
	jobsURL     *url.URL
	s3          s3Config
	s3Conns     int
	maxInFlight int
	admission   Admission
	classifiers []Classifier
	observers   []Observer
	limiter     *rate.Limiter
	policy      RetryPolicy
	logger      *slog.Logger
	transport   *http.Transport
	dial        func(ctx context.Context, network, addr string) (net.Conn, error)
	control     ControlPlane
	warm        warmConfig

	partSize     int64
	bufferMemory int64
	checksum     Checksum
	resumeDir    string
	skipExisting bool
}

type s3Config struct {
	url         *url.URL
	region      string
	bucket      string
	credentials aws.CredentialsProvider
	secret      string // known only where the keys were given as such; for redaction
}

// WithAPIKey sets the Runpod API key that calls carry as bearer token. Without
// it, RUNPOD_API_KEY. It is sent to the endpoint's own host and nowhere else.
func WithAPIKey(key string) Option {
	return func(c *config) error {
		if strings.TrimSpace(key) != key || strings.ContainsAny(key, "\r\n\x00") {
			return refuse("new client", "WithAPIKey", "the key has white space or control characters around or in it")
		}
		c.apiKey = key
		return nil
	}
}

// WithEndpoint names the load-balancing endpoint: its id ("abc123" means
// https://abc123.api.runpod.ai, Runpod docs), or a whole URL. Without it,
// RUNPOD_ENDPOINT_ID, then RUNPOD_ENDPOINT_URL.
func WithEndpoint(idOrURL string) Option { return endpointOption("WithEndpoint", idOrURL) }

var endpointID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

func endpointOption(field, idOrURL string) Option {
	return func(c *config) (err error) {
		if endpointID.MatchString(idOrURL) {
			idOrURL = "https://" + idOrURL + ".api.runpod.ai"
		}
		c.endpoint, err = parseURL(field, idOrURL)
		return err
	}
}

// WithVolume names the network volume by its data center and id: "EU-RO-1"
// means the gateway https://s3api-eu-ro-1.runpod.io and the region EU-RO-1,
// and the volume's id is the bucket (Runpod docs, S3-compatible API).
func WithVolume(datacenter, volumeID string) Option {
	return func(c *config) error {
		if !dataCenter.MatchString(datacenter) {
			return refuse("new client", "WithVolume", "data center %q: want one like EU-RO-1", datacenter)
		}
		gateway := "https://s3api-" + strings.ToLower(datacenter) + ".runpod.io"
		return s3Option("WithVolume", gateway, strings.ToUpper(datacenter), volumeID)(c)
	}
}

var dataCenter = regexp.MustCompile(`^[A-Za-z]{2,4}-[A-Za-z]{2,3}-[0-9]{1,3}$`)

// WithS3Endpoint names any S3-compatible store, with path-style addresses.
// Without it and [WithVolume], RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION and
// RUNPOD_S3_BUCKET_NAME.
func WithS3Endpoint(url, region, bucket string) Option {
	return s3Option("WithS3Endpoint", url, region, bucket)
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

func s3Option(field, url, region, bucket string) Option {
	return func(c *config) (err error) {
		if region == "" {
			return refuse("new client", field, "the region is empty")
		}
		if !bucketName.MatchString(bucket) {
			return refuse("new client", field, "bucket %q: want a bucket's name, which is the volume's id", bucket)
		}
		c.s3.region, c.s3.bucket = region, bucket
		c.s3.url, err = parseURL(field, url)
		return err
	}
}

// WithS3Credentials sets the S3 key pair (Runpod's begin with "user_" and
// "rps_"; the API key is not one of them). Without it, RUNPOD_S3_ACCESS_KEY_ID
// and RUNPOD_S3_SECRET_ACCESS_KEY.
func WithS3Credentials(accessKeyID, secretAccessKey string) Option {
	return func(c *config) error {
		if accessKeyID == "" || secretAccessKey == "" {
			return refuse("new client", "WithS3Credentials", "the access key id or the secret access key is empty")
		}
		c.s3.credentials = credentials.NewStaticCredentialsProvider(accessKeyID, secretAccessKey, "")
		c.s3.secret = secretAccessKey
		return nil
	}
}

// WithS3CredentialsProvider sets where S3 credentials come from. It is asked
// before each signature, so it should cache (aws.NewCredentialsCache).
func WithS3CredentialsProvider(p aws.CredentialsProvider) Option {
	return func(c *config) error {
		if p == nil {
			return refuse("new client", "WithS3CredentialsProvider", "the provider is nil")
		}
		c.s3.credentials, c.s3.secret = p, ""
		return nil
	}
}

// WithS3Conns sets how many connections to the S3 gateway all uploads and
// downloads of the Client share. Default 8: 6 at once were reported to pass
// the gateway without refusals, 16 to have a third refused. 0 means the
// default.
func WithS3Conns(n int) Option {
	return count("WithS3Conns", n, func(c *config) { c.s3Conns = n })
}

// WithPartSize sets, in bytes, above which size an object is uploaded, or
// downloaded to a file, in parts, and how large the parts are at most. Default
// 64 MiB: parts of 50 to 64 MB are what people converge on with Runpod's
// gateway, which documents 500 MB but was seen to refuse some above 128 MB.
// From 5 MiB, S3's smallest part, to 500 MB. An object that would have more
// than 10,000 parts has larger ones. 0 means the default.
func WithPartSize(bytes int64) Option {
	return func(c *config) error {
		if bytes != 0 && (bytes < minPartSize || bytes > maxPartSize) {
			return refuse("new client", "WithPartSize", "%d: want %d to %d bytes", bytes, minPartSize, maxPartSize)
		}
		c.partSize = cmp.Or(bytes, defaultPartSize)
		return nil
	}
}

// WithBufferMemory sets how many bytes of memory all uploads of the Client
// share for inputs that can only be read from the beginning, once: those of
// [Reader] whose size is unknown or above a part's. Who finds none free waits.
// Files and bytes need none. Default 64 MiB, which keeps 8 parts of 8 MiB on
// their way; the least is 8 MiB. 0 means the default.
func WithBufferMemory(bytes int64) Option {
	return func(c *config) error {
		if bytes != 0 && bytes < bufferBlock {
			return refuse("new client", "WithBufferMemory", "%d: want at least %d bytes", bytes, bufferBlock)
		}
		c.bufferMemory = cmp.Or(bytes, defaultBufferMemory)
		return nil
	}
}

// WithChecksum sets which checksum the bodies of uploads carry. Default
// [ChecksumCRC32C], and MD5 where the store does not confirm that.
func WithChecksum(kind Checksum) Option {
	return func(c *config) error {
		if kind != ChecksumMD5 && kind != ChecksumCRC32C {
			return refuse("new client", "WithChecksum", "%d is none: want ChecksumCRC32C or ChecksumMD5", kind)
		}
		c.checksum = kind
		return nil
	}
}

// WithResumeDir makes uploads in parts resumable: the folder, made when it is
// not there, holds a small file for each one that is not finished. When such
// an upload fails, is cancelled or dies with its process, the parts that the
// gateway has stay there, and the next upload of as many bytes to the same key,
// also by another process, sends only the others. What is there is checked by
// size and by the MD5 of the content: a changed file is sent where it changed.
// Streams are not resumable. Default "": an upload that fails leaves nothing.
func WithResumeDir(dir string) Option {
	return func(c *config) error {
		c.resumeDir = dir
		return nil
	}
}

// WithSkipExisting makes uploads look first, and send nothing where the object
// is there with the same size and the same content by its ETag. Uploads of one
// content to one key at the same moment are one upload, whose object all of
// them get. With keys made by [ContentKey] the same photograph is stored once
// for any number of jobs; such jobs want Job.KeepInputs. It costs a request
// for each upload. What can only be read once is uploaded always, and so is
// what a worker wrote, which has no ETag to tell it by. Default: off.
func WithSkipExisting() Option {
	return func(c *config) error {
		c.skipExisting = true
		return nil
	}
}

// WithMaxInFlight sets how many requests the Client has at the endpoint at
// once; more wait in the Client, first come first served. Default 16: under
// the default scaler value of 4 that keeps 4 workers asked for, one more than
// the default maximum. Too few starve the autoscaler, which counts requests in
// flight. 0 means the default.
func WithMaxInFlight(n int) Option {
	return count("WithMaxInFlight", n, func(c *config) { c.maxInFlight = n })
}

// WithAdmission sets how the number of requests in flight is chosen, below
// [WithMaxInFlight]. Default: [AdmissionAdaptive].
func WithAdmission(a Admission) Option {
	return func(c *config) error {
		if a > AdmissionOff {
			return refuse("new client", "WithAdmission", "there is no admission %d", a)
		}
		c.admission = a
		return nil
	}
}

// WithClassifier adds a function that is asked about each attempt before the
// table of the package documentation. With several, they are asked in the order
// in which they were given, and the first one that answers true decides. A nil
// function adds nothing. Default: none.
func WithClassifier(f Classifier) Option {
	return func(c *config) error {
		if f != nil {
			c.classifiers = append(c.classifiers, f)
		}
		return nil
	}
}

// WithObserver adds an observer, which sees every attempt. Several observers
// see each attempt begin in the order in which they were given, and end in
// reverse order. Default: none.
func WithObserver(o Observer) Option {
	return func(c *config) error { c.observers = append(c.observers, o); return nil }
}

func count(field string, n int, set func(*config)) Option {
	return func(c *config) error {
		if n < 0 {
			return refuse("new client", field, "%d is negative", n)
		}
		if n > 0 {
			set(c)
		}
		return nil
	}
}

// WithRateLimit paces the attempts sent to the endpoint, retries included: l
// a second, burst at once. Default: no limit, since the service documents
// none for load-balancing endpoints.
func WithRateLimit(l rate.Limit, burst int) Option {
	return func(c *config) error {
		if !(l > 0) || burst < 1 {
			return refuse("new client", "WithRateLimit", "%v a second, %d at once: both must be above 0", l, burst)
		}
		c.limiter = rate.NewLimiter(l, burst)
		return nil
	}
}

// WithRetryPolicy sets the times of retries; see [RetryPolicy] for each
// default.
func WithRetryPolicy(p RetryPolicy) Option {
	return func(c *config) error {
		p = p.withDefaults()
		if err := p.validate(); err != nil {
			return refuse("new client", "WithRetryPolicy", "%w", err)
		}
		c.policy = p
		return nil
	}
}

// WithLogger sets where attempts are logged: one line an attempt at debug
// level, one a failed operation at warn. Nothing secret is logged. Default:
// nowhere.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		c.logger = l
		return nil
	}
}

// WithHTTPTransport sets the transport whose certificate authorities, proxy
// and TLS settings are used. It is cloned, once for the endpoint and once for
// S3, and not changed; the clones speak HTTP/1.1 and have connection limits of
// their own. Default: a clone of [http.DefaultTransport].
func WithHTTPTransport(t *http.Transport) Option {
	return func(c *config) error {
		if t == nil {
			return refuse("new client", "WithHTTPTransport", "the transport is nil")
		}
		c.transport = t
		return nil
	}
}

// WithDialContext sets how connections are opened, to the endpoint and to S3:
// for networks in memory, tunnels, and tests.
func WithDialContext(f func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) error {
		if f == nil {
			return refuse("new client", "WithDialContext", "the function is nil")
		}
		c.dial = f
		return nil
	}
}

// parseURL never shows the URL it refuses: somebody may have put a key in it.
func parseURL(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, refuse("new client", field, "not a URL")
	case u.User != nil:
		return nil, refuse("new client", field, "the URL has a user or password in it: give keys by their own options")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, refuse("new client", field, "want an http or https URL with a host")
	case u.RawQuery != "", u.Fragment != "":
		return nil, refuse("new client", field, "want a URL without query or fragment")
	}
	return u, nil
}

// newConfig applies the options, then the environment for what they left
// unset, then the defaults.
func newConfig(opts []Option) (*config, error) {
	c := &config{
		s3Conns:     defaultS3Conns,
		maxInFlight: defaultMaxInFlight,
		policy:      DefaultRetryPolicy(),
		logger:      slog.New(slog.DiscardHandler),

		partSize:     defaultPartSize,
		bufferMemory: defaultBufferMemory,
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, refuse("new client", fmt.Sprintf("option %d", i), "it is nil")
		}
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	if err := c.fromEnvironment(os.Getenv); err != nil {
		return nil, err
	}
	if c.transport == nil {
		c.transport = defaultTransport()
	}
	return c, c.warm.check(c.control)
}

// secrets lists what no error and no log line may show.
func (c *config) secrets() []string {
	var all []string
	for _, s := range []string{c.apiKey, c.s3.secret} {
		if s != "" {
			all = append(all, s)
		}
	}
	return all
}

// defaultTransport is the process's default, unless somebody replaced that by
// something that is no transport.
func defaultTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

func (c *config) fromEnvironment(env func(string) string) error {
	var opts []Option
	if v := env("RUNPOD_API_KEY"); c.apiKey == "" && v != "" {
		opts = append(opts, WithAPIKey(v))
	}
	if c.endpoint == nil {
		for _, name := range []string{"RUNPOD_ENDPOINT_ID", "RUNPOD_ENDPOINT_URL"} {
			if v := env(name); v != "" {
				opts = append(opts, endpointOption(name, v))
				break
			}
		}
	}
	if v := env("RUNPOD_S3_ENDPOINT_URL"); c.s3.url == nil && v != "" {
		region, bucket := env("RUNPOD_S3_REGION"), env("RUNPOD_S3_BUCKET_NAME")
		if region != "" && bucket != "" {
			opts = append(opts, s3Option("RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION, RUNPOD_S3_BUCKET_NAME", v, region, bucket))
		}
	}
	id, secret := env("RUNPOD_S3_ACCESS_KEY_ID"), env("RUNPOD_S3_SECRET_ACCESS_KEY")
	if c.s3.credentials == nil && id != "" && secret != "" {
		opts = append(opts, WithS3Credentials(id, secret))
	}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return err
		}
	}
	return nil
}

// missingForCalls and missingForS3 name what must be set before the methods
// that need it can work; nil when nothing is missing.
func (c *config) missingForCalls(method, path string) error {
	if c.endpoint != nil && c.apiKey != "" {
		return nil
	}
	op := operationName(method, path)
	switch {
	case c.endpoint == nil:
		return refuse(op, "endpoint", "it is not set: use WithEndpoint, or RUNPOD_ENDPOINT_ID")
	default:
		return refuse(op, "API key", "it is not set: use WithAPIKey, or RUNPOD_API_KEY")
	}
}

func (c *config) missingForS3(op string) error {
	switch {
	case c.s3.url == nil:
		return refuse(op, "volume", "it is not set: use WithVolume or WithS3Endpoint, "+
			"or RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION and RUNPOD_S3_BUCKET_NAME together")
	case c.s3.credentials == nil:
		return refuse(op, "S3 credentials", "they are not set: use WithS3Credentials, "+
			"or RUNPOD_S3_ACCESS_KEY_ID and RUNPOD_S3_SECRET_ACCESS_KEY")
	}
	return nil
}
