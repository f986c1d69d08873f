package queue

import (
	"context"

	"github.com/gpuburst/runpod-go"
)

// Client sends jobs to one queue-based endpoint. It is safe for concurrent use
// by any number of goroutines; make one for each endpoint and keep it. Close it
// when done.
type Client struct{ api *api }

// New returns a Client for a queue-based endpoint. Most callers pass the
// endpoint's id: its job API is at https://api.runpod.ai/v2/ID (Runpod docs).
// The URL of a job API is taken too, such as that of a simulated service. If
// idOrURL is "", New takes the URL in RUNPOD_JOBS_URL, or else the id in
// RUNPOD_ENDPOINT_ID.
//
// The API key comes from [runpod.WithAPIKey] or RUNPOD_API_KEY. The other
// options of package runpod mean here what they mean there: the retry policy,
// the logger, classifiers, observers, transports. What concerns workers of
// load-balancing endpoints and the volume has no effect, nor has
// [runpod.WithEndpoint]. [runpod.WithMaxInFlight] bounds all calls of the Client
// together; without it the service's limits do, which are kept for each kind of
// call.
//
// New sends nothing. Its error is a *runpod.Error whose Field names what was
// refused.
func New(idOrURL string, opts ...runpod.Option) (*Client, error) {
	base, err := address(idOrURL)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(base, opts)
	if err != nil {
		return nil, err
	}
	return &Client{api}, nil
}

// inside returns what is behind q, nil for a Client that New has not made.
func (q *Client) inside() *api {
	if q == nil {
		return nil
	}
	return q.api
}

// Health asks how the endpoint's queue and workers are. It starts no worker, and
// answers for load-balancing endpoints too.
func (q *Client) Health(ctx context.Context) (Health, error) { return q.inside().health(ctx) }

// PurgeQueue removes every job that waits in the endpoint's queue, whoever sent
// it, and returns how many there were. Jobs in progress go on. The service takes
// two of these calls in 10 s; further ones wait for their turn.
func (q *Client) PurgeQueue(ctx context.Context) (removed int, err error) {
	return q.inside().purge(ctx)
}

// Stats returns what the Client has sent so far. Every look at a job is a call;
// a job that failed is no failed call. The fields about volumes, holds and
// warm-up are zero.
func (q *Client) Stats() runpod.Stats {
	if q.inside() == nil {
		return runpod.Stats{}
	}
	return q.api.calls.Stats()
}

// Close refuses new calls, ends those in progress and those who wait for a job
// with [runpod.ErrClosed], and returns when all have returned. The jobs go on.
// It may be called again.
func (q *Client) Close() error {
	if q.inside() == nil {
		return nil
	}
	return q.api.close()
}
