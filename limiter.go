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
