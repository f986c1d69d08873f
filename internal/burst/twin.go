package burst

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Twin describes a simulated endpoint.
type Twin struct {
	Config runpodtest.Config
	Faults []runpodtest.Fault // in force from the start

	// UploadEvery is that of the Target.
	UploadEvery Seconds
}

// TwinFields are the names that a file for ReadTwin may have. They are those of
// runpodtest.Config, written small, where their meaning stands.
func TwinFields() []string {
	var t Twin
	return slices.Sorted(maps.Keys(t.fields()))
}

// ReadTwin reads the description of a simulated endpoint from a JSON file. What
// is wrong with a field, also that there is none of its name, is an error that
// names it.
func ReadTwin(name string) (Twin, error) {
	var t Twin
	text, err := os.ReadFile(name)
	if err == nil {
		if err = t.fields().decode(text); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return t, err
}

// fields are the fields of a JSON object: where each one's value goes.
type fields map[string]any

func (f fields) decode(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("no JSON object: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		to, known := f[name]
		if !known {
			return fmt.Errorf("%s: there is no such field; there are %s", name, strings.Join(slices.Sorted(maps.Keys(f)), ", "))
		}
		if err := json.Unmarshal(given[name], to); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (t *Twin) fields() fields {
	c := &t.Config
	return fields{
		"preset": &preset{to: t}, "seed": &c.Seed, "speed": &c.Speed,
		"min_workers": &c.MinWorkers, "max_workers": &c.MaxWorkers, "capacity": &c.Capacity,
		"scaler_type":  &choice[runpodtest.ScalerType]{&c.ScalerType, scalers},
		"scaler_value": &c.ScalerValue, "cancel_starting": &c.CancelStarting,
		"idle_timeout": (*duration)(&c.IdleTimeout), "queue_wait": (*duration)(&c.QueueWait), "processing_limit": (*duration)(&c.ProcessingLimit),
		"max_waiting": &c.MaxWaiting, "body_limit": &c.BodyLimit, "unfairness": &c.Unfairness,
		"refusal":        &choice[runpodtest.Refusal]{&c.Refusal, refusals},
		"routing":        &choice[runpodtest.Routing]{&c.Routing, routings},
		"omit_worker_id": &c.OmitWorkerID, "anonymous_crash": &c.AnonymousCrash, "health_path": &c.HealthPath,
		"cold_start": (*dist)(&c.ColdStart), "loading": (*dist)(&c.Loading), "service_time": (*dist)(&c.ServiceTime),
		"concurrency": &c.Concurrency, "crash_rate": &c.CrashRate, "unhealthy_rate": &c.UnhealthyRate,
		"s3": (*habits)(&c.S3), "faults": (*faults)(&t.Faults), "upload_every": &uploadEvery{&t.UploadEvery},
	}
}

// Names of values.
var (
	scalers  = map[string]runpodtest.ScalerType{"REQUEST_COUNT": runpodtest.RequestCount, "QUEUE_DELAY": runpodtest.QueueDelay}
	refusals = map[string]runpodtest.Refusal{"error": runpodtest.RefusalError, "problem": runpodtest.RefusalProblem}
	routings = map[string]runpodtest.Routing{"even": runpodtest.RouteEven, "first": runpodtest.RouteFirst, "uneven": runpodtest.RouteUneven}
	services = map[string]runpodtest.Service{"endpoint": runpodtest.OnEndpoint, "s3": runpodtest.OnS3}
)

// choice is one of several values, by its name.
type choice[T any] struct {
	to *T
	of map[string]T
}

// UnmarshalJSON takes the name of a value.
func (c *choice[T]) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	v, known := c.of[name]
	if !known {
		return fmt.Errorf("%q: want %s", name, strings.Join(slices.Sorted(maps.Keys(c.of)), ", "))
	}
	*c.to = v
	return nil
}

// preset is the name of one of Presets.
type preset struct{ to *Twin }

func (p *preset) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	one, known := Presets[name]
	if !known {
		return fmt.Errorf("%q: want %s", name, strings.Join(slices.Sorted(maps.Keys(Presets)), ", "))
	}
	// A file's upload_every wins: fields are read in the order of their names.
	p.to.Config.Preset, p.to.UploadEvery = one.Preset(), one.UploadEvery
	return nil
}

// duration is written as "75s".
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New(`want a duration in quotes, such as "75s"`)
	}
	v, err := time.ParseDuration(s)
	*d = duration(v)
	return err
}

// uploadEvery is a duration as records have it.
type uploadEvery struct{ to *Seconds }

func (u *uploadEvery) UnmarshalJSON(text []byte) error {
	var d duration
	err := d.UnmarshalJSON(text)
	if err == nil && d < 0 {
		err = errors.New("want 0s or more")
	}
	*u.to = Seconds(time.Duration(d).Seconds())
	return err
}

// dist is written as "60s"; as a range, "40s-90s"; as a median and a 90th
// percentile, "40s~90s"; or as a list of durations, which are taken in turn.
type dist runpodtest.Dist

func (d *dist) UnmarshalJSON(text []byte) error {
	var list []duration
	if json.Unmarshal(text, &list) == nil {
		values := make([]time.Duration, len(list))
		for i, v := range list {
			values[i] = time.Duration(v)
		}
		*d = dist(runpodtest.Recorded(values...))
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New(`want durations: "60s", "40s-90s", "40s~90s" or ["41s", "60s"]`)
	}
	v, err := runpodtest.ParseDist(s)
	*d = dist(v)
	return err
}

// habits are those of the volume's gateway.
type habits runpodtest.S3Habits

func (h *habits) UnmarshalJSON(text []byte) error {
	return fields{
		"transient_above": &h.TransientAbove, "error_rate": &h.ErrorRate, "part_limit": &h.PartLimit,
		"late_complete": &h.LateComplete, "forgets_uploads": &h.ForgetsUploads, "utc_dates": &h.UTCDates,
		"volume_size": &h.VolumeSize, "quota_error": &h.QuotaError, "bytes_per_second": &h.BytesPerSecond,
	}.decode(text)
}

// faults is a list of what goes wrong.
type faults []runpodtest.Fault

func (f *faults) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("want a list of objects")
	}
	for i, one := range list {
		fault, err := parseFault(one)
		if err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		*f = append(*f, fault)
	}
	return nil
}

// action is what an entry of faults does, with what belongs to it.
type action struct {
	status int
	body   string
	bytes  int64
	later  duration
}

// deed is a function of runpodtest that makes an Action.
type deed struct {
	answers bool // it wants a status
	do      func(a *action) runpodtest.Action
}

var deeds = map[string]deed{
	"answer":            {true, func(a *action) runpodtest.Action { return runpodtest.Answer(a.status, a.body) }},
	"worker_answer":     {true, func(a *action) runpodtest.Action { return runpodtest.WorkerAnswer(a.status, a.body) }},
	"answer_after_work": {true, func(a *action) runpodtest.Action { return runpodtest.AnswerAfterWork(a.status, a.body) }},
	"refuse_connection": {false, func(*action) runpodtest.Action { return runpodtest.RefuseConnection() }},
	"reset_connection":  {false, func(*action) runpodtest.Action { return runpodtest.ResetConnection() }},
	"reset_before_read": {false, func(*action) runpodtest.Action { return runpodtest.ResetBeforeRead() }},
	"reset_after_read":  {false, func(*action) runpodtest.Action { return runpodtest.ResetAfterRead() }},
	"reset_after_work":  {false, func(*action) runpodtest.Action { return runpodtest.ResetAfterWork() }},
	"reset_reply":       {false, func(a *action) runpodtest.Action { return runpodtest.ResetReply(a.bytes) }},
	"truncate_reply":    {false, func(a *action) runpodtest.Action { return runpodtest.TruncateReply(a.bytes) }},
	"stall_reply":       {false, func(a *action) runpodtest.Action { return runpodtest.StallReply(a.bytes) }},
	"slow_reply":        {false, func(a *action) runpodtest.Action { return runpodtest.SlowReply(a.bytes) }},
	"delay":             {false, func(*action) runpodtest.Action { return runpodtest.Delay(0) }},
}

func parseFault(text []byte) (runpodtest.Fault, error) {
	var f runpodtest.Fault
	var a action
	var d deed
	err := fields{
		"on": &choice[runpodtest.Service]{&f.On, services}, "method": &f.Method, "path": &f.Path, "query": &f.Query,
		"skip": &f.Skip, "times": &f.Times,
		"do":     &choice[deed]{&d, deeds},
		"status": &a.status, "body": &a.body, "bytes": &a.bytes, "after": (*duration)(&a.later),
	}.decode(text)
	switch {
	case err != nil:
		return f, err
	case d.do == nil:
		return f, fmt.Errorf("do: it is missing; want %s", strings.Join(slices.Sorted(maps.Keys(deeds)), ", "))
	case d.answers != (a.status != 0) || a.status != 0 && (a.status < 200 || a.status > 599):
		return f, fmt.Errorf("status: %d: want 200 to 599 for an answer, none for anything else", a.status)
	case f.Skip < 0:
		return f, fmt.Errorf("skip: %d: want 0 or more", f.Skip)
	case f.Times < runpodtest.Always:
		return f, fmt.Errorf("times: %d: want a number, or %d for always", f.Times, runpodtest.Always)
	case a.later < 0 || a.bytes < 0:
		return f, errors.New("after, bytes: want 0 or more")
	}
	f.Do = d.do(&a).Later(time.Duration(a.later))
	return f, nil
}
