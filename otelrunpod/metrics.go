package otelrunpod

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	runpod "github.com/gpuburst/runpod-go"
)

// The metrics of what calls, transfers and jobs do.
const (
	requestDuration = "http.client.request.duration" // histogram, s: one attempt
	activeRequests  = "http.client.active_requests"  // attempts at the endpoint now
	callDuration    = "runpod.call.duration"         // histogram, s: one call, by outcome
	callPlaceWait   = "runpod.call.wait.place"       // histogram, s: for places in flight
	callColdWait    = "runpod.call.wait.cold"        // histogram, s: for a worker
	attempts        = "runpod.attempts"              // counter, by cause and verdict
	s3Attempts      = "runpod.s3.attempts"           // counter, by operation, code and verdict
	transferBytes   = "runpod.transfer.io"           // counter, By, by operation
	transfers       = "runpod.transfers"             // counter, by operation and outcome
	jobs            = "runpod.jobs"                  // counter, by outcome
)

// buckets reach up to the 15 minutes for which a call is patient by default.
var buckets = []float64{0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 150, 240, 330, 600, 900}

// instruments are what Telemetry counts by.
type instruments struct {
	requestDuration, callDuration, placeWait, coldWait metric.Float64Histogram
	active                                             metric.Int64UpDownCounter
	attempts, s3Attempts, bytes, transfers, jobs       metric.Int64Counter
}

// newInstruments reports an instrument that cannot be made to OpenTelemetry's
// error handler; the API returns one that does nothing in its place.
func newInstruments(m metric.Meter) (all instruments) {
	histogram := func(name, what string) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(buckets...))
		handle(err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		handle(err)
		return c
	}
	all.requestDuration = histogram(requestDuration, "Duration of attempts, to the answer's headers.")
	all.callDuration = histogram(callDuration, "Duration of calls, from their arrival to their last byte.")
	all.placeWait = histogram(callPlaceWait, "How long calls waited for a place in flight.")
	all.coldWait = histogram(callColdWait, "How long calls spent in attempts that met no worker, and in the backoffs after them.")
	all.attempts = counter(attempts, "{attempt}", "Attempts, by what they met.")
	all.s3Attempts = counter(s3Attempts, "{attempt}", "Requests to the S3 gateway.")
	all.bytes = counter(transferBytes, "By", "Bytes of objects moved whole.")
	all.transfers = counter(transfers, "{transfer}", "Transfers, by how they ended.")
	all.jobs = counter(jobs, "{job}", "Jobs, by how they ended.")
	var err error
	all.active, err = m.Int64UpDownCounter(activeRequests, metric.WithUnit("{request}"), metric.WithDescription("Attempts that have been sent and not judged."))
	handle(err)
	return all
}

func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

type callKey struct{}

// callState is what the end of a call needs of its beginning.
type callState struct{ began time.Time }

func withCall(ctx context.Context, _ runpod.CallInfo) context.Context {
	return context.WithValue(ctx, callKey{}, callState{time.Now()})
}

func (in *instruments) countJob(ctx context.Context, outcome string) {
	in.jobs.Add(ctx, 1, metric.WithAttributes(attribute.String("runpod.outcome", outcome)))
}

func (in *instruments) countTransfer(ctx context.Context, info runpod.TransferInfo) {
	operation := attribute.String("runpod.operation", info.Operation)
	in.transfers.Add(ctx, 1, metric.WithAttributes(operation, attribute.String("runpod.outcome", outcomeOf(info.Err))))
	if info.Bytes > 0 {
		in.bytes.Add(ctx, info.Bytes, metric.WithAttributes(operation))
	}
}

func (in *instruments) countCall(ctx context.Context, info runpod.CallInfo) {
	attrs := metric.WithAttributes(
		semconv.HTTPRequestMethodKey.String(info.Method), attribute.String("runpod.route", info.Route), attribute.String("runpod.outcome", info.Outcome))
	if state, ok := ctx.Value(callKey{}).(callState); ok {
		in.callDuration.Record(ctx, time.Since(state.began).Seconds(), attrs)
	}
	in.placeWait.Record(ctx, info.WaitedPlace.Seconds())
	in.coldWait.Record(ctx, info.WaitedCold.Seconds())
}

func (in *instruments) attemptBegun(ctx context.Context, server []attribute.KeyValue) {
	in.active.Add(ctx, 1, metric.WithAttributes(server...))
}

func (in *instruments) countAttempt(ctx context.Context, attrs []attribute.KeyValue, a runpod.Attempt) {
	in.active.Add(ctx, -1, metric.WithAttributes(attrs...))
	if a.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(a.Status))
	}
	if err := attemptError(a.Status, a.Err); err != nil {
		attrs = append(attrs, semconv.ErrorTypeKey.String(errorType(err)))
	}
	in.requestDuration.Record(ctx, a.Duration.Seconds(), metric.WithAttributes(attrs...))
	in.attempts.Add(ctx, 1, metric.WithAttributes(attribute.String("runpod.cause", a.Cause), attribute.String("runpod.verdict", a.Verdict.String())))
}

func (in *instruments) countS3Attempt(ctx context.Context, info runpod.S3AttemptInfo) {
	attrs := []attribute.KeyValue{semconv.RPCMethod("S3/" + info.Operation), attribute.String("runpod.verdict", info.Verdict.String())}
	if info.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(info.Status))
	}
	in.s3Attempts.Add(ctx, 1, metric.WithAttributes(attrs...))
}

// seconds is a duration as an attribute.
func seconds(key string, d time.Duration) attribute.KeyValue {
	return attribute.Float64(key, d.Seconds())
}
