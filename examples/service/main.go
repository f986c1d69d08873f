// Service is a web service on an endpoint that scales from zero: people send two
// photographs, watch what becomes of their job, and get a picture. The endpoint is
// simulated, in this process, so neither a key nor an account is needed:
//
//	go run ./examples/service
//
// With -live the service uses the endpoint that the RUNPOD_ variables name. It asks
// nobody who they are: before others can reach it, put your own login in front.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
)

type config struct {
	addr   string
	live   bool
	speed  float64
	places int
	grace  time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 means a free one")
	flag.BoolVar(&c.live, "live", false, "use the endpoint that the RUNPOD_ variables name")
	flag.Float64Var(&c.speed, "speed", 10, "how many times as fast as the service the simulated endpoint is")
	flag.IntVar(&c.places, "jobs", 32, "`number` of jobs taken at once; above it requests are answered with 429")
	flag.DurationVar(&c.grace, "grace", 20*time.Minute, "how long jobs may take to end after SIGTERM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then until the jobs have ended.
func (c config) run(ctx context.Context) error {
	if c.places < 1 {
		return errors.New("-jobs: want 1 at least")
	}
	opts, end, err := c.endpoint()
	if err != nil {
		return err
	}
	defer end()
	s, err := newService(c.places, append(opts, runpod.WithLogger(slog.Default()))...)
	if err != nil {
		return err
	}
	defer s.client.Close()
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	server := s.server()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	go s.sweep(ctx)
	fmt.Printf("Try it on at http://%s\n", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("stopping: no further job is taken", "running", s.running(), "grace", c.grace)
	deadline, cancel := context.WithTimeout(context.Background(), c.grace)
	defer cancel()
	return s.shutdown(deadline, server)
}

// endpoint returns the options that name the endpoint, and what ends it.
func (c config) endpoint() (opts []runpod.Option, end func(), err error) {
	if !c.live {
		return simulate(c.speed)
	}
	if id := os.Getenv("RUNPOD_ENDPOINT_ID"); id != "" { // without it /readyz knows nothing, and says so
		plane, err := control.New()
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, runpod.WithControl(plane.For(id)))
	}
	return opts, func() {}, nil
}

// shutdown takes no more work, lets the jobs end, and then closes everything.
// While jobs run, their states and results are still served: a page that watches
// gets its picture from here. After it, any process on the same volume serves them.
func (s *service) shutdown(ctx context.Context, server *http.Server) error {
	s.close()
	select {
	case <-s.none:
	case <-ctx.Done(): // the Client's Shutdown cuts off what is left, and says so
	}
	cut := s.client.Shutdown(ctx)
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(cut, server.Shutdown(last))
}
