package runpodtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// maxConfigFile is more than any description needs; its lists of recorded
// durations take most of it.
const maxConfigFile = 16 << 20

// ReadConfig reads a Config from a JSON object, as "runpod-burst fit" writes it
// and the -config flags of runpod-sim and runpod-burst take it:
//
//	{"max_workers": 6, "scaler_value": 4, "idle_timeout": "5s", "cold_start": "40s~90s", "service_time": "10s-15s"}
//
// The names are those of the Config's fields, written small with underscores;
// [ConfigFields] lists them. What is left out keeps its default. Durations are
// written as "75s". Distributions are written as ParseDist reads them, or as a
// list of durations, which stands for Recorded. A preset is "run1", "run2" or
// "run3". An unknown name is an error, and every error names its field. Whether
// the values fit together, NewServer checks.
func ReadConfig(r io.Reader) (Config, error) {
	var c Config
	text, err := io.ReadAll(io.LimitReader(r, maxConfigFile+1))
	switch {
	case err != nil:
		return Config{}, fmt.Errorf("runpodtest: reading the configuration: %w", err)
	case len(text) > maxConfigFile:
		return Config{}, fmt.Errorf("runpodtest: the configuration is longer than %d MB", maxConfigFile>>20)
	}
	if err := c.fields().decode(text); err != nil {
		return Config{}, fmt.Errorf("runpodtest: %w", err)
	}
	return c, nil
}

// ConfigFields returns the names that a file for ReadConfig may have, in
// alphabetical order.
func ConfigFields() []string {
	var c Config
	return slices.Sorted(maps.Keys(c.fields()))
}

func (c *Config) fields() fields {
	return fields{
		"preset": &presetName{&c.Preset}, "seed": &c.Seed, "speed": &c.Speed,
		"min_workers": &c.MinWorkers, "max_workers": &c.MaxWorkers, "capacity": &c.Capacity,
		"scaler_type":  &choice[ScalerType]{&c.ScalerType, scalerNames},
		"scaler_value": &c.ScalerValue, "cancel_starting": &c.CancelStarting,
		"idle_timeout": (*durationJSON)(&c.IdleTimeout), "queue_wait": (*durationJSON)(&c.QueueWait), "processing_limit": (*durationJSON)(&c.ProcessingLimit),
		"max_waiting": &c.MaxWaiting, "body_limit": &c.BodyLimit, "unfairness": &c.Unfairness,
		"refusal":     &choice[Refusal]{&c.Refusal, refusalNames},
		"routing":     &choice[Routing]{&c.Routing, routingNames},
		"endpoint_id": &c.EndpointID, "bucket": &c.Bucket, "region": &c.Region,
		"strict_wait": (*durationJSON)(&c.StrictWait), "queue_based": &c.QueueBased, "ping_is_free": &c.PingIsFree,
		"sockets_idle": &c.SocketsIdle, "idle_policy": &c.IdlePolicy, "control_per_minute": &c.ControlPerMinute,
		"omit_worker_id": &c.OmitWorkerID, "anonymous_crash": &c.AnonymousCrash, "health_path": &c.HealthPath,
		"cold_start": (*distJSON)(&c.ColdStart), "loading": (*distJSON)(&c.Loading), "service_time": (*distJSON)(&c.ServiceTime),
		"concurrency": &c.Concurrency, "crash_rate": &c.CrashRate, "unhealthy_rate": &c.UnhealthyRate,
		"s3": (*habitsJSON)(&c.S3), "faults": (*faultsJSON)(&c.Faults),
	}
}

// Names of values.
var (
	scalerNames  = map[string]ScalerType{"REQUEST_COUNT": RequestCount, "QUEUE_DELAY": QueueDelay}
	refusalNames = map[string]Refusal{"error": RefusalError, "problem": RefusalProblem}
	routingNames = map[string]Routing{"even": RouteEven, "first": RouteFirst, "uneven": RouteUneven}
)

// presetName is the short name of a preset.
type presetName struct{ to *Preset }

var presetNames = map[string]func() Preset{"run1": StressRun1, "run2": StressRun2, "run3": StressRun3}

func (p *presetName) UnmarshalJSON(text []byte) error {
	var one func() Preset
	err := (&choice[func() Preset]{&one, presetNames}).UnmarshalJSON(text)
	if err == nil {
		*p.to = one()
	}
	return err
}

// distJSON is written as "60s"; as a range, "40s-90s"; as a median and a 90th
// percentile, "40s~90s"; or as a list of durations, which are taken in turn.
type distJSON Dist

func (d *distJSON) UnmarshalJSON(text []byte) error {
	var list []durationJSON
	if json.Unmarshal(text, &list) == nil {
		values := make([]time.Duration, len(list))
		for i, v := range list {
			values[i] = time.Duration(v)
		}
		*d = distJSON(Recorded(values...))
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New(`want durations: "60s", "40s-90s", "40s~90s" or ["41s", "60s"]`)
	}
	v, err := ParseDist(s)
	*d = distJSON(v)
	return err
}

// habitsJSON are those of the volume's gateway.
type habitsJSON S3Habits

func (h *habitsJSON) UnmarshalJSON(text []byte) error {
	return fields{
		"transient_above": &h.TransientAbove, "error_rate": &h.ErrorRate, "part_limit": &h.PartLimit,
		"late_complete": &h.LateComplete, "forgets_uploads": &h.ForgetsUploads, "utc_dates": &h.UTCDates,
		"volume_size": &h.VolumeSize, "quota_error": &h.QuotaError, "bytes_per_second": &h.BytesPerSecond,
	}.decode(text)
}
