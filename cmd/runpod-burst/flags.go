package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// options is what the command line asks for.
type options struct {
	set burst.Settings

	live   bool
	preset string
	config string     // file that describes the simulated endpoint
	twin   burst.Twin // the simulated endpoint

	bytes    int
	clients  []string
	given    map[string]bool // flags that stood on the command line
	jsonl    string          // records
	report   string
	json     string // figures
	svg      string
	plot     string
	resume   string
	price    float64
	quiet    bool
	analyzed []string // files of records: there is no run
}

const usage = `Runpod-burst sends a burst of jobs to an endpoint and explains what came of it.

  runpod-burst [flags]                     run a burst; without -live on a simulated endpoint
  runpod-burst -resume FILE.jsonl [flags]  run what is missing in its last run
  runpod-burst analyze [flags] FILE...     make the report again from records, of several runs a comparison
  runpod-burst fit [-o FILE] FILE...       find the simulated endpoint that explains records
  runpod-burst plan [flags]                find the cheapest setting that serves a burst in time

Times are the endpoint's: a simulated one's run faster, see -speed.

`

// parseFlags reads the command line; what is wrong with it names the flag.
func parseFlags(args []string, stdout io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("runpod-burst", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	analyze := len(args) > 0 && args[0] == "analyze"
	if analyze {
		args = args[1:]
	} else {
		o.runFlags(f)
	}
	o.outputFlags(f)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		f.SetOutput(stdout)
		f.PrintDefaults()
		if !analyze {
			fmt.Fprintf(stdout, configUsage, strings.Join(burst.TwinFields(), ", "))
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	if analyze {
		if o.analyzed = f.Args(); len(o.analyzed) == 0 {
			return nil, errors.New("analyze: name a file of records, as -jsonl writes them")
		}
		return o, checkPlot(o.plot)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: unexpected; flags begin with a dash, see -h", f.Arg(0))
	}
	return o, o.complete(given(f))
}

// outputFlags are those that a run and analyze share.
func (o *options) outputFlags(f *flag.FlagSet) {
	f.StringVar(&o.report, "report", "", "write the report to this `file`, one page of HTML")
	f.StringVar(&o.json, "json", "", "write the figures and verdicts to this `file` as JSON")
	f.StringVar(&o.svg, "svg", "", "write the timeline to this `file` as a picture")
	f.StringVar(&o.plot, "plot", "", "draw the runs over one another, how long jobs took and requests in flight, to this `file`: .png, .svg or .pdf")
	f.Float64Var(&o.price, "price", 0, "what a worker costs in a `second`, in any currency, for the report")
	f.BoolVar(&o.quiet, "q", false, "print nothing but errors")
}

func (o *options) runFlags(f *flag.FlagSet) {
	s := &o.set
	f.IntVar(&s.Requests, "requests", 30, "how many jobs; with -duration as many as begin in it")
	f.IntVar(&s.Concurrency, "concurrency", 15, "how many jobs are under way at once, at the most; run1 has 30")
	f.Float64Var(&s.Rate, "rate", 0, "jobs that arrive in a `second`, at random (Poisson); default: all are there at once")
	f.Func("ramp", "reach -concurrency step by step in this `time`", toSeconds(&s.Ramp))
	f.Func("duration", "begin no job after this `time`", toSeconds(&s.Duration))
	f.IntVar(&s.Warm, "warm", 0, "`workers` that the library wakes during the first uploads (WithWarmup)")
	f.StringVar(&s.Inputs, "inputs", "", "`folder` of inputs; each job takes the next two files")
	f.StringVar(&s.Manifest, "manifest", "", "`file` of jobs, JSON lines of files, method, path, body, output, save_to, idempotent, id")
	f.IntVar(&o.bytes, "bytes", 100_000, "size of the two inputs of a job, where no others are given")
	f.StringVar(&s.SaveDir, "out", "", "fetch the results into this `folder`; default: they are left on the volume")
	f.StringVar(&o.jsonl, "jsonl", "", "write the records to this `file` while the burst runs, one JSON line each")
	f.StringVar(&o.resume, "resume", "", "do the jobs that are missing in the last run of this `file`, and add to it")
	f.Func("compare", "run the same burst through several `clients` in turn: naive,docs,library (default library)", func(v string) error {
		o.clients = strings.Split(v, ",")
		return checkClients(o.clients)
	})
	f.BoolVar(&o.live, "live", false, "use the endpoint that the RUNPOD_ variables name (it costs money)")
	f.StringVar(&o.preset, "preset", "run2", "simulate the endpoint of a stress `test`: run1 (with its slow upload pool, for plain clients), run2, run3; none: one to be set by the flags below")
	f.StringVar(&o.config, "config", "", "simulate the endpoint that this `file` describes, JSON as shown below")
	c := &o.twin.Config
	f.Float64Var(&c.Speed, "speed", 50, "how much faster the simulated endpoint's time runs")
	f.Uint64Var(&c.Seed, "seed", 1, "the simulated endpoint's random draws")
	f.IntVar(&c.MinWorkers, "min", 0, "its minimum workers")
	f.IntVar(&c.MaxWorkers, "max", 0, "its maximum workers (default 3)")
	f.IntVar(&c.ScalerValue, "scaler-value", 0, "its requests for each worker (default 4)")
}

func toSeconds(to *burst.Seconds) func(string) error {
	return func(v string) error {
		d, err := time.ParseDuration(v)
		if err == nil && d <= 0 {
			err = errors.New("want a time above 0, such as 90s")
		}
		*to = burst.Seconds(d.Seconds())
		return err
	}
}

func checkClients(names []string) error {
	for i, name := range names {
		if !slices.Contains(burst.Names, name) {
			return fmt.Errorf("%q is no client: want %s", name, strings.Join(burst.Names, ", "))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s stands there twice", name)
		}
	}
	return nil
}

// given is the flags that stood on the command line.
func given(f *flag.FlagSet) map[string]bool {
	names := map[string]bool{}
	f.Visit(func(one *flag.Flag) { names[one.Name] = true })
	return names
}

// complete fills in what depends on several flags, and refuses what makes no sense.
func (o *options) complete(given map[string]bool) error {
	s := &o.set
	o.given = given
	if o.clients == nil {
		o.clients = []string{"library"}
	}
	if s.Duration > 0 && !given["requests"] {
		s.Requests = 0
	}
	if !o.live {
		if err := o.simulated(given); err != nil {
			return err
		}
	}
	return o.check(given)
}

// simulated settles which endpoint is simulated.
func (o *options) simulated(given map[string]bool) error {
	s := &o.set
	if o.config != "" {
		if given["preset"] {
			return errors.New("-config and -preset: leave one of them out; the file may name a preset")
		}
		o.preset = "none"
		return o.readConfig(given)
	}
	o.twin.Config.Loopback = true
	if !given["preset"] && (given["min"] || given["max"] || given["scaler-value"]) {
		o.preset = "none"
	}
	if o.preset == "none" {
		return nil
	}
	p, ok := burst.Presets[o.preset]
	if !ok {
		return fmt.Errorf("-preset %s: want none, %s", o.preset, strings.Join(slices.Sorted(maps.Keys(burst.Presets)), ", "))
	}
	o.twin.Config.Preset, o.twin.UploadEvery, s.Preset = p.Preset(), p.UploadEvery, o.preset
	if !given["concurrency"] {
		s.Concurrency = p.Concurrency
	}
	return nil
}

func (o *options) check(given map[string]bool) error {
	s := &o.set
	if o.live {
		for _, name := range []string{"preset", "config", "speed", "seed", "min", "max", "scaler-value"} {
			if given[name] {
				return fmt.Errorf("-%s is about the simulated endpoint: leave it or -live out", name)
			}
		}
	}
	if o.resume != "" {
		for _, name := range []string{"compare", "requests", "duration", "jsonl", "inputs", "manifest"} {
			if given[name] {
				return fmt.Errorf("-%s: -resume takes it from the records; leave one of them out", name)
			}
		}
	}
	switch {
	case s.Requests < 0 || s.Requests == 0 && s.Duration == 0 || s.Requests > 100_000:
		return fmt.Errorf("-requests %d: want 1 to 100000", s.Requests)
	case s.Concurrency < 1 || s.Concurrency > 10_000:
		return fmt.Errorf("-concurrency %d: want 1 to 10000", s.Concurrency)
	case s.Warm < 0 || s.Warm > 1000:
		return fmt.Errorf("-warm %d: want 0 to 1000", s.Warm)
	case s.Rate < 0:
		return fmt.Errorf("-rate %g: want 0 or more", s.Rate)
	case o.price < 0:
		return fmt.Errorf("-price %g: want 0 or more", o.price)
	case o.twin.Config.Speed <= 0:
		return fmt.Errorf("-speed %g: want a factor above 0", o.twin.Config.Speed)
	case o.bytes < 1 || o.bytes > 100<<20:
		return fmt.Errorf("-bytes %d: want 1 to 104857600", o.bytes)
	case s.Inputs != "" && s.Manifest != "":
		return errors.New("-inputs and -manifest: leave one of them out")
	}
	return checkPlot(o.plot)
}

// plan is where the jobs come from; what cannot be read is found out before
// anything is sent.
func (o *options) plan() (*burst.Plan, error) {
	s := &o.set
	switch {
	case s.Manifest != "":
		p, err := burst.Manifest(s.Manifest)
		if err != nil {
			return nil, fmt.Errorf("-manifest: %w", err)
		}
		if s.Only == nil {
			s.Requests = p.Jobs
		}
		return p, nil
	case s.Inputs != "":
		p, err := burst.Folder(s.Inputs)
		if err != nil {
			return nil, fmt.Errorf("-inputs: %w", err)
		}
		return p, nil
	}
	return burst.Generated(o.bytes), nil
}

// target is the endpoint for one run: each simulated one is new, and the same.
func (o *options) target() (*burst.Target, error) {
	if o.live {
		t, err := burst.Live(os.Getenv)
		if err != nil {
			return nil, fmt.Errorf("-live: %w", err)
		}
		return t, nil
	}
	t, err := burst.Simulate("a simulated endpoint", o.twin)
	if err != nil {
		if o.config != "" {
			err = fmt.Errorf("-config: %s: %w", o.config, err)
		}
		return nil, err
	}
	switch {
	case o.config != "":
		t.Name += ", " + filepath.Base(o.config)
	case o.preset != "none":
		t.Name += ", " + o.preset
	}
	if t.UploadEvery > 0 {
		t.Name += fmt.Sprintf(" (a plain client's upload pool is imitated: it lets a job through every %v)", t.UploadEvery)
	}
	return t, nil
}
