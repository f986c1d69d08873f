package runpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/time/rate"
)

// Option sets one thing about a Client; see [New]. Options are applied in
// order, and a later one replaces an earlier one of the same name, except that
// [WithClassifier] and [WithObserver] add up. An option with a value that makes
// no sense makes New return an [*Error] whose Field is the option's name.
//
// Most callers need none: the environment says which endpoint and which volume.
type Option func(*config) error

// newConfig applies the options, then the environment for what they left
// unset, then the defaults.
func newConfig(opts []Option) (*config, error) {
	c := &config{}
	if err := c.apply(opts); err != nil {
		return nil, err
	}
	if err := c.apply(fromEnvironment(c, os.Getenv)); err != nil {
		return nil, err
	}
	c.setDefaults()
	return c, c.check()
}

func (c *config) apply(opts []Option) error {
	for i, opt := range opts {
		if opt == nil {
			return refuse(newOp, fmt.Sprintf("option %d", i), "it is nil")
		}
		if err := opt(c); err != nil {
			return err
		}
	}
	return nil
}

// fromEnvironment returns the options that the environment sets and the
// caller did not.
func fromEnvironment(c *config, env func(string) string) (opts []Option) {
	if v := env("RUNPOD_API_KEY"); c.apiKey == "" && v != "" {
		opts = append(opts, fromVariable("RUNPOD_API_KEY", WithAPIKey(v)))
	}
	if c.endpoint == nil {
		opts = append(opts, endpointFrom(env))
	}
	address, region, bucket := env("RUNPOD_S3_ENDPOINT_URL"), env("RUNPOD_S3_REGION"), env("RUNPOD_S3_BUCKET_NAME")
	if c.s3.url == nil && address != "" && region != "" && bucket != "" {
		opts = append(opts, s3Option("RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION, RUNPOD_S3_BUCKET_NAME", address, region, bucket))
	}
	id, secret := env("RUNPOD_S3_ACCESS_KEY_ID"), env("RUNPOD_S3_SECRET_ACCESS_KEY")
	if c.s3.credentials == nil && id != "" && secret != "" {
		opts = append(opts, fromVariable("RUNPOD_S3_ACCESS_KEY_ID, RUNPOD_S3_SECRET_ACCESS_KEY", WithS3Credentials(id, secret)))
	}
	return opts
}

// fromVariable is an option whose errors name the variable it comes from.
func fromVariable(name string, opt Option) Option {
	return func(c *config) error {
		err := opt(c)
		if e, ok := errors.AsType[*Error](err); ok {
			e.Field = name
		}
		return err
	}
}

// endpointFrom takes the endpoint from the environment. Two variables that name
// two endpoints are refused: one of them may be real, and cost money, while its
// user believes to call the simulated one.
func endpointFrom(env func(string) string) Option {
	return func(c *config) error {
		const idName, urlName = "RUNPOD_ENDPOINT_ID", "RUNPOD_ENDPOINT_URL"
		for _, name := range []string{idName, urlName} {
			v := env(name)
			if v == "" {
				continue
			}
			address, err := endpointAddress(name, v)
			if err != nil {
				return err
			}
			if c.endpoint != nil && !agree(c.endpoint, address) {
				return refuse(newOp, idName+", "+urlName, "they name two endpoints, at %s and at %s: unset the one that is not meant", c.endpoint.Host, address.Host)
			}
			c.endpoint = cmp.Or(c.endpoint, address)
		}
		return nil
	}
}

// WithAPIKey sets the Runpod API key, which calls carry as a bearer token. It
// is sent to the endpoint's own host and nowhere else. Default: the environment
// variable RUNPOD_API_KEY. A key with white space or control characters is
// refused.
func WithAPIKey(key string) Option {
	return func(c *config) error {
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f || unicode.IsSpace(r) }) {
			return refuse(newOp, "WithAPIKey", "the key has white space or control characters around or in it")
		}
		c.apiKey = key
		return nil
	}
}

// WithEndpoint sets the load-balancing endpoint that is called: its id, where
// "abc123" means https://abc123.api.runpod.ai (Runpod docs, load balancing), or
// its address, such as abc123.api.runpod.ai or a whole URL. Default: the
// environment variable RUNPOD_ENDPOINT_ID, or RUNPOD_ENDPOINT_URL; if both are
// set and name two endpoints, New refuses them. What is neither an id nor an http
// or https URL is refused, and so is an address of Runpod's own that has a path
// behind it, which belongs into each call.
func WithEndpoint(idOrURL string) Option { return endpointOption("WithEndpoint", idOrURL) }

func endpointOption(field, idOrURL string) Option {
	return func(c *config) (err error) {
		c.endpoint, err = endpointAddress(field, idOrURL)
		return err
	}
}

// WithVolume sets the network volume that objects are stored on, by its data
// center and its id. "EU-RO-1" means the gateway https://s3api-eu-ro-1.runpod.io
// and the region EU-RO-1; the volume's id is the bucket (Runpod docs,
// S3-compatible API). Default: see [WithS3Endpoint]. A data center that is not
// of that form is refused.
func WithVolume(datacenter, volumeID string) Option {
	return func(c *config) error {
		if !dataCenter.MatchString(datacenter) {
			return refuse(newOp, "WithVolume", "data center %q: want one like EU-RO-1", datacenter)
		}
		gateway := "https://s3api-" + strings.ToLower(datacenter) + ".runpod.io"
		return s3Option("WithVolume", gateway, strings.ToUpper(datacenter), volumeID)(c)
	}
}

var dataCenter = regexp.MustCompile(`^[A-Za-z]{2,4}-[A-Za-z]{2,3}-[0-9]{1,3}$`)

// WithS3Endpoint sets any S3-compatible store, which is asked with path-style
// addresses. Most callers should use [WithVolume]. Default: the environment
// variables RUNPOD_S3_ENDPOINT_URL, RUNPOD_S3_REGION and RUNPOD_S3_BUCKET_NAME,
// if all three are set. An address that is no http or https URL, an empty
// region and a bucket that cannot be one are refused.
func WithS3Endpoint(url, region, bucket string) Option {
	return s3Option("WithS3Endpoint", url, region, bucket)
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

func s3Option(field, url, region, bucket string) Option {
	return func(c *config) (err error) {
		if region == "" {
			return refuse(newOp, field, "the region is empty")
		}
		if !bucketName.MatchString(bucket) {
			return refuse(newOp, field, "bucket %q: want a bucket's name, which is the volume's id", bucket)
		}
		c.s3.region, c.s3.bucket = region, bucket
		c.s3.url, err = parseURL(field, url)
		return err
	}
}

// WithS3Credentials sets the S3 key pair. Runpod's begin with "user_" and
// "rps_" and are made in the console; the API key is not one of them. Default:
// the environment variables RUNPOD_S3_ACCESS_KEY_ID and
// RUNPOD_S3_SECRET_ACCESS_KEY. An empty key is refused.
func WithS3Credentials(accessKeyID, secretAccessKey string) Option {
	return func(c *config) error {
		if accessKeyID == "" || secretAccessKey == "" {
			return refuse(newOp, "WithS3Credentials", "the access key id or the secret access key is empty")
		}
		if strings.ContainsFunc(accessKeyID+secretAccessKey, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return refuse(newOp, "WithS3Credentials", "the access key id or the secret access key has white space or control characters in it")
		}
		c.s3.credentials = credentials.NewStaticCredentialsProvider(accessKeyID, secretAccessKey, "")
		c.s3.secret = secretAccessKey
		return nil
	}
}

// WithS3CredentialsProvider sets a provider that returns the S3 credentials, in
// place of [WithS3Credentials]: for keys that change. It is asked before each
// signature, so it should cache (aws.NewCredentialsCache), and it must be safe
// for concurrent use. A nil provider is refused.
func WithS3CredentialsProvider(p aws.CredentialsProvider) Option {
	return func(c *config) error {
		if p == nil {
			return refuse(newOp, "WithS3CredentialsProvider", "the provider is nil")
		}
		c.s3.credentials, c.s3.secret = p, ""
		return nil
	}
}

// WithMaxInFlight sets how many requests the Client has at the endpoint at
// once; more wait in the Client, first come, first served. Default 16, which 0
// means too: under the default scaler value of 4 that keeps 4 workers asked
// for, one more than the default maximum (Runpod docs). Too few starve the
// autoscaler, which counts requests in flight. Most callers with more workers
// should set 4 times their maximum and a few more. A negative number is
// refused.
func WithMaxInFlight(n int) Option {
	return func(c *config) error {
		c.maxInFlight = n
		return refuseNegative("WithMaxInFlight", n)
	}
}

// WithAdmission sets how the number of requests in flight is chosen, at or below
// [WithMaxInFlight]. Default: [AdmissionAdaptive], which most callers should
// keep. A value that is none of the constants is refused.
func WithAdmission(a Admission) Option {
	return func(c *config) error {
		if a > AdmissionOff {
			return refuse(newOp, "WithAdmission", "there is no admission %d", a)
		}
		c.admission = a
		return nil
	}
}

// WithRateLimit paces the attempts that are sent to the endpoint, retries
// included: l a second, and burst of them at once. Default: no limit, since the
// service documents none for load-balancing endpoints. A limit or burst that is
// not above 0 is refused.
func WithRateLimit(l rate.Limit, burst int) Option {
	return func(c *config) error {
		if !(l > 0) || burst < 1 {
			return refuse(newOp, "WithRateLimit", "%v a second, %d at once: both must be above 0", l, burst)
		}
		c.limiter = rate.NewLimiter(l, burst)
		return nil
	}
}

// WithLimiter sets a limit of requests in flight that is shared with others, in
// this process or elsewhere. It is asked once for each place that a request
// takes, after the Client's own bound, so that who waits for it holds up no more
// than its own Client. Default: none, which nil means too.
func WithLimiter(l Limiter) Option {
	return func(c *config) error {
		c.shared = l
		return nil
	}
}

// WithRetryPolicy sets the times by which calls and transfers are retried. A
// zero field means its default, see [RetryPolicy]; most callers set GiveUp, if
// anything. A negative field is refused, and so is a BaseBackoff above
// MaxBackoff.
func WithRetryPolicy(p RetryPolicy) Option {
	return func(c *config) error {
		c.policy = p.withDefaults()
		if err := c.policy.validate(); err != nil {
			return refuse(newOp, "WithRetryPolicy", "%w", err)
		}
		return nil
	}
}

// WithClassifier adds a function that is asked about each attempt before the
// table of the package documentation. With several, they are asked in the order
// in which they were given, and the first one that returns true decides. A nil
// function adds nothing. Default: none.
func WithClassifier(f Classifier) Option {
	return func(c *config) error {
		if f != nil {
			c.classifiers = append(c.classifiers, f)
		}
		return nil
	}
}

// WithHeader sets a field of the header of every request to the endpoint, unless
// the request has one of its own; for one call there is [Header], which refuses
// the same fields. Requests to the S3 gateway do not have it. Default: none.
func WithHeader(key, value string) Option {
	return func(c *config) error {
		key, value, err := headerField(key, value)
		if err != nil {
			return refuse(newOp, "WithHeader", "%w", err)
		}
		if c.header == nil {
			c.header = http.Header{}
		}
		c.header[key] = []string{value}
		return nil
	}
}

// WithUserAgent puts a product, such as "shop/2.1", in front of the User-Agent of
// calls, which is runpod-go and its [Version]. HTTP clients on
// [Client.Transport] keep their own. Default "". Control characters are refused.
func WithUserAgent(product string) Option {
	return func(c *config) error {
		if hasControl(product) {
			return refuse(newOp, "WithUserAgent", "it has a control character in it")
		}
		c.product = product
		return nil
	}
}

// WithS3Conns sets how many connections to the S3 gateway all uploads and
// downloads of the Client share. Default 8, which 0 means too: 6 at once were
// reported to pass the gateway without refusals, 16 to have a third refused. A
// negative number is refused.
func WithS3Conns(n int) Option {
	return func(c *config) error {
		c.s3Conns = n
		return refuseNegative("WithS3Conns", n)
	}
}

// WithPartSize sets the size in bytes above which an object is uploaded, or
// downloaded to a file, in parts, and how large the parts are at most. Default
// 64 MiB, which 0 means too: parts of 50 to 64 MB are what people converge on
// with Runpod's gateway, which documents 500 MB but was seen to refuse some
// above 128 MB. An object that would have more than 10,000 parts has larger
// ones. Less than 5 MiB, S3's smallest part, and more than 500 MB are refused.
func WithPartSize(bytes int64) Option {
	return func(c *config) error {
		if bytes != 0 && (bytes < minPartSize || bytes > maxPartSize) {
			return refuse(newOp, "WithPartSize", "%d: want %d to %d bytes", bytes, minPartSize, maxPartSize)
		}
		c.partSize = bytes
		return nil
	}
}

// WithBufferMemory sets how many bytes of memory all uploads of the Client
// share for inputs that can be read only once, from the beginning: those of
// [Reader] whose size is unknown or above a part's. An upload that finds no
// memory free waits. Files and bytes need none. Default 64 MiB, which 0 means
// too: 8 parts of 8 MiB at once. Less than 8 MiB is refused.
func WithBufferMemory(bytes int64) Option {
	return func(c *config) error {
		if bytes != 0 && bytes < bufferBlock {
			return refuse(newOp, "WithBufferMemory", "%d: want at least %d bytes", bytes, bufferBlock)
		}
		c.bufferMemory = bytes
		return nil
	}
}

// WithChecksum sets which checksum the bodies of uploads carry. Default
// [ChecksumCRC32C], and MD5 from the moment that the store does not confirm
// it. A value that is none of the constants is refused.
func WithChecksum(kind Checksum) Option {
	return func(c *config) error {
		if kind != ChecksumMD5 && kind != ChecksumCRC32C {
			return refuse(newOp, "WithChecksum", "%d is none: want ChecksumCRC32C or ChecksumMD5", kind)
		}
		c.checksum = kind
		return nil
	}
}

// WithResumeDir makes uploads in parts resumable. The folder, which is made if
// it is not there, holds a small file for each unfinished one. If such an
// upload fails, is cancelled or dies with its process, its parts stay at the
// gateway, and the next upload of as many bytes to the same key, also by
// another process, sends only the parts that are missing. Parts are checked by
// size and by the MD5 of the content, so a changed file is sent where it
// changed. Streams are not resumable. Default "": an upload that fails leaves
// nothing behind.
func WithResumeDir(dir string) Option {
	return func(c *config) error {
		c.resumeDir = dir
		return nil
	}
}

// WithSkipExisting makes an upload ask for the object first, and send nothing
// if it is there with the same size and the same content by its ETag. Uploads
// of one content to one key at the same time are one upload, whose object all
// of them get. Use it with [ContentKey] and Job.KeepInputs, and the same
// photograph is stored once for any number of jobs. It costs one request an
// upload. Inputs that can be read only once are always uploaded, and so is what
// a worker wrote, which has no ETag to compare. Default: off.
func WithSkipExisting() Option {
	return func(c *config) error {
		c.skipExisting = true
		return nil
	}
}

// WithControl sets the endpoint's control plane; package control makes one.
// [Client.HoldWorkers] needs it, and [Client.Ready] and wakes know more with
// it. Only HoldWorkers, the end of a hold, and [Client.ClearHolds] change anything
// at the endpoint. Default: none. A nil control plane is refused.
func WithControl(p ControlPlane) Option {
	return func(c *config) error {
		if p == nil {
			return refuse(newOp, "WithControl", "it is nil")
		}
		c.control = p
		return nil
	}
}

// WithWarmup makes Run and RunAll wake n workers when their first upload
// begins, so that they start while the inputs are still on their way. The wake
// ends when the last upload has become a call, or after [RetryPolicy.WarmFor]
// without a call ([RetryPolicy.GiveUp] while no worker is up); see [Client.Warm]
// for how it works. With [WithControl], n may be
// 0: then as many workers are woken as the jobs under way ask for, by the
// endpoint's scaler value and up to its maximum. Default: off. A negative n is
// refused, and so is one above 1000, and 0 without WithControl.
func WithWarmup(n int) Option {
	return func(c *config) error {
		if n < 0 || n > maxWarm {
			return refuse(newOp, "WithWarmup", "%d: want 0 to %d workers", n, maxWarm)
		}
		c.warm.onRun, c.warm.n = true, n
		return nil
	}
}

// WithWarmPath sets the path of a wake's requests, such as /healthz. It must be
// one that a worker answers at once. Default /ping, which the balancer polls
// too (Runpod docs). Anything else than a
// path is refused.
func WithWarmPath(path string) Option {
	return func(c *config) error {
		if _, err := parsePath(path); err != nil || path == "" {
			return refuse(newOp, "WithWarmPath", "%q is not a path on the endpoint", path)
		}
		c.warm.path = path
		return nil
	}
}

// maxKeepWarm bounds WithKeepWarm: three workers kept for an hour cost as much
// as some 300 requests of 30 s.
const maxKeepWarm = time.Hour

// WithKeepWarm keeps the workers that answered calls for d after the last call,
// so that two bursts less than d apart meet no scale-down between them.
// Stats.WarmWorkerSeconds says what it costs. Default 0: off. A negative time
// is refused, and so is more than an hour.
func WithKeepWarm(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 || d > maxKeepWarm {
			return refuse(newOp, "WithKeepWarm", "%s: want 0 to %s", d, maxKeepWarm)
		}
		c.warm.keep = d
		return nil
	}
}

// maxSpending bounds WithMaxWorkerSeconds: some 30 workers for a year.
const maxSpending = 1e9

// WithMaxWorkerSeconds caps what the Client's wakes and holds may cost, in
// worker-seconds. What counts is the sum of Stats.WarmWorkerSeconds and
// Stats.HeldWorkerSeconds; a worker that is held and kept warm counts in both. At
// the cap the Client releases its holds and sends no more light requests, so that
// workers idle out. [Client.Warm] and [Client.HoldWorkers] then return
// [ErrCapReached], the log says so once, Stats.CapReached is true, and calls go on
// without. The cap is for the life of the Client. Default, and 0: no cap. A
// negative number is refused, and so is one above 1e9.
func WithMaxWorkerSeconds(seconds float64) Option {
	return func(c *config) error {
		if !(seconds >= 0 && seconds <= maxSpending) {
			return refuse(newOp, "WithMaxWorkerSeconds", "%v: want 0 to %.0f", seconds, maxSpending)
		}
		c.maxSpending = time.Duration(seconds * float64(time.Second))
		return nil
	}
}

// WithLogger sets the logger: one line an attempt at debug level, one a failed
// operation at warn. Nothing secret is logged. Default, and nil: nothing is
// logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		c.logger = l
		return nil
	}
}

// WithObserver adds an observer, which sees everything that the Client does
// begin and end. Several observers are called in the order in which they were
// added. Default: none, which costs nothing.
func WithObserver(o Observer) Option {
	return func(c *config) error {
		c.observers = append(c.observers, o)
		return nil
	}
}

// WithHTTPTransport sets the transport whose certificate authorities, proxy
// and TLS settings are used. It is cloned, once for the endpoint and once for
// S3, and not changed; the clones speak HTTP/1.1 and have connection limits of
// their own. Default: [http.DefaultTransport]. A nil transport is refused.
func WithHTTPTransport(t *http.Transport) Option {
	return func(c *config) error {
		if t == nil {
			return refuse(newOp, "WithHTTPTransport", "the transport is nil")
		}
		c.transport = t
		return nil
	}
}

// WithDialContext sets the function that opens connections, to the endpoint and
// to S3: for tunnels, networks in memory, and tests. Default: the transport's.
// A nil function is refused.
func WithDialContext(f func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) error {
		if f == nil {
			return refuse(newOp, "WithDialContext", "the function is nil")
		}
		c.dial = f
		return nil
	}
}

func refuseNegative(field string, n int) error {
	if n < 0 {
		return refuse(newOp, field, "%d is negative", n)
	}
	return nil
}
