package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tryLimit bounds one request to the server.
const tryLimit = 5 * time.Second

// persist repeats what the server does not answer, until it does or ctx ends: a
// server may be restarting, or a cluster choosing its leader. What the server
// refuses is not repeated.
func persist(ctx context.Context, do func(ctx context.Context) error) error {
	for n := 0; ; n++ {
		try, cancel := context.WithTimeout(ctx, tryLimit)
		err := do(try)
		cancel()
		if err == nil || permanent(err) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		if wait(ctx, pause(n)) != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
	}
}

// pause is how long to wait before repetition n, from 0: 50 ms doubled each time,
// at most a second, of which the second half is drawn.
func pause(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 5), time.Second)
	return d/2 + rand.N(d/2)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// permanent reports whether trying again cannot help: the server has refused,
// or the connection was closed for good.
func permanent(err error) bool {
	switch {
	case errors.Is(err, errConflict), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload),
		errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound):
		return true
	}
	e, ok := errors.AsType[jetstream.JetStreamError](err)
	return ok && e.APIError() != nil && e.APIError().Code >= 400 && e.APIError().Code < 500 && e.APIError().Code != 408
}
