// Runpod-fleet runs a batch of jobs on any number of machines: it serves the
// queue, submits a manifest, works, and shows how things stand.
//
//	runpod-fleet serve -dir fleet-data
//	runpod-fleet submit jobs.jsonl
//	runpod-fleet work -slots 8
//	runpod-fleet status
//	runpod-fleet results -save out
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gpuburst/runpod-go/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The program's exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: runpod-fleet COMMAND [flags]

  serve              run the queue's server in this process, until interrupted
  submit FILE.jsonl  add the jobs of a manifest ("-": of the standard input)
  work               do jobs, until interrupted: then those that run are finished
  status             show how the fleet stands; -http shows it as a page
  results            print results as JSON lines; -save fetches them
  retry ID...        run jobs again that have failed; -failed: all of them
  cancel ID...       end jobs that wait or run
  limit N            change how many calls all machines have open at once
  drain              begin no further job, and wait for those that run
  delete             remove the fleet, its results and the uploaded inputs

runpod-fleet COMMAND -h lists a command's flags.

The environment says where the server and the endpoint are:
  RUNPOD_FLEET_URL         the server, such as nats://127.0.0.1:4222 or tls://...
  RUNPOD_FLEET_TOKEN_FILE  a file with the token that serve has made
  RUNPOD_FLEET_CREDS       or a file with NATS credentials
  RUNPOD_FLEET_CA          a file with the certificate authority for tls://
  RUNPOD_FLEET             the fleet's name, "default" without it
and RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY, RUNPOD_S3_... as for package runpod.
`

// errUsage is what was typed wrong.
var errUsage = errors.New("see runpod-fleet -h")

// command is one call of the program.
type command struct {
	flags          *flag.FlagSet
	stdin          io.Reader
	stdout, stderr io.Writer
	name           string // the fleet's
}

var commands = map[string]func(context.Context, *command, []string) error{
	"serve": serve, "submit": submit, "work": work, "status": status, "results": results,
	"retry": retry, "cancel": cancel, "limit": limit, "drain": drain, "delete": remove,
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(stdout, usage)
		return exitDone
	}
	do, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "runpod-fleet: %q is no command; %v\n", args[0], errUsage)
		return exitUsage
	}
	c := &command{flags: flag.NewFlagSet("runpod-fleet "+args[0], flag.ContinueOnError), stdin: stdin, stdout: stdout, stderr: stderr}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.name, "fleet", envOr("RUNPOD_FLEET", "default"), "name of the fleet")
	switch err := do(ctx, c, args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "runpod-fleet:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "runpod-fleet:", err)
		return exitFailed
	}
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// parse reads the flags and wants from least to most arguments behind them; -1 is
// any number.
func (c *command) parse(args []string, least, most int, what string) error {
	if err := c.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	if n := c.flags.NArg(); n < least || most >= 0 && n > most {
		return fmt.Errorf("%d arguments: want %s (%w)", n, what, errUsage)
	}
	return nil
}

// with opens the fleet for do.
func (c *command) with(ctx context.Context, inFlight int, do func(*fleet.Fleet) error) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	client, err := newClient()
	if err != nil {
		return err
	}
	defer client.Close()
	f, err := fleet.Open(ctx, conn, fleet.Config{Name: c.name, InFlight: inFlight, Client: client})
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}
