package runpod

import "context"

// AttemptInfo says which attempt an observer is told of.
type AttemptInfo struct {
	Op     string // the call: its method and path
	Number int    // of the attempt within the call, from 1
}

// Observer is told of every attempt of every call, with its verdict and the
// reason. Functions that are nil are skipped. They are called on the call's
// goroutine, several at a time, and should be quick.
type Observer struct {
	// AttemptStart is called when an attempt has its place and is about to be
	// sent. The context it returns, which must come from ctx, is the attempt's:
	// a tracer puts its span there.
	AttemptStart func(ctx context.Context, info AttemptInfo) context.Context
	// AttemptEnd is called when the attempt is judged, with AttemptStart's
	// context.
	AttemptEnd func(ctx context.Context, info AttemptInfo, attempt Attempt)
}
