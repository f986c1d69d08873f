package runpod

import "context"

// AttemptInfo identifies the attempt that an [Observer] is called for.
type AttemptInfo struct {
	Op     string // the call's method and path, without the query
	Number int    // the attempt's number within the call, from 1
}

// Observer is called for every attempt of every call, for tracing and metrics.
// Functions that are nil are skipped. They run on the call's goroutine, before
// it goes on, and for several calls at the same time: they must be safe for
// concurrent use and should return quickly. Add one with [WithObserver].
type Observer struct {
	// AttemptStart is called when an attempt has its place in flight and is
	// about to be sent. The attempt is sent with the context that it returns,
	// which must be derived from ctx; a tracer starts its span here.
	AttemptStart func(ctx context.Context, info AttemptInfo) context.Context
	// AttemptEnd is called when the attempt is over and its verdict is known.
	// Its ctx is the one that this observer's AttemptStart returned.
	AttemptEnd func(ctx context.Context, info AttemptInfo, attempt Attempt)
}

// observers are all of a Client's, in the order in which they were given.
type observers []Observer

// attemptStart returns the context that each observer has made of the one
// before. The attempt is sent with the last.
func (all observers) attemptStart(ctx context.Context, info AttemptInfo) []context.Context {
	seen := make([]context.Context, len(all))
	for i, o := range all {
		if o.AttemptStart != nil {
			ctx = o.AttemptStart(ctx, info)
		}
		seen[i] = ctx
	}
	return seen
}

// attemptEnd calls the observers in reverse order, each with its own context.
func (all observers) attemptEnd(seen []context.Context, info AttemptInfo, attempt Attempt) {
	for i := len(all) - 1; i >= 0; i-- {
		if end := all[i].AttemptEnd; end != nil {
			end(seen[i], info, attempt)
		}
	}
}
