package runpod

import "context"

// Limiter bounds requests in flight beside the Client's own bound: for a limit
// that several Clients or processes share. See [WithLimiter]. It must be safe for
// concurrent use.
type Limiter interface {
	// Acquire waits until one more request may be sent. Release is called once,
	// when the request's place is given back; nil means that there is nothing to
	// call. An error ends the call, which is not retried for it. Acquire must
	// return when ctx ends, which closing the Client does too.
	Acquire(ctx context.Context) (release func(), err error)
}

// share waits for a limit that is shared with others, for an attempt that has
// its place already.
func (a *attempt) share(ctx context.Context, life *lifetime, shared Limiter) error {
	ctx, cancel := life.bind(ctx)
	defer cancel()
	release, err := shared.Acquire(ctx)
	if err == nil {
		a.release = release
	}
	return err
}
