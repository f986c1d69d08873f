// Runpod-sim is an imitation of a Runpod load-balancing endpoint and its network
// volume on loopback ports, for clients in any language. It prints the
// environment that leads to it, serves until it is interrupted, then prints what
// happened. Run it with -h for its flags.
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

	"github.com/gpuburst/runpod-go/runpodtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "runpod-sim:", err)
		os.Exit(1)
	}
}

// run serves until the context ends, then prints the account.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	srv, err := runpodtest.NewServer(opts.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	if err := publish(srv, opts, stdout); err != nil {
		return err
	}
	<-ctx.Done()
	if err := srv.Close(); err != nil { // first: the account is then whole
		return err
	}
	printAccount(stdout, srv)
	return writeAccount(srv, opts.account)
}

// publish tells clients how to reach the server.
func publish(srv *runpodtest.Server, opts *options, stdout io.Writer) error {
	env := environment(srv)
	fmt.Fprintf(stdout, "# A simulated endpoint (speed %gx) and its volume, in %s\n%s", opts.speed(), srv.VolumeDir, env)
	if opts.env != "" {
		if err := os.WriteFile(opts.env, []byte(env), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "# The same is in %[1]s: . %[1]s\n", opts.env)
	}
	fmt.Fprintf(stdout, "# To the control plane it is endpoint %s: runpod-workers list -endpoint %[1]s\n", srv.EndpointID)
	fmt.Fprintln(stdout, "# Ctrl-C ends it and prints the account.")
	return nil
}

// environment is the lines to export. The keys are good for this server only.
func environment(srv *runpodtest.Server) (lines string) {
	for _, v := range [][2]string{
		{"RUNPOD_API_KEY", srv.APIKey},
		{"RUNPOD_ENDPOINT_URL", srv.EndpointURL},
		{"RUNPOD_JOBS_URL", srv.JobsURL},
		{"RUNPOD_CONTROL_URL", srv.ControlURL},
		{"RUNPOD_S3_ENDPOINT_URL", srv.S3URL},
		{"RUNPOD_S3_REGION", srv.Region},
		{"RUNPOD_S3_BUCKET_NAME", srv.Bucket},
		{"RUNPOD_S3_ACCESS_KEY_ID", srv.AccessKeyID},
		{"RUNPOD_S3_SECRET_ACCESS_KEY", srv.SecretAccessKey},
	} {
		lines += fmt.Sprintf("export %s=%s\n", v[0], v[1])
	}
	return lines
}
