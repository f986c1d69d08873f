package otelrunpod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	runpod "github.com/gpuburst/runpod-go"
)

// begin starts a span. Attributes that the filter refuses are left out, here and
// in finish.
func (t *Telemetry) begin(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) context.Context {
	ctx, _ = t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(t.kept(attrs)...))
	return ctx
}

// finish ends the span in ctx, as an error if err is one.
func (t *Telemetry) finish(ctx context.Context, err error, attrs ...attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	if err != nil && span.IsRecording() {
		span.SetStatus(codes.Error, err.Error())
		attrs = append(attrs, semconv.ErrorTypeKey.String(errorType(err)))
	}
	span.SetAttributes(t.kept(attrs)...)
	span.End()
}

func (t *Telemetry) kept(attrs []attribute.KeyValue) []attribute.KeyValue {
	if t.keep == nil {
		return attrs
	}
	var list []attribute.KeyValue
	for _, a := range attrs {
		if t.keep(a) {
			list = append(list, a)
		}
	}
	return list
}

func (t *Telemetry) jobStart(ctx context.Context, info runpod.JobInfo) context.Context {
	return t.begin(ctx, "runpod.job", trace.SpanKindInternal,
		attribute.String("runpod.job.id", info.ID), attribute.Int("runpod.job.index", info.Index), attribute.Int("runpod.job.inputs", info.Inputs))
}

func (t *Telemetry) jobEnd(ctx context.Context, _ runpod.JobInfo, r runpod.Result, err error) {
	t.metrics.countJob(ctx, outcomeOf(err))
	t.finish(ctx, err, attribute.Int("runpod.attempts", len(r.Attempts)))
}

func (t *Telemetry) transferStart(ctx context.Context, info runpod.TransferInfo) context.Context {
	return t.begin(ctx, "runpod."+info.Operation, trace.SpanKindInternal, semconv.AWSS3Key(info.Key))
}

func (t *Telemetry) transferEnd(ctx context.Context, info runpod.TransferInfo) {
	t.metrics.countTransfer(ctx, info)
	t.finish(ctx, info.Err, attribute.Int64("runpod.bytes", info.Bytes), attribute.Int("runpod.parts", info.Parts),
		attribute.Int("runpod.attempts", info.Attempts), seconds("runpod.wait.place", info.Waited))
}

func (t *Telemetry) callStart(ctx context.Context, info runpod.CallInfo) context.Context {
	ctx = withCall(ctx, info)
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(info.Method), attribute.String("runpod.route", info.Route),
		semconv.HTTPRequestBodySize(int(info.BodyBytes)),
	}
	if info.JobID != "" {
		attrs = append(attrs, attribute.String("runpod.job.id", info.JobID))
	}
	return t.begin(ctx, "runpod.call", trace.SpanKindInternal, attrs...)
}

func (t *Telemetry) callEnd(ctx context.Context, info runpod.CallInfo) {
	t.metrics.countCall(ctx, info)
	attrs := []attribute.KeyValue{
		attribute.Int("runpod.attempts", info.Attempts), attribute.String("runpod.outcome", info.Outcome),
		attribute.String("runpod.cause", info.Cause), seconds("runpod.wait.place", info.WaitedPlace),
		seconds("runpod.wait.cold", info.WaitedCold), semconv.HTTPResponseBodySize(int(info.AnswerBytes)),
	}
	err := info.Err
	if err == nil && info.Outcome == "refused" { // Do hands such an answer over without an error
		err = statusError(info.Status)
	}
	t.finish(ctx, err, attrs...)
}

func (t *Telemetry) attemptStart(ctx context.Context, info runpod.AttemptInfo) context.Context {
	server := httpAttributes(info.Method, info.URL)
	ctx = context.WithValue(ctx, serverKey{}, server)
	t.metrics.attemptBegun(ctx, server)
	attrs := append(server, semconv.URLFull(info.URL))
	if info.Number > 1 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(info.Number-1), attribute.String("runpod.again", info.Again))
	}
	ctx = t.begin(ctx, info.Method, trace.SpanKindClient, attrs...)
	t.propagator.Inject(ctx, propagation.HeaderCarrier(info.Header))
	return ctx
}

func (t *Telemetry) attemptEnd(ctx context.Context, _ runpod.AttemptInfo, a runpod.Attempt) {
	server, _ := ctx.Value(serverKey{}).([]attribute.KeyValue)
	t.metrics.countAttempt(ctx, server, a)
	attrs := []attribute.KeyValue{attribute.String("runpod.verdict", a.Verdict.String()), attribute.String("runpod.cause", a.Cause)}
	if a.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(a.Status))
	}
	if a.WorkerID != "" {
		attrs = append(attrs, attribute.String("runpod.worker.id", a.WorkerID))
	}
	if a.Delay > 0 {
		attrs = append(attrs, seconds("runpod.delay", a.Delay))
	}
	t.finish(ctx, attemptError(a.Status, a.Err), attrs...)
}

func (t *Telemetry) s3AttemptStart(ctx context.Context, info runpod.S3AttemptInfo) context.Context {
	attrs := append(address(info.URL), semconv.RPCSystemNameKey.String("aws-api"), semconv.RPCMethod("S3/"+info.Operation), semconv.AWSS3Bucket(info.Bucket))
	if info.Key != "" {
		attrs = append(attrs, semconv.AWSS3Key(info.Key))
	}
	if info.Part != 0 {
		attrs = append(attrs, semconv.AWSS3PartNumber(info.Part))
	}
	if info.Number > 1 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(info.Number-1))
	}
	return t.begin(ctx, "S3/"+info.Operation, trace.SpanKindClient, attrs...)
}

func (t *Telemetry) s3AttemptEnd(ctx context.Context, info runpod.S3AttemptInfo) {
	t.metrics.countS3Attempt(ctx, info)
	attrs := []attribute.KeyValue{attribute.String("runpod.verdict", info.Verdict.String())}
	if info.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(info.Status))
	}
	err := attemptError(info.Status, info.Err)
	if err != nil && info.Code != "" {
		err = s3Error(info.Code)
	}
	t.finish(ctx, err, attrs...)
}

func (t *Telemetry) wakeStart(ctx context.Context, info runpod.WakeInfo) context.Context {
	return t.begin(ctx, "runpod.wake", trace.SpanKindInternal, attribute.Int("runpod.workers.had", info.Had))
}

func (t *Telemetry) wakeEnd(ctx context.Context, info runpod.WakeInfo) {
	t.finish(ctx, nil, attribute.Int("runpod.workers.wanted", info.Wanted), attribute.Float64("runpod.worker_seconds", info.WorkerSeconds))
}

func (t *Telemetry) holdStart(ctx context.Context, info runpod.HoldInfo) context.Context {
	return t.begin(ctx, "runpod.hold", trace.SpanKindInternal,
		attribute.Int("runpod.workers.wanted", info.Wanted), attribute.Int("runpod.workers.had", info.Had))
}

func (t *Telemetry) holdEnd(ctx context.Context, info runpod.HoldInfo) {
	t.finish(ctx, nil, attribute.Float64("runpod.worker_seconds", info.WorkerSeconds))
}

// attemptError is what makes an attempt an error: a status of 400 or more, as the
// conventions for HTTP clients say, or that no answer came.
func attemptError(status int, err error) error {
	if err == nil && status >= 400 {
		return statusError(status)
	}
	return err
}

// statusError is an answer that is no success.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("status %d", int(s)) }

// s3Error is the S3 gateway's error code.
type s3Error string

func (e s3Error) Error() string { return string(e) }

// errorType is the attribute error.type: a status, an S3 code, or one of a few
// words for what kept an answer from coming.
func errorType(err error) string {
	var status statusError
	var code s3Error
	var timeout net.Error
	var api *runpod.Error
	switch {
	case errors.As(err, &status):
		return strconv.Itoa(int(status))
	case errors.As(err, &code):
		return string(code)
	case errors.Is(err, runpod.ErrClosed):
		return "closed"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &api) && api.Kind != nil:
		return kindName(api.Kind)
	case errors.As(err, &api) && api.Status != 0:
		return strconv.Itoa(api.Status)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "connection"
}

// kindName is a runpod error's kind in a word.
func kindName(kind error) string {
	for known, name := range map[error]string{
		runpod.ErrNoWorkers: "no_workers", runpod.ErrBadRequest: "bad_request", runpod.ErrUnauthorized: "unauthorized",
		runpod.ErrNotFound: "not_found", runpod.ErrTooLarge: "too_large", runpod.ErrRateLimited: "rate_limited",
		runpod.ErrProcessingTimeout: "processing_timeout", runpod.ErrVolumeFull: "volume_full", runpod.ErrIntegrity: "integrity",
	} {
		if errors.Is(kind, known) {
			return name
		}
	}
	return "other"
}

// outcomeOf is how a job ended, for counting.
func outcomeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return errorType(err)
}

// serverKey is the context's key of an attempt's httpAttributes.
type serverKey struct{}

// httpAttributes are those that spans and metrics of an attempt share. There is no
// room for more in the slice, so that appending to it makes a copy.
func httpAttributes(method, text string) []attribute.KeyValue {
	return slices.Clip(append(address(text), semconv.HTTPRequestMethodKey.String(method)))
}

// address is the server that a URL names.
func address(text string) []attribute.KeyValue {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	port := map[string]int{"http": 80, "https": 443}[u.Scheme]
	if p, err := strconv.Atoi(u.Port()); err == nil {
		port = p
	}
	return []attribute.KeyValue{semconv.ServerAddress(u.Hostname()), semconv.ServerPort(port)}
}
