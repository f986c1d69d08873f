package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gpuburst/runpod-go/control"
)

// options is what the command line asks for.
type options struct {
	command       string
	endpoint, url string
	change        control.Change
	n             int
	span          time.Duration
	all           bool
}

const usage = `runpod-workers COMMAND [flags]

  list      show the endpoint, its workers and the holds
  set       change the bounds of its workers: -min N, -max N
  hold      raise the minimum for a while: -n N -for DURATION
  release   clear the holds that killed processes left; -all: every hold

Each takes -endpoint ID (default RUNPOD_ENDPOINT_ID) and -url URL (default
RUNPOD_CONTROL_URL, then the service's); "COMMAND -h" lists its flags.
`

// parse reads the command line; what is wrong with it is named.
func parse(args []string, out io.Writer) (*options, error) {
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		return nil, flag.ErrHelp
	}
	o := &options{command: args[0]}
	f := flag.NewFlagSet("runpod-workers "+o.command, flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.endpoint, "endpoint", os.Getenv("RUNPOD_ENDPOINT_ID"), "the endpoint's `id`")
	f.StringVar(&o.url, "url", "", "the control plane's base `URL`")
	least, most := -1, -1
	switch o.command {
	case "list":
	case "set":
		f.IntVar(&least, "min", -1, "minimum `workers`; -1 leaves it")
		f.IntVar(&most, "max", -1, "maximum `workers`; -1 leaves it")
	case "hold":
		f.IntVar(&o.n, "n", 0, "the minimum of `workers` to hold")
		f.DurationVar(&o.span, "for", 0, "how long, such as 20m")
	case "release":
		f.BoolVar(&o.all, "all", false, "end holds of living processes too")
	default:
		return nil, fmt.Errorf("%q: want list, set, hold or release", o.command)
	}
	if err := f.Parse(args[1:]); err != nil {
		return nil, err
	}
	if least >= 0 {
		o.change.MinWorkers = &least
	}
	if most >= 0 {
		o.change.MaxWorkers = &most
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: unexpected; flags begin with a dash", rest[0])
	case o.endpoint == "":
		return fmt.Errorf("which endpoint? Set RUNPOD_ENDPOINT_ID or give -endpoint")
	case o.command == "set" && o.change == control.Change{}:
		return fmt.Errorf("set: give -min, -max or both")
	case o.command == "hold" && (o.n < 1 || o.span <= 0):
		return fmt.Errorf("hold: give -n (1 or more workers) and -for (how long)")
	}
	return nil
}

func (o *options) control() []control.Option {
	if o.url == "" {
		return nil
	}
	return []control.Option{control.WithURL(o.url)}
}
