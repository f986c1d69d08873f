// Command example makes one cold call on a simulated endpoint and prints the
// spans and metrics of it:
//
//	go run ./otelrunpod/example
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/otelrunpod"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// speed is how much faster than the service the simulated endpoint is.
const speed = 200

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	// The worker is up later than the balancer lets a request wait: the first
	// request is refused with a bare 400.
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed: speed, ColdStart: runpodtest.Fixed(150 * time.Second), ServiceTime: runpodtest.Fixed(12 * time.Second), IdleTimeout: time.Minute,
	})
	if err != nil {
		return err
	}
	defer srv.Close()

	spans, metrics := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader() // a program has exporters here
	telemetry := otelrunpod.New(
		otelrunpod.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))),
		otelrunpod.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics))),
		otelrunpod.WithPropagator(propagation.TraceContext{}),
	)
	client, err := runpod.New(
		runpod.WithEndpoint(srv.EndpointURL), runpod.WithAPIKey(srv.APIKey), runpod.WithDialContext(srv.DialContext),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0/speed)),
		runpod.WithObserver(telemetry.Observer()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := telemetry.RecordStats(client); err != nil {
		return err
	}

	job := runpod.Job{ID: "photo-1", Path: "/api/v1/tryon", Inputs: []runpod.JobInput{{Input: runpod.Bytes("photo.jpg", make([]byte, 200_000))}},
		Body: func(in []runpod.Object) (any, error) { return map[string]string{"path": in[0].WorkerPath()}, nil }}
	if _, err := client.Run(ctx, job); err != nil {
		return err
	}
	printSpans(out, spans.GetSpans())
	return printMetrics(ctx, out, metrics)
}

// printSpans prints spans as a tree, with the service's own times.
func printSpans(out io.Writer, spans tracetest.SpanStubs) {
	fmt.Fprintln(out, "Spans, in the service's time")
	var under func(parent [8]byte, depth int)
	under = func(parent [8]byte, depth int) {
		for _, s := range spans {
			if s.Parent.SpanID() != parent {
				continue
			}
			took := time.Duration(float64(s.EndTime.Sub(s.StartTime)) * speed)
			fmt.Fprintf(out, "%8.1f s  %s%s %s\n", took.Seconds(), strings.Repeat("  ", depth), s.Name, told(s.Attributes))
			under(s.SpanContext.SpanID(), depth+1)
		}
	}
	under([8]byte{}, 0)
}

// told are the attributes that say most.
func told(attrs []attribute.KeyValue) string {
	var list []string
	for _, a := range attrs {
		switch a.Key {
		case "runpod.job.id", "runpod.outcome", "runpod.cause", "runpod.verdict", "http.response.status_code", "http.request.resend_count", "runpod.bytes", "aws.s3.key":
			list = append(list, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
		}
	}
	return strings.Join(list, " ")
}

func printMetrics(ctx context.Context, out io.Writer, metrics *sdkmetric.ManualReader) error {
	var all metricdata.ResourceMetrics
	if err := metrics.Collect(ctx, &all); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nMetrics")
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			printMetric(out, m)
		}
	}
	return nil
}

func printMetric(out io.Writer, m metricdata.Metrics) {
	line := func(attrs attribute.Set, value any) {
		fmt.Fprintf(out, "  %-30s %v  %s\n", m.Name, value, attrs.Encoded(attribute.DefaultEncoder()))
	}
	switch d := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			line(p.Attributes, fmt.Sprintf("%d in %.2f s", p.Count, p.Sum))
		}
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			line(p.Attributes, p.Value)
		}
	case metricdata.Sum[float64]:
		for _, p := range d.DataPoints {
			line(p.Attributes, fmt.Sprintf("%.2f", p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			line(p.Attributes, p.Value)
		}
	}
}
