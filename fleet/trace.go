package fleet

import "context"

// traceparent is the message header of W3C Trace Context.
const traceparent = "traceparent"

// Tracer links a job's span on the machine that runs it to the span that
// submitted it. The link travels in the header of the job's message, as W3C
// Trace Context writes it. Module otelrunpod has one for OpenTelemetry:
// telemetry.Fleet(). Its methods must be safe for concurrent use.
type Tracer interface {
	// Traceparent returns the traceparent of ctx's span, "" if there is none.
	Traceparent(ctx context.Context) string
	// Start begins the span of a job's call. The call's attempts are observed
	// under the context that it returns. Parent is what Traceparent returned
	// when the job was submitted, a stranger's text, "" for none. End is called
	// once, with the call's error.
	Start(ctx context.Context, jobID, parent string) (_ context.Context, end func(error))
}
