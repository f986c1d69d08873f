// Package otelrunpod makes OpenTelemetry spans and metrics of what a
// runpod.Client does. Most programs pass both of its parts to one Client:
//
//	telemetry := otelrunpod.New()
//	client, err := runpod.New(runpod.WithObserver(telemetry.Observer()))
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	if err := telemetry.RecordStats(client); err != nil {
//		return err
//	}
//
// Without options it uses the process's global providers and propagator. The
// package imports OpenTelemetry's API alone; exporters and the SDK are the
// program's choice.
//
// # Spans
//
//	runpod.job                      one round trip of Run or RunAll
//	  runpod.upload, .download,     one transfer
//	  .delete, .list, .stat
//	    S3/PutObject ...            CLIENT: one request to the S3 gateway
//	  runpod.call                   one call, from its arrival to its last byte
//	    POST ...                    CLIENT: one attempt
//	runpod.wake                     while light requests start and keep workers
//	runpod.hold                     while the minimum of workers is raised
//	runpod.fleet.job                CONSUMER: a job of a fleet on its machine, see [Telemetry.Fleet]
//
// Attempts follow the semantic conventions for HTTP client spans, S3 requests
// those for the AWS SDK. An attempt that failed is an error; a call or a transfer
// is one only if the caller got an error, so that what a retry has mended marks
// no outer span. Each attempt carries a traceparent, to the endpoint's host and
// nowhere else; requests to the S3 gateway carry none.
//
// # Metrics
//
// The counts and durations of calls, attempts, jobs and requests, and with
// [Telemetry.RecordStats] the state of the Client: see the constants in metrics.go
// and the dashboard grafana.json, which shows all of them. No metric has a worker,
// a key or a job's id among its attributes.
package otelrunpod
