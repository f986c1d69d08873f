package main

import (
	"flag"
	"fmt"
	"io"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// options is what the command line asks for.
type options struct {
	cfg     runpodtest.Config
	env     string
	account string
}

// speed is the factor by which the service's time runs faster.
func (o *options) speed() float64 {
	if o.cfg.Speed == 0 {
		return 1
	}
	return o.cfg.Speed
}

var presets = map[string]func() runpodtest.Preset{
	"run1": runpodtest.StressRun1,
	"run2": runpodtest.StressRun2,
	"run3": runpodtest.StressRun3,
}

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{cfg: runpodtest.Config{Loopback: true}}
	f := flag.NewFlagSet("runpod-sim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.env, "env", "", "also write the environment to this `file`, for the shell to read")
	f.StringVar(&o.account, "account", "", "at the end, write the account to this `file` as JSON lines")
	o.endpointFlags(f)
	o.workerFlags(f)
	o.volumeFlags(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q; flags begin with a dash, see -h", f.Arg(0))
	}
	return o, nil
}

// endpointFlags are about the balancer and the autoscaler.
func (o *options) endpointFlags(f *flag.FlagSet) {
	c := &o.cfg
	f.Uint64Var(&c.Seed, "seed", 0, "fixes every random draw, the keys included")
	f.Float64Var(&c.Speed, "speed", 0, "how much faster than the service time runs (default 1)")
	f.Func("preset", "a measured endpoint: run1, run2 or run3, the three stress tests", func(s string) error {
		p, ok := presets[s]
		if !ok {
			return fmt.Errorf("want run1, run2 or run3")
		}
		c.Preset = p()
		return nil
	})
	f.IntVar(&c.MinWorkers, "min", 0, "minimum workers")
	f.IntVar(&c.MaxWorkers, "max", 0, "maximum workers; -1 means none at all (default 3)")
	f.IntVar(&c.ScalerValue, "scaler-value", 0, "requests for each worker, or seconds with -queue-delay (default 4)")
	f.BoolFunc("queue-delay", "scale by QUEUE_DELAY instead of REQUEST_COUNT", func(string) error {
		c.ScalerType = runpodtest.QueueDelay
		return nil
	})
	f.DurationVar(&c.IdleTimeout, "idle", 0, "how long a worker stays after its last request (default 5s)")
	f.DurationVar(&c.QueueWait, "queue-wait", 0, "how long a request waits for a worker (default 2m0s)")
	f.BoolFunc("problem", "refuse with the problem+json body instead of the documented one", func(string) error {
		c.Refusal = runpodtest.RefusalProblem
		return nil
	})
	f.Float64Var(&c.Unfairness, "unfairness", 0, "share of requests that do not wait in order of arrival, 0 to 1")
	f.BoolVar(&c.OmitWorkerID, "omit-worker-id", false, "leave X-Runpod-Worker-Id out of every answer")
}

// workerFlags are about the workers.
func (o *options) workerFlags(f *flag.FlagSet) {
	c := &o.cfg
	const form = "; one value (60s), a range (40s-90s), or median~p90 (40s~90s)"
	f.Func("cold", "cold start (default 40s-90s)"+form, dist(&c.ColdStart))
	f.Func("service", "work for each request (default 10s-15s)"+form, dist(&c.ServiceTime))
	f.Func("loading", "how long a started worker answers 503 (default 0)"+form, dist(&c.Loading))
	f.IntVar(&c.Concurrency, "concurrency", 0, "requests that a worker takes at a time (default 1)")
	f.Float64Var(&c.CrashRate, "crash", 0, "share of requests that kill their worker, 0 to 1")
}

// volumeFlags are about the S3 gateway.
func (o *options) volumeFlags(f *flag.FlagSet) {
	c := &o.cfg
	f.StringVar(&c.VolumeDir, "volume", "", "the `folder` that is the network volume (default: a temporary one)")
	f.IntVar(&c.S3.TransientAbove, "s3-403-above", 0, "answer 403 to a third of the S3 requests above so many at once")
	f.Float64Var(&c.S3.ErrorRate, "s3-errors", 0, "share of S3 requests that get a 5xx, 0 to 1")
	f.BoolVar(&c.S3.LateComplete, "s3-late-complete", false, "answer 524 to CompleteMultipartUpload, although it completes")
	f.BoolVar(&c.S3.UTCDates, "s3-utc", false, "end Last-Modified in UTC")
	f.Int64Var(&c.S3.VolumeSize, "s3-size", 0, "the volume's size in bytes (default: no limit)")
}

// dist parses a distribution of durations.
func dist(to *runpodtest.Dist) func(string) error {
	return func(s string) (err error) {
		*to, err = runpodtest.ParseDist(s)
		return err
	}
}
