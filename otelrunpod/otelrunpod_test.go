package otelrunpod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/otelrunpod"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// bench is a Client on the simulated service whose spans and metrics are kept in
// memory.
type bench struct {
	*testing.T
	srv     *runpodtest.Server
	client  *runpod.Client
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
}

func inBubble(t *testing.T, cfg runpodtest.Config, opts []otelrunpod.Option, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		b := &bench{T: t, srv: srv, spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader()}
		tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans))
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.metrics))
		telemetry := otelrunpod.New(append([]otelrunpod.Option{
			otelrunpod.WithTracerProvider(tracers), otelrunpod.WithMeterProvider(meters), otelrunpod.WithPropagator(propagation.TraceContext{}),
		}, opts...)...)
		b.client, err = runpod.New(runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL),
			runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
			runpod.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}), runpod.WithObserver(telemetry.Observer()))
		if err != nil {
			t.Fatal(err)
		}
		defer b.client.Close()
		if err := telemetry.RecordStats(b.client); err != nil {
			t.Fatal(err)
		}
		f(b)
	})
}

// named are the spans of a name.
func (b *bench) named(name string) (list tracetest.SpanStubs) {
	for _, s := range b.spans.GetSpans() {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

// attr is a span's attribute as text, "" if it has none of that key.
func attr(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// points are a metric's data points, by their attributes: counts of histograms,
// values of all others.
func (b *bench) points() map[string]map[string]float64 {
	b.Helper()
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(b.Context(), &all); err != nil {
		b.Fatal(err)
	}
	points := map[string]map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			points[m.Name] = values(m.Data)
		}
	}
	return points
}

func values(data metricdata.Aggregation) map[string]float64 {
	list := map[string]float64{}
	text := func(set attribute.Set) string { return set.Encoded(attribute.DefaultEncoder()) }
	switch d := data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			list[text(p.Attributes)] = float64(p.Count)
		}
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			list[text(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Sum[float64]:
		for _, p := range d.DataPoints {
			list[text(p.Attributes)] = p.Value
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			list[text(p.Attributes)] = p.Value
		}
	}
	return list
}

func sum(points map[string]float64, having string) (total float64) {
	for attrs, v := range points {
		if strings.Contains(attrs, having) {
			total += v
		}
	}
	return total
}

// coldBurst is an endpoint scaled to zero on which the first requests are refused.
func coldBurst() runpodtest.Config {
	return runpodtest.Config{MaxWorkers: 3, ColdStart: runpodtest.Fixed(150 * time.Second), ServiceTime: runpodtest.Fixed(10 * time.Second)}
}

// A cold burst of 30 jobs gives exactly the spans and points that the service's
// own account says.
func TestColdBurstIsTold(t *testing.T) {
	inBubble(t, coldBurst(), nil, func(b *bench) {
		jobs := func(yield func(runpod.Job) bool) {
			for i := range 30 {
				job := runpod.Job{Path: "/tryon", Inputs: []runpod.JobInput{{Input: runpod.Bytes("photo.jpg", fmt.Append(nil, i))}},
					Body: func(in []runpod.Object) (any, error) { return in[0].WorkerPath(), nil }}
				if !yield(job) {
					return
				}
			}
		}
		for _, err := range b.client.RunAll(b.Context(), jobs) {
			if err != nil {
				b.Error(err)
			}
		}
		account := b.srv.Stats()
		points := b.points()
		cold := sum(points["runpod.attempts"], "runpod.cause=cold_")
		if cold == 0 || int(cold) != account.Refused {
			b.Errorf("%v cold attempts, the balancer refused %d", cold, account.Refused)
		}
		for name, want := range map[string]int{
			"runpod.job": 30, "runpod.call": 30, "runpod.upload": 30, "runpod.delete": 30, "S3/PutObject": 30, "S3/DeleteObject": 30,
			"POST": account.Requests,
		} {
			if got := len(b.named(name)); got != want {
				b.Errorf("%d spans %s, want %d", got, name, want)
			}
		}
		for metric, want := range map[string]float64{
			"runpod.jobs": 30, "runpod.call.duration": 30, "runpod.call.wait.cold": 30, "runpod.attempts": float64(account.Requests),
			"http.client.request.duration": float64(account.Requests), "http.client.active_requests": 0,
			"runpod.transfers": 60, "runpod.s3.attempts": 60, "runpod.requests.in_flight": 0,
		} {
			if got := sum(points[metric], ""); got != want {
				b.Errorf("%s is %v, want %v", metric, got, want)
			}
		}
		if got, want := sum(points["runpod.wait.time"], "cold"), b.client.Stats().WaitedCold.Seconds(); got != want || got == 0 {
			b.Errorf("waited %v s for workers, Stats says %v", got, want)
		}
	})
}

// Spans nest, follow the conventions, and an error that a retry mended marks the
// attempt alone.
func TestSpansOfARetriedCall(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1, ServiceTime: runpodtest.Fixed(time.Second)}
	var mu sync.Mutex
	var parents []string
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			parents = append(parents, r.Header.Get("Traceparent"))
		})
	}
	inBubble(t, cfg, nil, func(b *bench) {
		b.srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(502, "")})
		if _, err := b.client.Run(b.Context(), runpod.Job{ID: "seven", Path: "/items/7?token=hush"}); err != nil {
			b.Fatal(err)
		}
		job, call, sent := b.named("runpod.job"), b.named("runpod.call"), b.named("POST")
		if len(job) != 1 || len(call) != 1 || len(sent) != 2 {
			b.Fatalf("%d jobs, %d calls, %d attempts", len(job), len(call), len(sent))
		}
		if call[0].Parent.SpanID() != job[0].SpanContext.SpanID() || sent[1].Parent.SpanID() != call[0].SpanContext.SpanID() {
			b.Error("the spans do not nest")
		}
		if sent[0].Status.Code != codes.Error || call[0].Status.Code == codes.Error || job[0].Status.Code == codes.Error {
			b.Errorf("statuses: attempt %v, call %v, job %v", sent[0].Status, call[0].Status, job[0].Status)
		}
		for key, want := range map[string]string{
			"http.request.method": "POST", "http.response.status_code": "502", "error.type": "502", "http.request.resend_count": "",
			"runpod.verdict": "retry after backoff", "runpod.cause": "worker_unreachable", "url.full": b.srv.EndpointURL + "/items/7",
		} {
			if got := attr(sent[0], key); got != want {
				b.Errorf("first attempt: %s is %q, want %q", key, got, want)
			}
		}
		if attr(sent[1], "http.request.resend_count") != "1" || attr(sent[1], "runpod.again") != "worker_unreachable" || attr(sent[1], "runpod.worker.id") == "" {
			b.Errorf("second attempt: %v", sent[1].Attributes)
		}
		want := "00-" + sent[1].SpanContext.TraceID().String() + "-" + sent[1].SpanContext.SpanID().String() + "-01"
		if len(parents) != 1 || parents[0] != want {
			b.Errorf("the worker got traceparent %q, want %q", parents, want)
		}
	})
}

// Requests to the S3 gateway carry no traceparent, and follow the AWS conventions.
func TestSpansOfATransfer(t *testing.T) {
	inBubble(t, runpodtest.Config{}, nil, func(b *bench) {
		b.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Do: runpodtest.Answer(503, "<Error><Code>SlowDown</Code></Error>")})
		if _, err := b.client.Upload(b.Context(), "a.txt", runpod.Bytes("a.txt", []byte("hello"))); err != nil {
			b.Fatal(err)
		}
		puts, upload := b.named("S3/PutObject"), b.named("runpod.upload")
		if len(puts) != 2 || len(upload) != 1 || puts[0].Parent.SpanID() != upload[0].SpanContext.SpanID() {
			b.Fatalf("%d requests, %d uploads", len(puts), len(upload))
		}
		for key, want := range map[string]string{"aws.s3.bucket": b.srv.Bucket, "aws.s3.key": "a.txt", "rpc.method": "S3/PutObject", "error.type": "SlowDown"} {
			if got := attr(puts[0], key); got != want {
				b.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if attr(upload[0], "runpod.bytes") != "5" || attr(upload[0], "runpod.attempts") != "2" || upload[0].Status.Code == codes.Error {
			b.Errorf("%v %v", upload[0].Attributes, upload[0].Status)
		}
	})
}

// A call that its caller sees fail is an error, with what kept it.
func TestFailedCallIsAnError(t *testing.T) {
	inBubble(t, coldBurst(), nil, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		if _, err := b.client.Call(ctx, "POST", "/x", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			b.Fatal(err)
		}
		b.srv.Fault(runpodtest.Fault{Do: runpodtest.WorkerAnswer(422, "")})
		resp, err := b.client.HTTPClient().Get("/refused")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		calls := b.named("runpod.call")
		if len(calls) != 2 || calls[0].Status.Code != codes.Error || attr(calls[0], "error.type") != "timeout" || attr(calls[0], "runpod.outcome") != "cancelled" {
			b.Errorf("cancelled: %+v", calls)
		}
		if calls[1].Status.Code != codes.Error || attr(calls[1], "error.type") != "422" {
			b.Errorf("refused: %v %v", calls[1].Status, calls[1].Attributes)
		}
	})
}

// The filter decides what leaves the process; no metric has a worker, a key or a
// job's id in any case.
func TestAttributesThatStay(t *testing.T) {
	keep := func(a attribute.KeyValue) bool { return a.Key != "runpod.job.id" && a.Key != "aws.s3.key" }
	inBubble(t, runpodtest.Config{MinWorkers: 1}, []otelrunpod.Option{otelrunpod.WithAttributeFilter(keep)}, func(b *bench) {
		job := runpod.Job{ID: "secret-job", Path: "/x", Inputs: []runpod.JobInput{{Key: "secret-key", Input: runpod.Bytes("a", []byte("a"))}}}
		r, err := b.client.Run(b.Context(), job)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range b.spans.GetSpans() {
			for _, a := range s.Attributes {
				if strings.Contains(a.Value.String(), "secret-") {
					b.Errorf("span %s: %s is %s", s.Name, a.Key, a.Value.String())
				}
			}
		}
		for name, points := range b.points() {
			for attrs := range points {
				for _, never := range []string{"secret-", r.Response.WorkerID} {
					if strings.Contains(attrs, never) {
						b.Errorf("metric %s has the attributes %s", name, attrs)
					}
				}
			}
		}
	})
}
