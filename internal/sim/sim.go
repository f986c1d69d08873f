// Package sim is the insides of the command runpod-sim.
package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/gpuburst/runpod-go/internal/worker"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Main runs the command and returns its exit status: 2 if it could not serve, 1
// for what went wrong at its end.
func Main(args []string, stdout, stderr io.Writer) int {
	if worker.Mind() {
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	err := run(ctx, args, stdout, stderr)
	var cannot *cannotServe
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &cannot):
		fmt.Fprintln(stderr, "runpod-sim:", err)
		return 2
	}
	fmt.Fprintln(stderr, "runpod-sim:", err)
	return 1
}

// cannotServe is an error that leaves nothing to serve.
type cannotServe struct{ error }

func (e *cannotServe) Unwrap() error { return e.error }

// simulator is a running command.
type simulator struct {
	opts    *options
	stdout  io.Writer
	stderr  io.Writer
	srv     *runpodtest.Server
	command *worker.Command // nil without -exec
	proxy   *interposer     // nil without -proxy
}

// run serves until the context ends or a worker cannot be started, then prints
// the account.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseFlags(args, stdout)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &cannotServe{err}
	}
	s := &simulator{opts: opts, stdout: stdout, stderr: &lockedWriter{to: stderr}}
	if opts.quiet {
		s.stdout = io.Discard
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := s.open(fail); err != nil {
		return &cannotServe{errors.Join(err, s.close())}
	}
	<-ctx.Done()
	err = s.close() // first: the account is then whole
	var cannot *cannotServe
	if errors.As(context.Cause(ctx), &cannot) {
		err = errors.Join(cannot, err)
	}
	s.printEnd()
	return errors.Join(err, writeAccount(s.srv, opts.account))
}

// open starts everything and says how to reach it. fail ends it all.
func (s *simulator) open(fail context.CancelCauseFunc) (err error) {
	if err := s.opts.checkFiles(); err != nil {
		return err
	}
	if s.command, err = s.opts.program(s.logs()); err != nil {
		return err
	}
	if s.command != nil {
		s.command.Fail = func(err error) { fail(&cannotServe{err}) }
	}
	if s.srv, err = runpodtest.NewServer(s.opts.cfg); err != nil {
		return s.opts.byOrigin(err)
	}
	if s.opts.proxy {
		if s.proxy, err = newInterposer(s.srv, s.opts); err != nil {
			return err
		}
	}
	if s.command != nil {
		s.command.Open(assignments(inWorkers(s.srv)))
	}
	return s.publish()
}

// logs is where the workers' output goes.
func (s *simulator) logs() io.Writer {
	if s.opts.quiet {
		return io.Discard
	}
	return s.stderr
}

// close ends everything. It may be called again.
func (s *simulator) close() (err error) {
	if s.proxy != nil {
		err = s.proxy.close()
	}
	if s.srv != nil {
		err = errors.Join(err, s.srv.Close())
		if s.command != nil {
			s.command.Wait()
		}
	}
	return err
}

// lockedWriter lets several goroutines write lines.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
