package otelrunpod

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// FleetTracer links the spans of a fleet's jobs. It is the Tracer that fleet.Config
// takes, and safe for concurrent use.
type FleetTracer struct{ t *Telemetry }

// Fleet returns what fleet.Config.Tracer takes. The call of a job then is under a
// span runpod.fleet.job on the machine that runs it, in a trace of its own, with a
// link to the span that submitted the job: hours may lie between them. The link
// travels as W3C Trace Context whatever [WithPropagator] says.
func (t *Telemetry) Fleet() FleetTracer { return FleetTracer{t} }

// Traceparent returns the traceparent of ctx's span, "" if there is none.
func (f FleetTracer) Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// Start begins the span of a job, linked to the one that parent names.
func (f FleetTracer) Start(ctx context.Context, jobID, parent string) (context.Context, func(error)) {
	from := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithNewRoot(),
		trace.WithAttributes(f.t.kept([]attribute.KeyValue{attribute.String("runpod.job.id", jobID)})...),
	}
	if submitter := trace.SpanContextFromContext(from); submitter.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: submitter}))
	}
	ctx, _ = f.t.tracer.Start(ctx, "runpod.fleet.job", opts...)
	return ctx, func(err error) { f.t.finish(ctx, err) }
}
