package sim

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// options is what the command line asks for.
type options struct {
	cfg     runpodtest.Config
	config  string
	env     string
	account string
	quiet   bool
	json    bool
	proxy   bool

	worker       string
	exec         string
	health       string
	startTimeout time.Duration

	set map[string]bool // the flags that were given
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

// parseFlags reads the command line. Help goes to stdout.
func parseFlags(args []string, stdout io.Writer) (*options, error) {
	o, f := newOptions()
	err := f.Parse(args)
	if err == nil && o.config != "" {
		// Again, upon what the file says: what is on the command line wins.
		name := o.config
		o, f = newOptions()
		if err := o.readConfig(name); err != nil {
			return nil, fmt.Errorf("-config: %w", err)
		}
		err = f.Parse(args)
	}
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(stdout)
		fmt.Fprintln(stdout, "Runpod-sim is a Runpod endpoint, its volume and its control plane on this machine.\nFlags:")
		f.PrintDefaults()
		fmt.Fprintf(stdout, configUsage, strings.Join(runpodtest.ConfigFields(), ", "))
	}
	if err != nil {
		return nil, err
	}
	f.Visit(func(given *flag.Flag) { o.set[given.Name] = true })
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q; flags begin with a dash, see -h", f.Arg(0))
	case o.config != "" && o.set["preset"]:
		return nil, errors.New("-config and -preset: leave one of them out; the file may name a preset")
	case o.set["exec"] && strings.TrimSpace(o.exec) == "":
		return nil, errors.New("-exec is empty; want a command, such as 'uvicorn app:app --port {port}'")
	case o.health != "" && o.health[0] != '/':
		return nil, fmt.Errorf("-health %q: want a path, such as /ping", o.health)
	case o.startTimeout <= 0:
		return nil, fmt.Errorf("-start-timeout %v: want more than nothing", o.startTimeout)
	}
	return o, nil
}

// newOptions returns options of no value yet and the flags that set them.
func newOptions() (*options, *flag.FlagSet) {
	o := &options{cfg: runpodtest.Config{Loopback: true}, set: map[string]bool{}}
	f := flag.NewFlagSet("runpod-sim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.outputFlags(f)
	o.endpointFlags(f)
	o.workerFlags(f)
	o.volumeFlags(f)
	return o, f
}

// configUsage says what -config takes. Its verb is for the names of the fields.
const configUsage = `
A -config file is a JSON object, as "runpod-burst fit" writes it:

  {"max_workers": 6, "scaler_value": 4, "idle_timeout": "5s", "cold_start": "40s~90s", "service_time": "10s-15s"}

What is left out has its default, and flags win over the file. The fields: %s.
They mean what runpodtest.Config documents.
`

// readConfig takes the endpoint from a file.
func (o *options) readConfig(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if o.cfg, err = runpodtest.ReadConfig(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	o.cfg.Loopback = true
	return nil
}

// given reports whether a distribution was set, by a flag or by the file.
func given(d runpodtest.Dist) bool { return d.String() != (runpodtest.Dist{}).String() }

// outputFlags are about what is printed and where it listens.
func (o *options) outputFlags(f *flag.FlagSet) {
	f.StringVar(&o.env, "env", "", "write the environment to this `file`, for the shell to read, as soon as it serves")
	f.StringVar(&o.account, "account", "", "at the end, write the account to this `file` as JSON lines")
	f.BoolVar(&o.quiet, "quiet", false, "print errors alone")
	f.BoolVar(&o.json, "json", false, "print one JSON object when it serves and one at the end, instead of text")
	f.StringVar(&o.cfg.Addr, "addr", "", "listen on fixed ports: the endpoint at this `host:port`, S3, the control plane and the proxy on the next three (default: free ports)")
	f.BoolVar(&o.proxy, "proxy", false, "be an HTTPS proxy too, for programs written for the live service")
}

// checkFiles refuses files that cannot be written, before anything is served. An
// old -env file goes, so that the new one says that it serves.
func (o *options) checkFiles() error {
	for _, f := range []struct{ flag, name string }{{"env", o.env}, {"account", o.account}} {
		if f.name == "" {
			continue
		}
		tmp, err := os.CreateTemp(filepath.Dir(f.name), ".runpod-sim-*")
		if err != nil {
			return fmt.Errorf("-%s: %w", f.flag, err)
		}
		tmp.Close()
		os.Remove(tmp.Name())
		if info, err := os.Stat(f.name); err == nil && !info.Mode().IsRegular() && f.flag == "env" {
			return fmt.Errorf("-%s: %s is no file", f.flag, f.name)
		}
	}
	if o.env != "" {
		if err := os.Remove(o.env); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("-env: %w", err)
		}
	}
	return nil
}

// endpointFlags are about the balancer and the autoscaler.
func (o *options) endpointFlags(f *flag.FlagSet) {
	c := &o.cfg
	f.Uint64Var(&c.Seed, "seed", 0, "fixes every random draw, the keys included")
	f.Float64Var(&c.Speed, "speed", 0, "how much faster than the service the balancer's and the autoscaler's time runs (default 1)")
	f.StringVar(&o.config, "config", "", "imitate the endpoint that this `file` describes, JSON as shown below")
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
	f.StringVar(&c.EndpointID, "endpoint-id", "", "the endpoint's `id` (default twin)")
	f.Float64Var(&c.Unfairness, "unfairness", 0, "share of requests that do not wait in order of arrival, 0 to 1")
	f.BoolVar(&c.OmitWorkerID, "omit-worker-id", false, "leave X-Runpod-Worker-Id out of every answer")
}

// workerFlags are about the workers.
func (o *options) workerFlags(f *flag.FlagSet) {
	c := &o.cfg
	f.StringVar(&o.worker, "worker", "tryon", "what the workers run: tryon, the picture service of the README; echo; or the `address` of your server, such as http://127.0.0.1:8000")
	f.StringVar(&o.exec, "exec", "", "start this `command` for each worker, such as 'uvicorn app:app --port {port}'; {volume} and {id} are filled in too")
	f.StringVar(&o.health, "health", "", "the `path` that answers 200 when a worker of yours is ready (default /ping with -exec; not asked with -worker)")
	f.DurationVar(&o.startTimeout, "start-timeout", 5*time.Minute, "how long a process of -exec may take to become ready")
	const form = "; one value (60s), a range (40s-90s), or median~p90 (40s~90s)"
	f.Func("cold", "cold start (default 40s-90s; with -exec that of the process, or this if it is longer)"+form, dist(&c.ColdStart))
	f.Func("service", "work for each request (default 10s-15s; none with a worker of yours)"+form, dist(&c.ServiceTime))
	f.Func("loading", "how long a started worker answers 503 (default 0)"+form, dist(&c.Loading))
	f.IntVar(&c.Concurrency, "concurrency", 0, "requests that a worker takes at a time (default 1)")
	f.Float64Var(&c.CrashRate, "crash", 0, "share of requests that kill their worker, 0 to 1")
}

// volumeFlags are about the S3 gateway.
func (o *options) volumeFlags(f *flag.FlagSet) {
	c := &o.cfg
	f.StringVar(&c.Bucket, "bucket", "", "the network volume's `id` (default: made from the seed)")
	f.StringVar(&c.Region, "region", "", "the network volume's `data center` (default EU-RO-1)")
	f.StringVar(&c.VolumeDir, "volume", "", "the `folder` that is the network volume (default: a temporary one)")
	f.IntVar(&c.S3.TransientAbove, "s3-403-above", 0, "answer 403 to a third of the S3 requests above so many at once")
	f.Float64Var(&c.S3.ErrorRate, "s3-errors", 0, "share of S3 requests that get a 5xx, 0 to 1")
	f.BoolVar(&c.S3.LateComplete, "s3-late-complete", false, "answer 524 to CompleteMultipartUpload, although it completes")
	f.BoolVar(&c.S3.UTCDates, "s3-utc", false, "end Last-Modified in UTC")
	f.Int64Var(&c.S3.VolumeSize, "s3-size", 0, "the volume's size in bytes (default: no limit)")
}

// fieldFlags are the flags for fields of runpodtest.Config.
var fieldFlags = map[string]string{
	"Speed": "speed", "MinWorkers": "min", "MaxWorkers": "max", "ScalerValue": "scaler-value", "ScalerType": "queue-delay",
	"IdleTimeout": "idle", "QueueWait": "queue-wait", "Unfairness": "unfairness", "ColdStart": "cold", "ServiceTime": "service",
	"Loading": "loading", "Concurrency": "concurrency", "CrashRate": "crash", "VolumeDir": "volume", "Addr": "addr",
	"EndpointID": "endpoint-id", "Bucket": "bucket", "Region": "region", "S3.TransientAbove": "s3-403-above",
	"S3.ErrorRate": "s3-errors", "S3.VolumeSize": "s3-size",
}

// byOrigin names, in an error that names a field, the flag or the file that set it.
func (o *options) byOrigin(err error) error {
	rest, ok := strings.CutPrefix(err.Error(), "runpodtest: Config.")
	field, what, _ := strings.Cut(rest, ": ")
	name := fieldFlags[field]
	switch {
	case ok && o.config != "" && !o.set[name]:
		return fmt.Errorf("-config: %s: %w", o.config, err)
	case ok && name != "":
		return fmt.Errorf("-%s: %s", name, what)
	}
	return err
}

// dist parses a distribution of durations.
func dist(to *runpodtest.Dist) func(string) error {
	return func(s string) (err error) {
		*to, err = runpodtest.ParseDist(s)
		return err
	}
}
