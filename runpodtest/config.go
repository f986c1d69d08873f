package runpodtest

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"time"
)

// NoWorkers is the Config.MaxWorkers of an endpoint that never starts a worker,
// which is what the service's idle policy leaves after 7 unused days. (Zero
// means the default.)
const NoWorkers = -1

// Config says which endpoint and volume to imitate. The zero Config is a usable
// endpoint: min 0, max 3, one worker for every 4 requests, cold starts of 40 to
// 90 s, 10 to 15 s of work a request. Durations are the service's own; Speed
// divides them all.
type Config struct {
	// Seed fixes every random draw. Draws are tied to the number of the request
	// or worker, so that the same seed and traffic give the same history, up to
	// the order of what happens within one instant.
	Seed uint64

	// Preset is an endpoint somebody measured: StressRun2() and its like. A
	// field that the preset sets must be left zero here.
	Preset Preset

	// Loopback makes the server listen on free ports of 127.0.0.1. Otherwise it is
	// reached only through Server.DialContext, over a network in memory.
	Loopback bool

	// Addr makes the server listen on fixed ports, with or without Loopback: with
	// "127.0.0.1:8700" the endpoint and the job API have port 8700, S3 has 8701 and
	// the control plane 8702.
	Addr string

	// EndpointID, Bucket and Region are the endpoint's id, the network volume's id
	// and its data center, for clients that have them written down. Defaults:
	// "twin", one made from the seed, and "EU-RO-1".
	EndpointID, Bucket, Region string

	// Speed divides every duration of the service, from cold starts to the 2
	// minutes a request waits. Zero means 1. It cannot speed up a Handler's real
	// work, nor the whole seconds of a Retry-After header.
	Speed float64

	// VolumeDir is the folder that is the network volume. Empty means a
	// temporary one, removed by Close.
	VolumeDir string

	// MinWorkers and MaxWorkers bound the autoscaler (default 0 and 3, as Runpod
	// documents). Minimum workers are warm from the start. MaxWorkers NoWorkers
	// means none. Server.SetWorkers changes both while the server runs.
	MinWorkers, MaxWorkers int

	// ScalerType is the scaling rule. Default RequestCount, which load-balancing
	// endpoints use.
	ScalerType ScalerType

	// ScalerValue is the rule's number: requests for each worker, or seconds with
	// QueueDelay. Default 4.
	ScalerValue int

	// IdleTimeout is how long a worker stays after its last request. Default 5 s.
	IdleTimeout time.Duration

	// CancelStarting drops workers that are still starting once the demand for
	// them is gone. By default they start anyway and then idle out.
	CancelStarting bool

	// Capacity is how many workers get a GPU; the others are throttled, unbilled,
	// until one stops. Zero means no limit. Server.SetCapacity changes it.
	Capacity int

	// QueueWait is the longest a request waits for a worker before it is refused
	// with status 400. Default 2 min (Runpod docs).
	QueueWait time.Duration

	// StrictWait is the same for a request bound to one worker by strict
	// affinity. Default 5 min (Runpod docs: "up to ~5 minutes").
	StrictWait time.Duration

	// MaxWaiting refuses a request at once when so many wait already. Zero means
	// no limit.
	MaxWaiting int

	// ProcessingLimit is the longest a worker may take for one request; the
	// answer then is 524. Default 5.5 min (Runpod docs).
	ProcessingLimit time.Duration

	// BodyLimit is the largest request or response body, in bytes. Default
	// 30 MB (Runpod docs).
	BodyLimit int64

	// Refusal is the shape of the 400 for a request no worker took. Both have
	// been seen on the service.
	Refusal Refusal

	// OmitWorkerID leaves X-Runpod-Worker-Id out of every answer. By default
	// workers' answers carry it and the balancer's own do not (inferred).
	OmitWorkerID bool

	// AnonymousCrash leaves the worker's id out of the 502 that a worker's crash
	// gives. By default the 502 names the worker that had the request.
	AnonymousCrash bool

	// QueueBased makes every call fail as on an endpoint of the wrong type.
	QueueBased bool

	// Routing says which of several free workers gets a request. Default
	// RouteEven.
	Routing Routing

	// Unfairness is the share of requests, from 0 to 1, that do not wait in order
	// of arrival: half of them go to the front of the line, half to its back. Zero
	// means first come, first served. The stress tests show that the service is
	// not quite fair (inferred): requests were refused after 120 s although the
	// slowest success of the same run took 117 s and the fastest none of that
	// wait, which no fair line can do.
	Unfairness float64

	// PingIsFree keeps requests to the health path from counting as demand. By
	// default they do, and wake an endpoint that is scaled to zero (reported by
	// users).
	PingIsFree bool

	// HealthPath is polled on idle workers every 5 s: 200 keeps a worker in
	// rotation, anything else takes it out until a later poll. Empty means no
	// polling. Users report "/ping" and the interval.
	HealthPath string

	// ColdStart is how long a worker takes to start. Default 40 to 90 s, typical
	// for a diffusion model on a network volume (reported by users).
	ColdStart Dist

	// Loading is how long a started worker answers 503 by itself, while it loads
	// its model. Default none.
	Loading Dist

	// ServiceTime is how long a worker works on a request before its program gets
	// it. Default 10 to 15 s without a Handler or Start, nothing with one. It runs to
	// its end even if the client leaves, as a busy GPU does. Requests to /ping and
	// HealthPath take none.
	ServiceTime Dist

	// Concurrency is how many requests one worker takes at a time. Default 1.
	Concurrency int

	// CrashRate is the share of requests whose worker dies on them, from 0 to 1.
	CrashRate float64

	// UnhealthyRate is the share of workers, from 0 to 1, that start, stay, cost
	// money and never take a request.
	UnhealthyRate float64

	// SocketsIdle frees a worker once its connection has become a WebSocket, so
	// that the idle timeout can close it (reported by users). By default an open
	// socket keeps its worker busy.
	SocketsIdle bool

	// IdlePolicy lowers MaxWorkers to 2 after 3 days without a request and to 0
	// after 7 (Runpod docs).
	IdlePolicy bool

	// Handler makes the program of one worker; it is called anew for every
	// worker that starts. A panic in it is that worker's crash. Nil means a
	// program that answers 200 with a JSON description of the request.
	Handler func(Worker) http.Handler

	// Start starts the program of one worker, instead of Handler, for programs that
	// take a while: a process, a model to load. It is called in a goroutine of its
	// own when the worker's cold start begins; the worker takes requests when Start
	// has returned and ColdStart has passed. An error or a panic is a crash. It
	// returns soon after w.Context ends. Minimum workers start at once, but not
	// warm.
	Start func(w Worker) (http.Handler, error)

	// JobHandler is the program for jobs of the queue API, which any worker runs.
	// What it returns is the job's output, as JSON; an error is a failed job, a
	// panic the worker's crash. Nil means a program that gives the input back.
	JobHandler func(ctx context.Context, job Job) (output any, err error)

	// ControlPerMinute is how many requests a minute the control plane takes
	// before it answers 429. Default 60 (Runpod docs); an hour's worth is 20 times
	// that (inferred).
	ControlPerMinute int

	// DataCenters and NetworkVolumes are the endpoint's, as the control plane
	// lists them. They change nothing else. Default: the server's Region and
	// Bucket; empty and not nil: none.
	DataCenters, NetworkVolumes []string

	// S3 switches on the habits of the volume's S3 gateway.
	S3 S3Habits

	// Faults are in force from the start, as if Server.Fault had been called with
	// each of them in turn.
	Faults []Fault
}

// Refusal is a shape of the 400 that a request no worker took gets.
type Refusal uint8

const (
	// RefusalError answers {"error":"no workers available"} (Runpod docs).
	RefusalError Refusal = iota
	// RefusalProblem answers {"status":400,"title":"Bad Request","detail":"timed out
	// waiting for worker"} (reported by users).
	RefusalProblem
)

// withDefaults returns the Config with its preset and defaults filled in, or an
// error that names the field to change.
func (c Config) withDefaults() (Config, error) {
	c, err := c.Preset.applyTo(c)
	if err != nil {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, err
	}
	switch c.MaxWorkers {
	case 0:
		c.MaxWorkers = 3
	case NoWorkers:
		c.MaxWorkers = 0
	}
	if c.MaxWorkers < c.MinWorkers {
		return c, fieldError("MaxWorkers", "%d is below MinWorkers, %d", c.MaxWorkers, c.MinWorkers)
	}
	c.Speed = cmp.Or(c.Speed, 1)
	c.ScalerValue = cmp.Or(c.ScalerValue, 4)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.ControlPerMinute = cmp.Or(c.ControlPerMinute, 60)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Second)
	c.QueueWait = cmp.Or(c.QueueWait, 2*time.Minute)
	c.StrictWait = cmp.Or(c.StrictWait, 5*time.Minute)
	c.ProcessingLimit = cmp.Or(c.ProcessingLimit, 330*time.Second)
	c.BodyLimit = cmp.Or(c.BodyLimit, 30_000_000)
	c.EndpointID = cmp.Or(c.EndpointID, "twin")
	c.Bucket = cmp.Or(c.Bucket, name(c.Seed, drawKeys, 1, 10))
	c.Region = cmp.Or(c.Region, "EU-RO-1")
	c.Loopback = c.Loopback || c.Addr != ""
	if c.ColdStart.isZero() {
		c.ColdStart = Range(40*time.Second, 90*time.Second)
	}
	if c.ServiceTime.isZero() && c.Handler == nil && c.Start == nil && c.JobHandler == nil {
		c.ServiceTime = Range(10*time.Second, 15*time.Second)
	}
	if c.Handler == nil {
		c.Handler = echo
	}
	if c.JobHandler == nil {
		c.JobHandler = echoJob
	}
	return c, nil
}

// check refuses values that make no sense.
func (c Config) check() error {
	for _, f := range []struct {
		name string
		bad  bool
		got  any
	}{
		{"Speed", c.Speed < 0, c.Speed},
		{"MinWorkers", c.MinWorkers < 0, c.MinWorkers},
		{"MaxWorkers", c.MaxWorkers < NoWorkers, c.MaxWorkers},
		{"ScalerType", c.ScalerType > QueueDelay, c.ScalerType},
		{"ScalerValue", c.ScalerValue < 0, c.ScalerValue},
		{"IdleTimeout", c.IdleTimeout < 0, c.IdleTimeout},
		{"Capacity", c.Capacity < 0, c.Capacity},
		{"QueueWait", c.QueueWait < 0, c.QueueWait},
		{"StrictWait", c.StrictWait < 0, c.StrictWait},
		{"MaxWaiting", c.MaxWaiting < 0, c.MaxWaiting},
		{"ProcessingLimit", c.ProcessingLimit < 0, c.ProcessingLimit},
		{"BodyLimit", c.BodyLimit < 0, c.BodyLimit},
		{"Refusal", c.Refusal > RefusalProblem, c.Refusal},
		{"Routing", c.Routing > RouteUneven, c.Routing},
		{"Unfairness", !(c.Unfairness >= 0 && c.Unfairness <= 1), c.Unfairness},
		{"HealthPath", c.HealthPath != "" && c.HealthPath[0] != '/', c.HealthPath},
		{"Concurrency", c.Concurrency < 0, c.Concurrency},
		{"ControlPerMinute", c.ControlPerMinute < 0, c.ControlPerMinute},
		{"CrashRate", !(c.CrashRate >= 0 && c.CrashRate <= 1), c.CrashRate},
		{"UnhealthyRate", !(c.UnhealthyRate >= 0 && c.UnhealthyRate <= 1), c.UnhealthyRate},
	} {
		if f.bad {
			return fieldError(f.name, "%v makes no sense; see the field's documentation", f.got)
		}
	}
	return c.checkParts()
}

// checkParts asks the fields that know their own rules.
func (c Config) checkParts() error {
	for _, f := range []struct {
		name string
		d    Dist
	}{{"ColdStart", c.ColdStart}, {"Loading", c.Loading}, {"ServiceTime", c.ServiceTime}} {
		if err := f.d.check(); err != nil {
			return fieldError(f.name, "%v", err)
		}
	}
	for _, f := range []struct{ name, value string }{{"EndpointID", c.EndpointID}, {"Bucket", c.Bucket}, {"Region", c.Region}} {
		if !isID.MatchString(f.value) {
			return fieldError(f.name, "%q is no id: want letters, digits and hyphens", f.value)
		}
	}
	if c.Start != nil && c.Handler != nil {
		return fieldError("Start", "it takes the place of Handler; leave one of them out")
	}
	return c.S3.check()
}

// isID matches what can be a part of a host's name; empty means the default.
var isID = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,60}[A-Za-z0-9])?)?$`)

// real is how long one of the service's durations takes on this server.
func (c *Config) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.Speed)
}

// service is how long a stretch of this server's time would be on the service.
func (c *Config) service(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.Speed)
}
