package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// settings is what the flags say.
type settings struct {
	requests, concurrency int
	seed                  uint64
	inputs, out, json     string
	naive, live           bool
	warm                  int
	album                 album // what prepare finds in inputs
}

// errHelp: the usage was asked for and printed.
var errHelp = flag.ErrHelp

// parseFlags reads the command line; what is wrong with it names the flag.
func parseFlags(args []string, usage io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("burst", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&s.requests, "requests", 30, "how many jobs the burst has")
	f.IntVar(&s.concurrency, "concurrency", 15, "how many of them are at the endpoint at once")
	f.Uint64Var(&s.seed, "seed", 1, "the simulated endpoint's cold starts and working times")
	f.StringVar(&s.inputs, "inputs", "", "`folder` of your own JPEGs, in person/ and garment/ or side by side; default: the shipped photographs")
	f.StringVar(&s.out, "out", "", "`folder` for the resulting pictures; default: a new temporary one")
	f.BoolVar(&s.naive, "naive", true, "first run the burst through a plain client, for contrast; with -live or -warm only if this is given")
	f.StringVar(&s.json, "json", "", "`file` for what is printed, machine-readable")
	f.IntVar(&s.warm, "warm", 0, "`workers` to wake while the photographs are uploading, on a slow line of 10 s a photograph; the burst runs without and with it, with -live only with it")
	f.BoolVar(&s.live, "live", false, "use the endpoint that the RUNPOD_ variables name (it costs money); default: simulate one in this process")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		f.SetOutput(usage)
		f.Usage()
		return s, errHelp
	} else if err != nil {
		return s, err
	}
	if (s.live || s.warm > 0) && !given(f, "naive") {
		s.naive = false
	}
	return s, s.check(f.Args())
}

// given reports whether the flag stood on the command line.
func given(f *flag.FlagSet, name string) (found bool) {
	f.Visit(func(one *flag.Flag) { found = found || one.Name == name })
	return found
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: there are flags only, no arguments (-h lists them)", rest[0])
	case s.requests < 1 || s.requests > 100_000:
		return fmt.Errorf("-requests %d: want 1 to 100000", s.requests)
	case s.warm < 0 || s.warm > 1000:
		return fmt.Errorf("-warm %d: want 0 to 1000", s.warm)
	case s.concurrency < 1 || s.concurrency > 10_000:
		return fmt.Errorf("-concurrency %d: want 1 to 10000", s.concurrency)
	}
	return nil
}

// prepare makes what the burst needs before anything is sent: its inputs, the
// folder for its pictures, a JSON file that can be written, for -live a whole
// environment.
func (s *settings) prepare() (err error) {
	if s.live {
		if _, err := s.target(); err != nil {
			return err
		}
	}
	if s.album, err = openAlbum(s.inputs); err != nil {
		return err
	}
	if s.json != "" {
		f, err := os.OpenFile(s.json, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("-json: %w", err)
		}
		f.Close()
	}
	if s.out == "" {
		s.out, err = os.MkdirTemp("", "runpod-burst-")
		return err
	}
	if err = os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	return nil
}
