package otelrunpod

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	runpod "github.com/gpuburst/runpod-go"
)

// The metrics of a Client's state, which are read whenever metrics are collected.
const (
	inFlight      = "runpod.requests.in_flight" // requests at the endpoint
	waiting       = "runpod.requests.waiting"   // requests that wait for a place
	limit         = "runpod.requests.limit"     // places in flight
	s3InUse       = "runpod.s3.pool.in_use"     // places of the S3 pool in use
	s3Waiting     = "runpod.s3.pool.waiting"    // S3 requests that wait for one
	s3Limit       = "runpod.s3.pool.limit"      // places of the S3 pool
	retryTokens   = "runpod.retry.tokens"       // left in the budget for retries after trouble
	heldWorkers   = "runpod.workers.held"       // what holds add to the minimum
	workerSeconds = "runpod.worker_time"        // counter, s, by kind: held or warm
	waited        = "runpod.wait.time"          // counter, s, by what for: place, cold, backoff, s3
)

// RecordStats has the state of a Client among the metrics: requests in flight and
// waiting, the S3 pool, the retry budget, what holds and warm-up cost. Call it once
// for each Client; the figures of a Client that is closed stay as they were last.
func (t *Telemetry) RecordStats(client *runpod.Client) error {
	r := &stats{client: client}
	var all []metric.Observable
	for _, g := range r.gauges() {
		gauge, err := t.meter.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.what))
		if err != nil {
			return err
		}
		r.readers = append(r.readers, func(o metric.Observer, s runpod.Stats) { o.ObserveFloat64(gauge, g.read(s)) })
		all = append(all, gauge)
	}
	for _, c := range r.counters() {
		counter, err := t.meter.Float64ObservableCounter(c.name, metric.WithUnit("s"), metric.WithDescription(c.what))
		if err != nil {
			return err
		}
		r.readers = append(r.readers, func(o metric.Observer, s runpod.Stats) {
			for value, seconds := range c.read(s) {
				o.ObserveFloat64(counter, seconds, metric.WithAttributes(attribute.String(c.by, value)))
			}
		})
		all = append(all, counter)
	}
	_, err := t.meter.RegisterCallback(r.collect, all...)
	return err
}

// stats reads a Client's state.
type stats struct {
	client  *runpod.Client
	readers []func(metric.Observer, runpod.Stats)
}

func (r *stats) collect(_ context.Context, o metric.Observer) error {
	s := r.client.Stats()
	for _, read := range r.readers {
		read(o, s)
	}
	return nil
}

type gauge struct {
	name, unit, what string
	read             func(runpod.Stats) float64
}

func (r *stats) gauges() []gauge {
	return []gauge{
		{inFlight, "{request}", "Requests at the endpoint.", func(s runpod.Stats) float64 { return float64(s.InFlight) }},
		{waiting, "{request}", "Requests that wait for a place in flight.", func(s runpod.Stats) float64 { return float64(s.Waiting) }},
		{limit, "{request}", "Places in flight.", func(s runpod.Stats) float64 { return float64(s.Limit) }},
		{s3InUse, "{request}", "Places of the S3 pool in use.", func(s runpod.Stats) float64 { return float64(s.S3InUse) }},
		{s3Waiting, "{request}", "S3 requests that wait for a place.", func(s runpod.Stats) float64 { return float64(s.S3Waiting) }},
		{s3Limit, "{request}", "Places of the S3 pool.", func(s runpod.Stats) float64 { return float64(s.S3Limit) }},
		{retryTokens, "{token}", "Retries after trouble that need not wait.", func(s runpod.Stats) float64 { return s.RetryTokens }},
		{heldWorkers, "{worker}", "Workers that holds add to the minimum.", func(s runpod.Stats) float64 { return float64(s.HeldWorkers) }},
	}
}

type counter struct {
	name, what, by string
	read           func(runpod.Stats) map[string]float64
}

func (r *stats) counters() []counter {
	return []counter{
		{workerSeconds, "Worker-seconds that holds and warm-up have cost.", "runpod.kind", func(s runpod.Stats) map[string]float64 {
			return map[string]float64{"held": s.HeldWorkerSeconds, "warm": s.WarmWorkerSeconds}
		}},
		{waited, "How long calls and transfers have waited, by what for.", "runpod.wait", func(s runpod.Stats) map[string]float64 {
			return map[string]float64{"place": s.WaitedPlace.Seconds(), "cold": s.WaitedCold.Seconds(),
				"backoff": s.WaitedBackoff.Seconds(), "s3": s.WaitedS3.Seconds()}
		}},
	}
}
