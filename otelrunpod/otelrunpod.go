package otelrunpod

import (
	"runtime/debug"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	runpod "github.com/gpuburst/runpod-go"
)

// scope is the instrumentation scope of all spans and metrics.
const scope = "github.com/gpuburst/runpod-go/otelrunpod"

// Telemetry makes spans and metrics. It is safe for concurrent use, also by
// several Clients, whose figures then add up.
type Telemetry struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator
	keep       func(attribute.KeyValue) bool
	metrics    instruments
}

// Option changes what New makes.
type Option func(*settings)

type settings struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	keep       func(attribute.KeyValue) bool
}

// WithTracerProvider sets where spans go. Default: the global provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(s *settings) { s.tracers = p }
}

// WithMeterProvider sets where metrics go. Default: the global provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(s *settings) { s.meters = p } }

// WithPropagator sets how attempts carry their span to the worker. Default: the
// global propagator, which is none unless the program sets one; most programs set
// propagation.TraceContext.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(s *settings) { s.propagator = p }
}

// WithAttributeFilter leaves out the attributes of spans for which keep returns
// false: object keys or job ids that must not leave the process, for instance.
// keep must be safe for concurrent use. Default: all are kept.
func WithAttributeFilter(keep func(attribute.KeyValue) bool) Option {
	return func(s *settings) { s.keep = keep }
}

// New returns a Telemetry. It never fails: an instrument that the meter provider
// refuses is reported to OpenTelemetry's error handler, and counts nothing.
func New(opts ...Option) *Telemetry {
	s := settings{}
	for _, opt := range opts {
		opt(&s)
	}
	if s.tracers == nil {
		s.tracers = otel.GetTracerProvider()
	}
	if s.meters == nil {
		s.meters = otel.GetMeterProvider()
	}
	if s.propagator == nil {
		s.propagator = otel.GetTextMapPropagator()
	}
	t := &Telemetry{
		tracer:     s.tracers.Tracer(scope, trace.WithInstrumentationVersion(version())),
		meter:      s.meters.Meter(scope, metric.WithInstrumentationVersion(version())),
		propagator: s.propagator,
		keep:       s.keep,
	}
	t.metrics = newInstruments(t.meter)
	return t
}

// Observer returns what [runpod.WithObserver] takes.
func (t *Telemetry) Observer() runpod.Observer {
	return runpod.Observer{
		JobStart: t.jobStart, JobEnd: t.jobEnd,
		TransferStart: t.transferStart, TransferEnd: t.transferEnd,
		CallStart: t.callStart, CallEnd: t.callEnd,
		AttemptStart: t.attemptStart, AttemptEnd: t.attemptEnd,
		S3AttemptStart: t.s3AttemptStart, S3AttemptEnd: t.s3AttemptEnd,
		WakeStart: t.wakeStart, WakeEnd: t.wakeEnd,
		HoldStart: t.holdStart, HoldEnd: t.holdEnd,
	}
}

// version is that of this module in the program, "" if the program was built from
// a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == scope && m.Version != "(devel)" {
			return m.Version
		}
	}
	return ""
}
