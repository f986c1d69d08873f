package otelrunpod_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gpuburst/runpod-go/otelrunpod"
)

// fleetTracer is fleet.Tracer, of a module that this one does not need.
type fleetTracer interface {
	Traceparent(ctx context.Context) string
	Start(ctx context.Context, jobID, parent string) (context.Context, func(error))
}

func TestFleetLinksAJobToItsSubmitter(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	var tracer fleetTracer = otelrunpod.New(otelrunpod.WithTracerProvider(tracers)).Fleet()
	if parent := tracer.Traceparent(t.Context()); parent != "" {
		t.Errorf("without a span: %q", parent)
	}
	ctx, submit := tracers.Tracer("test").Start(t.Context(), "submit")
	parent := tracer.Traceparent(ctx)
	submit.End()
	for _, from := range []string{parent, "", "broken"} {
		spans.Reset()
		ctx, end := tracer.Start(t.Context(), "job-1", from)
		if !trace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("%q: the call has no span", from)
		}
		end(errors.New("no such picture"))
		all := spans.GetSpans()
		if len(all) != 1 || all[0].Name != "runpod.fleet.job" || all[0].Status.Code != codes.Error || all[0].Parent.IsValid() {
			t.Fatalf("%q: %+v", from, all)
		}
		linked := len(all[0].Links) == 1 && all[0].Links[0].SpanContext.SpanID() == submit.SpanContext().SpanID() && all[0].Links[0].SpanContext.TraceID() == submit.SpanContext().TraceID()
		if linked != (from == parent) {
			t.Errorf("%q: links %+v", from, all[0].Links)
		}
	}
}
