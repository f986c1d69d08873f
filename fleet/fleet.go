package fleet

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	runpod "github.com/gpuburst/runpod-go"
)

// Defaults and bounds of a [Config].
const (
	defaultInFlight = 16
	defaultLease    = 20 * time.Second
	shortestLease   = time.Second
	longestLease    = time.Minute
	mostInFlight    = 10_000
)

// Config says which fleet to open. Most callers set Name and InFlight.
type Config struct {
	// Name tells fleets on one server apart: letters, digits, "-" and "_", at
	// most 64 of them. Required.
	Name string
	// InFlight is how many calls all machines together have open at most.
	// Default 16, as [runpod.WithMaxInFlight]. It counts when the fleet is made;
	// later [Fleet.SetInFlight] changes it, and Open leaves it as it is.
	InFlight int
	// Replicas is how many servers of a cluster keep the fleet's data: 1, 3 or
	// 5. Default 1. It counts when the fleet is made.
	Replicas int
	// Lease is how long a machine may be silent before it is taken for dead and
	// its jobs go elsewhere. A machine that cannot reach the server ends its
	// calls after three quarters of that. Default 20 s, from 1 s to 1 min. It
	// counts when the fleet is made.
	Lease time.Duration
	// Tracer links a job's span on its machine to the one that submitted it.
	// Default: no tracing.
	Tracer Tracer
	// Client is used by Delete to remove the uploaded inputs. Default: the one
	// last given to Submit or Work of this Fleet.
	Client *runpod.Client
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check refuses what cannot work and fills in the defaults.
func (c *Config) check() error {
	switch {
	case !validName.MatchString(c.Name):
		return fmt.Errorf("fleet: Config.Name: %q: want 1 to 64 letters, digits, - and _", c.Name)
	case c.InFlight < 0 || c.InFlight > mostInFlight:
		return fmt.Errorf("fleet: Config.InFlight: %d: want 1 to %d, or 0 for the default", c.InFlight, mostInFlight)
	case c.Replicas < 0 || c.Replicas > 5 || c.Replicas == 2 || c.Replicas == 4:
		return fmt.Errorf("fleet: Config.Replicas: %d: want 1, 3 or 5", c.Replicas)
	case c.Lease != 0 && (c.Lease < shortestLease || c.Lease > longestLease):
		return fmt.Errorf("fleet: Config.Lease: %s: want %s to %s", c.Lease, shortestLease, longestLease)
	}
	if c.InFlight == 0 {
		c.InFlight = defaultInFlight
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	return nil
}

// Fleet is a batch of jobs on a NATS server, and the door to it for this
// process. It is safe for concurrent use. Close it when done.
type Fleet struct {
	name   string
	lease  time.Duration
	tracer Tracer
	nc     *nats.Conn
	store

	life context.Context // ends with Close
	end  context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // operations that Close waits for
	client  *runpod.Client
}

// ErrClosed is the error of operations on a [Fleet] that was closed.
var ErrClosed = errors.New("fleet is closed")

// Open opens the fleet of that name on a server, and makes it if it is not
// there. It makes a connection of its own with conn's options (credentials, TLS,
// servers), one that never gives up reconnecting; conn itself is not used any
// further. Streams need NATS server 2.10 or later with JetStream.
func Open(ctx context.Context, conn *nats.Conn, cfg Config) (*Fleet, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if conn == nil {
		return nil, errors.New("fleet: the connection is nil")
	}
	nc, err := reconnecting(conn).Connect()
	if err != nil {
		return nil, fmt.Errorf("fleet: connect: %w", err)
	}
	f := &Fleet{name: cfg.Name, tracer: cfg.Tracer, nc: nc, client: cfg.Client}
	f.life, f.end = context.WithCancelCause(context.Background())
	if err := f.open(ctx, cfg); err != nil {
		nc.Close()
		return nil, fmt.Errorf("fleet %s: open: %w", cfg.Name, err)
	}
	return f, nil
}

// reconnecting is conn's options for a connection that outlives outages. What is
// published during one fails at once and is published again by who waits for its
// acknowledgement, instead of lying in a buffer.
func reconnecting(conn *nats.Conn) nats.Options {
	o := conn.Opts
	o.AllowReconnect, o.MaxReconnect, o.RetryOnFailedConnect = true, -1, false
	o.ReconnectWait, o.ReconnectJitter, o.ReconnectJitterTLS = 250*time.Millisecond, 250*time.Millisecond, 250*time.Millisecond
	o.ReconnectBufSize = -1
	o.IgnoreAuthErrorAbort = true
	o.PingInterval, o.MaxPingsOut = 5*time.Second, 2
	o.ClosedCB, o.DisconnectedCB, o.DisconnectedErrCB, o.ConnectedCB, o.ReconnectedCB = nil, nil, nil, nil, nil
	o.DiscoveredServersCB, o.AsyncErrorCB, o.ReconnectErrCB, o.LameDuckModeHandler = nil, func(*nats.Conn, *nats.Subscription, error) {}, nil, nil
	return o
}

func (f *Fleet) open(ctx context.Context, cfg Config) error {
	js, err := jetstream.New(f.nc, jetstream.WithPublishAsyncMaxPending(submitWindow), jetstream.WithPublishAsyncTimeout(30*time.Second))
	if err != nil {
		return err
	}
	if f.store, err = openStore(ctx, js, cfg); err != nil {
		return err
	}
	lease, err := f.book.setting(ctx, "lease", cfg.Lease.String())
	if err != nil {
		return err
	}
	if f.lease, err = time.ParseDuration(lease); err != nil || f.lease < shortestLease || f.lease > longestLease {
		return fmt.Errorf("its lease is %q: want %s to %s", lease, shortestLease, longestLease)
	}
	if _, err := f.book.setting(ctx, "limit", strconv.Itoa(cfg.InFlight)); err != nil {
		return err
	}
	return f.openQueue(ctx, f.lease)
}

// begin starts an operation that ends with ctx and with Close, which waits for
// done.
func (f *Fleet) begin(ctx context.Context) (op context.Context, done func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, ErrClosed
	}
	f.running.Add(1)
	op, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.life, func() { cancel(ErrClosed) })
	return op, func() { stop(); cancel(nil); f.running.Done() }, nil
}

// remember keeps the client for Delete.
func (f *Fleet) remember(c *runpod.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c != nil {
		f.client = c
	}
}

// Close ends every operation of this Fleet and its connection, and returns when
// they have ended. A Work that is under way ends its calls: idempotent jobs go
// to other machines, the others end as failures that say they may have run. End
// Work's context instead, and wait for it, to finish what runs. Nothing on the
// server is removed. Closing twice is fine.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end(ErrClosed)
	f.running.Wait()
	f.nc.Close()
	return nil
}

// Delete removes the fleet from the server, its jobs and results with it, and
// from the volume the inputs that were uploaded and the answers that were too
// long for a message. What jobs have written themselves stays. It refuses while
// a machine works: end Work first. See [Config.Client] for the volume.
func (f *Fleet) Delete(ctx context.Context) error {
	op, done, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := f.deleteAll(op); err != nil {
		return fmt.Errorf("fleet %s: delete: %w", f.name, err)
	}
	return nil
}

func (f *Fleet) deleteAll(ctx context.Context) error {
	st, err := f.status(ctx)
	if err != nil {
		return err
	}
	if len(st.Machines) > 0 {
		return fmt.Errorf("machine %s works for it: end that first", st.Machines[0].Name)
	}
	uploads, err := f.book.has(ctx, "upload.>")
	if err != nil {
		return err
	}
	if uploads {
		f.mu.Lock()
		client := f.client
		f.mu.Unlock()
		if client == nil {
			return errors.New("Config.Client: its uploaded files lie on the volume: name the client that may remove them")
		}
		if _, err := client.DeleteAll(ctx, f.folder()); err != nil {
			return err
		}
	}
	return f.store.delete(ctx)
}

// folder is where the fleet keeps objects on the volume.
func (f *Fleet) folder() string { return "fleet/" + f.name + "/" }

// Name is the fleet's name.
func (f *Fleet) Name() string { return f.name }
