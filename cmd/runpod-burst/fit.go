package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/gpuburst/runpod-go/internal/burst"
	"github.com/gpuburst/runpod-go/internal/burst/fit"
)

const fitUsage = `runpod-burst fit [-o endpoint.json] FILE...

Finds the simulated endpoint that explains the records of bursts (-jsonl), live or
not, and says what could not be known. All files are taken to be of one endpoint.
The file that it writes is for runpod-burst plan, for -config and for
runpodtest.ReadConfig.

`

// fitEndpoint is the command fit.
func fitEndpoint(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("runpod-burst fit", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	to := f.String("o", "", "write the endpoint to this `file`; default: print it")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, fitUsage)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return exitDone
	case err != nil:
		return fail(stderr, fmt.Errorf("fit: %w", err), exitUsage)
	case f.NArg() == 0:
		return fail(stderr, errors.New("fit: name a file of records, as -jsonl writes them"), exitUsage)
	}
	var logs []*burst.Log
	for _, name := range f.Args() {
		more, err := read(name)
		if err != nil {
			return fail(stderr, fmt.Errorf("fit: %w", err), exitUsage)
		}
		logs = append(logs, more...)
	}
	found, err := fit.New(logs)
	if err != nil {
		return fail(stderr, fmt.Errorf("fit: %w", err), exitUsage)
	}
	if err := found.Print(stdout); err != nil {
		return fail(stderr, err, exitLost)
	}
	if *to == "" {
		fmt.Fprintln(stdout)
		err = found.Write(stdout)
	} else if err = writeWhole(*to, found.Write); err == nil {
		fmt.Fprintf(stdout, "\n%s is written.\n", *to)
	} else {
		return fail(stderr, fmt.Errorf("fit: -o: %w", err), exitUsage)
	}
	if err != nil {
		return fail(stderr, err, exitLost)
	}
	return exitDone
}
