package otelrunpod_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/cputime"
	"github.com/gpuburst/runpod-go/otelrunpod"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// BenchmarkBurst prints how much more processor time a burst of 1,000 jobs, each
// with two photographs to upload, costs with spans and metrics than without: the
// median of alternating rounds over real sockets. The simulated service is in the
// same process, so its own time is in both.
func BenchmarkBurst(b *testing.B) {
	const rounds = 5
	photo := make([]byte, 200_000)
	for i := range photo {
		photo[i] = byte(rand.Uint32())
	}
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Loopback: true, MinWorkers: 8, MaxWorkers: 8, Concurrency: 4, ServiceTime: runpodtest.Fixed(time.Millisecond), IdleTimeout: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	for b.Loop() {
		var ratios []float64
		for range rounds {
			bare := burst(b, srv, photo, nil)
			told := burst(b, srv, photo, telemetry())
			ratios = append(ratios, told.Seconds()/bare.Seconds())
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[rounds/2], "cpu-ratio")
	}
}

// telemetry exports in batches, as a program does, to nowhere.
func telemetry() []runpod.Option {
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	return []runpod.Option{runpod.WithObserver(otelrunpod.New(otelrunpod.WithTracerProvider(tracers), otelrunpod.WithMeterProvider(meters)).Observer())}
}

func burst(b *testing.B, srv *runpodtest.Server, photo []byte, opts []runpod.Option) time.Duration {
	b.Helper()
	client, err := runpod.New(append([]runpod.Option{
		runpod.WithEndpoint(srv.EndpointURL), runpod.WithAPIKey(srv.APIKey), runpod.WithHTTPTransport(&http.Transport{}),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
	}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	before := cputime.Used()
	for _, err := range client.RunAll(context.Background(), func(yield func(runpod.Job) bool) {
		for range 1000 {
			job := runpod.Job{Path: "/tryon", Inputs: []runpod.JobInput{{Input: runpod.Bytes("person.jpg", photo)}, {Input: runpod.Bytes("garment.jpg", photo)}},
				Body: func(in []runpod.Object) (any, error) { return []string{in[0].WorkerPath(), in[1].WorkerPath()}, nil }}
			if !yield(job) {
				return
			}
		}
	}) {
		if err != nil {
			b.Fatal(err)
		}
	}
	return cputime.Used() - before
}
