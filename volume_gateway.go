package runpod

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyauth "github.com/aws/smithy-go/auth"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/gpuburst/runpod-go/internal/line"
	"github.com/gpuburst/runpod-go/internal/redact"
)

// gateway sends S3 operations to the volume's S3 gateway: the SDK's client on
// one bounded pool of connections. Signing and wire format are the SDK's;
// places, bodies and verdicts are ours. It is safe for concurrent use.
type gateway struct {
	client    *s3.Client // nil: it is not known where the volume is
	bucket    string
	transport *http.Transport
	pool      *line.Pool
	conns     *connCounter
	policy    RetryPolicy
	logger    *slog.Logger
	secrets   *redact.Secrets // never to be shown
	renew     func()          // has the next signature ask the provider anew
	progress  Progress
	observers observers
	attempts  atomic.Int64
	failed    atomic.Int64 // transfers
	waited    atomic.Int64 // for places, in nanoseconds
	accepted  atomic.Int64 // see transfer
	noExpect  atomic.Bool  // somebody on the way refuses Expect: 100-continue
}

func newGateway(c *config) *gateway {
	g := &gateway{
		bucket:    c.s3.bucket,
		pool:      line.NewPool(c.s3Conns),
		conns:     newConnCounter(),
		policy:    c.policy,
		logger:    c.logger,
		observers: c.observers,
		secrets:   c.secrets,
	}
	g.renew = func() {
		if cache, ok := c.s3.credentials.(interface{ Invalidate() }); ok { // aws.CredentialsCache
			cache.Invalidate()
		}
	}
	g.transport = newS3Transport(c, g.conns)
	if c.s3.url != nil && c.s3.credentials != nil {
		g.client = g.newClient(c)
	}
	return g
}

// newS3Transport opens as many connections as the pool has places, and keeps
// them.
func newS3Transport(c *config, conns *connCounter) *http.Transport {
	t := cloneTransport(c.transport, c.dial, conns)
	// The places bound attempts, this bounds connections: a place may be free a
	// moment before its connection is idle again, and must not dial another.
	t.MaxConnsPerHost = c.s3Conns
	t.MaxIdleConnsPerHost = c.s3Conns
	t.MaxIdleConns = c.s3Conns
	// Uploads and downloads of a burst may lie a cold start apart.
	t.IdleConnTimeout = 15 * time.Minute
	t.WriteBufferSize = copyBuffer
	t.ExpectContinueTimeout = cmp.Or(t.ExpectContinueTimeout, time.Second) // at 0 bodies do not wait
	t.DialContext = bulky(t.DialContext)
	return t
}

// newClient makes the SDK's client, which sends its attempts through g.
func (g *gateway) newClient(c *config) *s3.Client {
	return s3.New(s3.Options{
		EndpointResolverV2: &resolver{c.s3.url, c.s3.region},
		Region:             c.s3.region,
		Credentials:        c.s3.credentials,
		HTTPSignerV4:       &signer{v4.NewSigner()},
		UsePathStyle:       true,
		HTTPClient:         g,
		APIOptions: []func(*middleware.Stack) error{
			g.addPlaces,
			g.addResults,
			// Bodies carry a checksum of their own: hashing them once more for
			// the signature would cost more than sending them.
			unsignedPayload,
		},
		// Asking before sending costs a round trip: below a few MB more than
		// it could save.
		ContinueHeaderThresholdBytes:              8 << 20,
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
	})
}

// resolver tells the SDK where the bucket is: always at the same address, the
// bucket in the path. The SDK's own rules come to the same after a quarter of
// the processor time that a small upload takes, since they match the region
// against the patterns of all of AWS, twice a request.
type resolver struct {
	url    *url.URL
	region string
}

// ResolveEndpoint returns the bucket's address; see [s3.EndpointResolverV2].
func (r *resolver) ResolveEndpoint(_ context.Context, params s3.EndpointParameters) (smithyendpoints.Endpoint, error) {
	at := *r.url
	if params.Bucket != nil {
		at = *at.JoinPath(*params.Bucket)
	}
	e := smithyendpoints.Endpoint{URI: at}
	var signer smithy.Properties
	smithyhttp.SetDisableDoubleEncoding(&signer, true)
	smithyhttp.SetSigV4SigningName(&signer, "s3")
	smithyhttp.SetSigV4SigningRegion(&signer, r.region)
	smithyauth.SetAuthOptions(&e.Properties, []*smithyauth.Option{{SchemeID: smithyauth.SchemeIDSigV4, SignerProperties: signer}})
	return e, nil
}

// unsignedPayload leaves bodies out of the signature of the operations that
// have one to sign; the others have no such step to swap.
func unsignedPayload(stack *middleware.Stack) error {
	if _, ok := stack.Finalize.Get((&v4.ComputePayloadSHA256{}).ID()); !ok {
		return nil
	}
	return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(stack)
}

// addPlaces makes every attempt acquire a place of the pool: inside the SDK's
// loop, so that no place is held through a backoff, and before the signature,
// so that no signature ages while waiting.
func (g *gateway) addPlaces(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("RunpodPlace", g.inPlace), "Retry", middleware.After)
}

func (g *gateway) inPlace(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	t := transferFrom(ctx)
	came := time.Now()
	place, err := g.pool.Acquire(ctx, t.sharer)
	waited := time.Since(came)
	t.view.waitedFor(waited)
	g.waited.Add(int64(waited))
	if err != nil {
		return middleware.FinalizeOutput{}, middleware.Metadata{}, err
	}
	t.place = place
	release := sync.OnceFunc(place.Release)
	kept := false // by a body that is still to be read
	defer func() {
		if !kept {
			release()
		}
	}()
	out, metadata, err := next.HandleFinalize(ctx, in)
	if get, ok := out.Result.(*s3.GetObjectOutput); ok && err == nil {
		get.Body, kept = &placedBody{ReadCloser: get.Body, release: release}, true
	}
	return out, metadata, err
}

// addResults has answers read by the rules of readAnswer and resultOf in place of
// the SDK's, which reads them without a bound, takes an empty one for a result,
// and fails a whole one over a date.
func (g *gateway) addResults(stack *middleware.Stack) error {
	read := resultOf[stack.ID()]
	if read == nil && stack.ID() != "GetObject" {
		return nil
	}
	m := middleware.DeserializeMiddlewareFunc("OperationDeserializer", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		out middleware.DeserializeOutput, metadata middleware.Metadata, err error,
	) {
		if out, metadata, err = next.HandleDeserialize(ctx, in); err != nil {
			return out, metadata, err
		}
		resp := out.RawResponse.(*smithyhttp.Response).Response
		if out.Result, err = transferFrom(ctx).result(read, resp); err != nil {
			resp.Body.Close()
			return out, metadata, err
		}
		transferFrom(ctx).succeeded()
		return out, metadata, nil
	})
	_, err := stack.Deserialize.Swap(m.ID(), m)
	return err
}

// signer signs what botocore signs: the host, Content-MD5, Content-Type and
// X-Amz-*. The SDK's own signs every header, so that an edge which rewrites one
// of them on the way, such as Accept-Encoding, turns every request into a 403.
type signer struct{ v4 *v4.Signer }

// SignHTTP signs a request; see [s3.HTTPSignerV4].
func (s *signer) SignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, payloadHash, service, region string,
	at time.Time, opts ...func(*v4.SignerOptions),
) error {
	t := transferFrom(ctx)
	t.secrets.Add(credentials.SecretAccessKey, credentials.SessionToken)
	for _, text := range []string{credentials.AccessKeyID, credentials.SecretAccessKey, credentials.SessionToken} {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.last = decision{kind: ErrUnauthorized}
			return errOddCredentials
		}
	}
	signed := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{}}
	for name, values := range r.Header {
		if name == "Content-Md5" || name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
			signed.Header[name] = values
		}
	}
	if err := s.v4.SignHTTP(ctx, credentials, signed, payloadHash, service, region, at, opts...); err != nil {
		return err
	}
	maps.Copy(r.Header, signed.Header)
	return nil
}

// task is one method's work on the volume: what its errors call it, whose places
// it takes, and where its bytes are counted.
type task struct {
	gw     *gateway
	op     string
	sharer *line.Sharer
	meter  meter
	view   *transferView // for the observers; nil: there are none, or nothing has begun for them
}

func (g *gateway) newTask(ctx context.Context, op string) task {
	return task{gw: g, op: op, sharer: &line.Sharer{}, meter: newMeter(ctx, &g.progress)}
}

// part returns the task as a part of the same work, which errors call op.
func (k task) part(op string) task {
	k.op = op
	return k
}

// observed begins one transfer of the task for the observers. It goes on in the
// context that is returned.
func (k task) observed(ctx context.Context, operation, key string) (context.Context, task) {
	ctx, k.view = viewTransfer(ctx, k.gw.observers, k.gw.bucket, operation, key)
	return ctx, k
}

// ended ends a transfer that observed has begun.
func (k task) ended(bytes int64, err error) {
	if err != nil {
		k.gw.failed.Add(1)
	}
	k.view.endTransfer(bytes, err)
}

// transfer begins an S3 operation.
func (k task) transfer(ctx context.Context) *transfer {
	t := &transfer{op: k.op, sharer: k.sharer, meter: k.meter, view: k.view, policy: k.gw.policy, logger: k.gw.logger,
		secrets: k.gw.secrets, stall: k.gw.policy.Stall, least: leastBytes, accepted: &k.gw.accepted, renew: k.gw.renew}
	t.ctx = context.WithValue(ctx, transferKey{}, t)
	return t
}

// Do sends one attempt of the SDK's; see [aws.HTTPClient]. The clock of the
// attempt is a watchdog. All of an answer that is not streamed is read here,
// within the attempt.
func (g *gateway) Do(req *http.Request) (*http.Response, error) {
	t := transferFrom(req.Context())
	ctx, cancel := context.WithCancelCause(req.Context())
	dog := newWatchdog(t.stall, t.least, cancel)
	stop := func() { dog.timer.Stop(); cancel(nil) }

	g.attempts.Add(1)
	start := time.Now()
	sent := &tally{meter: t.meter}
	ctx, t.request = t.view.attempt(ctx, middleware.GetOperationName(ctx), len(t.attempts)+1, req)
	resp, err := g.roundTrip(ctx, t, dog, sent, req)
	if err == nil {
		dog.restart()
		resp.Body = &watchedBody{body: resp.Body, dog: dog, ctx: ctx, stop: stop}
		if !t.streams || resp.StatusCode/100 != 2 {
			var data []byte
			data, err = readAnswer(resp.StatusCode, resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(data))
		}
	}
	t.late = t.late || err != nil && sent.reached(req.ContentLength)
	if err != nil || resp.StatusCode >= 300 {
		sent.takeBack()
	}
	if err == nil && t.expecting && (resp.StatusCode == http.StatusExpectationFailed || resp.StatusCode == http.StatusBadRequest) {
		g.noExpect.Store(true)
	}
	t.record(start, resp, err)
	adapt(t, resp, err)
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		stop()
		return nil, err
	}
	return resp, nil
}

func (g *gateway) roundTrip(ctx context.Context, t *transfer, dog *watchdog, sent *tally, req *http.Request) (*http.Response, error) {
	req = req.WithContext(ctx)
	if g.noExpect.Load() {
		req.Header.Del("Expect")
	}
	t.expecting = req.Header.Get("Expect") != ""
	if t.body != nil && req.ContentLength > 0 {
		body, err := t.body(ctx)
		if err != nil {
			return nil, t.inputFailed(err)
		}
		req.Body = &sentBody{body: body, left: req.ContentLength, dog: dog, tally: sent, failed: t.inputFailed}
	}
	return g.transport.RoundTrip(req)
}

// adapt lets the pool know how an attempt went.
func adapt(t *transfer, resp *http.Response, err error) {
	switch {
	case err != nil && (t.ctx.Err() != nil || t.inputError() != nil):
	case err != nil:
		t.place.Refused()
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusTooManyRequests,
		resp.StatusCode == http.StatusServiceUnavailable:
		t.place.Refused()
	case resp.StatusCode < 500:
		t.place.Answered()
	}
}
