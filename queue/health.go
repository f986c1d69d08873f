package queue

import (
	"context"
	"errors"
)

// Health is what the service says of an endpoint (Runpod docs; users report that
// it answers for load-balancing endpoints too, where only the workers mean
// something).
type Health struct {
	// Jobs counts the endpoint's jobs, whoever sent them.
	Jobs struct {
		Completed  int `json:"completed"`
		Failed     int `json:"failed"`
		InProgress int `json:"inProgress"`
		InQueue    int `json:"inQueue"`
		Retried    int `json:"retried"`
	} `json:"jobs"`
	// Workers counts the endpoint's workers by what they do.
	Workers struct {
		Idle         int `json:"idle"`
		Initializing int `json:"initializing"`
		Ready        int `json:"ready"`
		Running      int `json:"running"`
		Throttled    int `json:"throttled"`
		Unhealthy    int `json:"unhealthy"`
	} `json:"workers"`
}

func (a *api) health(ctx context.Context) (h Health, err error) {
	err = a.ask(ctx, a.get("/health", ""), &h)
	return h, err
}

func (a *api) purge(ctx context.Context) (int, error) {
	var out struct {
		Removed *int `json:"removed"`
	}
	c := a.post("/purge-queue", "")
	if err := a.ask(ctx, c, &out); err != nil {
		return 0, err
	}
	if out.Removed == nil {
		return 0, c.failed(nil, errors.New("the answer does not say how many jobs were removed"))
	}
	return *out.Removed, nil
}
