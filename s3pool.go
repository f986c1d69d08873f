package runpod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"github.com/gpuburst/runpod-go/internal/line"
)

// volume is the network volume seen through its S3 gateway: the SDK's client
// on one bounded pool of connections. Signing and wire format are the SDK's,
// places, bodies and verdicts are ours. It is safe for concurrent use.
type volume struct {
	client    *s3.Client
	bucket    string
	transport *http.Transport
	places    *line.Pool
	buffers   *line.Buffers
	hashing   *line.Gate // checksums at once: more than processors only interleave
	partSize  int64
	resume    *resumeDir // nil: uploads are not gone on with
	once      *flights   // nil: what is there is stored again
	checksum  Checksum
	crc32c    crc32cSupport
	conns     *connCounter
	policy    RetryPolicy
	logger    *slog.Logger
	secrets   []string // never to be shown
	done      transferCounts
	progress  Progress
	accepted  atomic.Int64 // see transfer
}

// transferCounts are what Stats says of the transfers.
type transferCounts struct {
	uploads, downloads, bytesUp, bytesDown, attempts atomic.Int64
}

func newVolume(c *config) *volume {
	v := &volume{
		bucket:   c.s3.bucket,
		places:   line.NewPool(c.s3Conns),
		buffers:  line.NewBuffers(c.bufferMemory, bufferBlock),
		hashing:  line.NewGate(runtime.GOMAXPROCS(0)),
		partSize: c.partSize,
		checksum: c.checksum,
		conns:    newConnCounter(),
		policy:   c.policy,
		logger:   c.logger,
		secrets:  c.secrets(),
	}
	v.transport = c.s3Transport(v.conns)
	if c.skipExisting {
		v.once = &flights{flying: map[string]*flight{}}
	}
	if c.s3.url == nil || c.s3.credentials == nil {
		return v
	}
	if c.resumeDir != "" {
		v.resume = &resumeDir{dir: c.resumeDir, store: c.s3.url.String() + " " + c.s3.bucket, busy: map[string]bool{}}
	}
	v.client = v.newS3(c)
	return v
}

// s3Transport opens as many connections as the pool has, and keeps them.
func (c *config) s3Transport(conns *connCounter) *http.Transport {
	t := c.cloneTransport(conns)
	// The places bound attempts, this bounds connections: a place may be free a
	// moment before its connection is idle again, and must not dial another.
	t.MaxConnsPerHost = c.s3Conns
	t.MaxIdleConnsPerHost = c.s3Conns
	t.MaxIdleConns = c.s3Conns
	// Uploads and downloads of a burst may lie a cold start apart.
	t.IdleConnTimeout = 15 * time.Minute
	t.WriteBufferSize = copyBuffer
	t.DialContext = bulky(t.DialContext)
	return t
}

// newS3 makes the SDK's client, which sends its attempts through v.
func (v *volume) newS3(c *config) *s3.Client {
	return s3.New(s3.Options{
		EndpointResolverV2: &gateway{c.s3.url, c.s3.region},
		Region:             c.s3.region,
		Credentials:        c.s3.credentials,
		UsePathStyle:       true,
		HTTPClient:         v,
		APIOptions: []func(*middleware.Stack) error{
			v.addPlaces,
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

// unsignedPayload leaves bodies out of the signature of the operations that
// have one to sign; the others have no such step to swap.
func unsignedPayload(stack *middleware.Stack) error {
	if _, ok := stack.Finalize.Get((&v4.ComputePayloadSHA256{}).ID()); !ok {
		return nil
	}
	return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(stack)
}

// addPlaces makes every attempt take a place of the pool: inside the SDK's
// loop, so that no place is held through a backoff, and before the signature,
// so that no signature ages while waiting.
func (v *volume) addPlaces(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("RunpodPlace", v.inPlace), "Retry", middleware.After)
}

func (v *volume) inPlace(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	place, err := v.places.Acquire(ctx, callerFrom(ctx))
	if err != nil {
		return middleware.FinalizeOutput{}, middleware.Metadata{}, err
	}
	transferFrom(ctx).place = place
	release := sync.OnceFunc(place.Release)
	out, metadata, err := next.HandleFinalize(ctx, in)
	if get, ok := out.Result.(*s3.GetObjectOutput); ok && err == nil {
		get.Body = &placedBody{ReadCloser: get.Body, release: release}
		return out, metadata, nil
	}
	release()
	return out, metadata, err
}

// placedBody gives its place back when it is closed.
type placedBody struct {
	io.ReadCloser
	release func()
}

func (b *placedBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

var errStalled = errors.New("no byte moved for too long")

// Do sends one attempt of the SDK's; see [aws.HTTPClient]. The clock of the
// attempt is a watchdog: it ends when for policy.Stall no byte has moved.
func (v *volume) Do(req *http.Request) (*http.Response, error) {
	t := transferFrom(req.Context())
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watchdog{limit: t.stall}
	w.timer = time.AfterFunc(w.limit, func() { cancel(errStalled) })
	stop := func() { w.timer.Stop(); cancel(nil) }

	v.done.attempts.Add(1)
	start := time.Now()
	sent := &tally{meter: t.meter}
	resp, err := v.send(ctx, t, w, sent, req)
	t.late = t.late || err != nil && sent.reached(req.ContentLength)
	if err != nil || resp.StatusCode >= 300 {
		sent.takeBack()
	}
	t.record(start, resp, err)
	v.adapt(t, resp, err)
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		stop()
		return nil, err
	}
	fixLastModified(resp.Header)
	resp.Body = &watchedBody{body: resp.Body, dog: w, ctx: ctx, stop: stop}
	return resp, nil
}

// adapt lets the pool know how an attempt went.
func (v *volume) adapt(t *transfer, resp *http.Response, err error) {
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

func (v *volume) send(ctx context.Context, t *transfer, w *watchdog, sent *tally, req *http.Request) (*http.Response, error) {
	req = req.WithContext(ctx)
	if t.body != nil && req.ContentLength > 0 {
		body, err := t.body(ctx)
		if err != nil {
			return nil, t.inputFailed(err)
		}
		req.Body = &sentBody{body: body, left: req.ContentLength, dog: w, sent: sent, transfer: t}
	}
	return v.transport.RoundTrip(req)
}

// fixLastModified mends a date that the gateway was seen to send ("... UTC"
// where HTTP has "GMT", reported by users): the SDK fails a whole answer over
// it.
func fixLastModified(h http.Header) {
	if date, ok := strings.CutSuffix(h.Get("Last-Modified"), " UTC"); ok {
		h.Set("Last-Modified", date+" GMT")
	}
}

// watchdog ends an attempt when it is not stroked for limit.
type watchdog struct {
	limit time.Duration
	timer *time.Timer
}

// stroke puts the end off, unless it has come already.
func (w *watchdog) stroke() {
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
}

// watchedBody is an answer's body under the watchdog.
type watchedBody struct {
	body io.ReadCloser
	dog  *watchdog
	ctx  context.Context
	stop func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.dog.stroke()
	}
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.stop()
	return b.body.Close()
}

// sentBody is a request's body under the watchdog. It gives just as many bytes
// as were promised, or an error: an input that changed must not go out.
type sentBody struct {
	body     io.ReadCloser
	left     int64
	dog      *watchdog
	sent     *tally
	spent    bool // it has gone without being read
	transfer *transfer
}

var errChanged = errors.New("it changed while it was uploaded")

func (b *sentBody) Read(p []byte) (int, error) {
	if b.spent {
		return 0, io.EOF
	}
	n, err := b.body.Read(p)
	b.moved(n)
	if b.left == 0 && err == nil && n > 0 { // the last bytes go out only if they are the last
		var beyond [1]byte
		var more int
		if more, err = b.body.Read(beyond[:]); more > 0 {
			b.left--
		}
	}
	switch {
	case b.left < 0, err == io.EOF && b.left > 0:
		return 0, b.transfer.inputFailed(errChanged)
	case err != nil && err != io.EOF:
		return 0, b.transfer.inputFailed(err)
	}
	return n, err
}

// moved counts n bytes that have gone.
func (b *sentBody) moved(n int) {
	b.left -= int64(n)
	if n > 0 {
		b.dog.stroke()
		b.sent.add(int64(n))
	}
}

func (b *sentBody) Close() error { return b.body.Close() }

type callerKey struct{}

// asCaller makes everything under the context one sharer of the pool, unless
// it is one already.
func asCaller(ctx context.Context) context.Context {
	if ctx.Value(callerKey{}) != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, &line.Sharer{})
}

// callerFrom is the sharer that a context belongs to; without one, a new one.
func callerFrom(ctx context.Context) *line.Sharer {
	if c, ok := ctx.Value(callerKey{}).(*line.Sharer); ok {
		return c
	}
	return &line.Sharer{}
}
