// Package control is a typed client of Runpod's control plane, REST v2. It reads
// an endpoint, changes its worker bounds and scaling, and lists its workers.
//
// Its changes cost money, so a program imports it by name, and package runpod
// makes none by itself. Most callers need only [Client.For], whose result
// runpod.WithControl takes:
//
//	plane, err := control.New()
//	client, err := runpod.New(runpod.WithControl(plane.For("abc123")))
//	hold, err := client.HoldWorkers(ctx, 3)
//
// The control plane has neither compare-and-set nor expiry: the last writer
// wins, and a raised minimum stays raised, and billed, until somebody lowers it.
// That is why package runpod records its holds; see runpod's Client.HoldWorkers
// for the place, and the command runpod-workers for what an operator does.
//
// Errors are *runpod.Error. Requests are retried after a 5xx, a 429 or a lost
// connection, up to 5 attempts. That does no harm, because a change sets values
// and adds nothing to them. Retry-After is obeyed. If the RateLimit header says
// that no requests are left, the next one waits until some are. If either would
// take longer than runpod.RetryPolicy.MaxRetryAfter, the request fails with
// runpod.ErrRateLimited.
package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// Client sends requests to the control plane. It is safe for concurrent use; make
// one and keep it. Close it when done.
type Client struct {
	config
	limits limits
}

// Endpoint is a serverless endpoint.
type Endpoint struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Type        Type        `json:"type"`
	RequestURLs RequestURLs `json:"requestUrls"`
	Workers     Workers     `json:"workers"`
	Scaling     Scaling     `json:"scaling"`
	// DataCenterIDs are the data centers that workers may start in; empty if the
	// service chooses.
	DataCenterIDs []string `json:"dataCenterIds"`
	// NetworkVolumes are the ids of the network volumes that workers may mount. A
	// worker mounts the one in its own data center; the service does not copy
	// between them (Runpod docs).
	NetworkVolumes []string `json:"networkVolumes"`
}

// Type is an endpoint's kind.
type Type string

// The kinds of endpoint (Runpod docs, REST v2).
const (
	LoadBalancer Type = "LOAD_BALANCER"
	Queue        Type = "QUEUE"
)

// RequestURLs are where an endpoint is called.
type RequestURLs struct {
	Base   string `json:"base"`
	Health string `json:"health"`
}

// Workers bounds an endpoint's workers. IdleTimeout is in seconds: how long a
// worker stays after its last request.
type Workers struct {
	Min         int `json:"min"`
	Max         int `json:"max"`
	IdleTimeout int `json:"idleTimeout"`
}

// Scaling is an endpoint's scaling rule. Under REQUEST_COUNT, the rule of
// load-balancing endpoints, so many requests ask for one worker.
type Scaling struct {
	Type         string `json:"type"`
	RequestCount int    `json:"requestCount"`
}

// Change says what to change about an endpoint. What a nil field stands for stays
// as it is.
type Change struct {
	MinWorkers, MaxWorkers *int
	IdleTimeout            *int // seconds
	RequestCount           *int // requests that ask for one worker
}

// Worker is one worker of an endpoint.
type Worker struct {
	ID            string              `json:"id"`
	Status        runpod.WorkerStatus `json:"status"`
	IsStale       bool                `json:"isStale"` // of an older version of the endpoint
	GPUCount      int                 `json:"gpuCount"`
	GPUTypeID     string              `json:"gpuTypeId"`
	DataCenterID  string              `json:"dataCenterId"`
	UptimeSeconds int64               `json:"uptimeSeconds"`
	StartedAt     time.Time           `json:"startedAt"`
}

// New makes a Client. It sends nothing. The error is a *runpod.Error whose Field
// names the option that is wrong.
func New(opts ...Option) (*Client, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return &Client{config: *cfg}, nil
}

// Close closes idle connections.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Endpoint returns an endpoint. The error matches runpod.ErrNotFound if there is
// none of that id.
func (c *Client) Endpoint(ctx context.Context, id string) (e Endpoint, err error) {
	err = c.ask(ctx, http.MethodGet, id, "", nil, &e)
	return e, err
}

// Update changes an endpoint and returns the changed one. Worker bounds and
// scaling reach the autoscaler promptly (Runpod docs). A minimum above the
// maximum and negative values are refused before anything is sent.
func (c *Client) Update(ctx context.Context, id string, change Change) (e Endpoint, err error) {
	body, err := change.body()
	if err != nil {
		return Endpoint{}, err
	}
	err = c.ask(ctx, http.MethodPatch, id, "", body, &e)
	return e, err
}

// ListWorkers lists an endpoint's workers.
func (c *Client) ListWorkers(ctx context.Context, id string) ([]Worker, error) {
	var list struct {
		Workers []Worker `json:"workers"`
	}
	err := c.ask(ctx, http.MethodGet, id, "/workers", nil, &list)
	return list.Workers, err
}

// body is the PATCH's JSON, with only what changes.
func (c Change) body() (map[string]any, error) {
	workers, scaling := map[string]int{}, map[string]int{}
	for _, f := range []struct {
		name string
		to   map[string]int
		json string
		v    *int
		min  int
	}{
		{"MinWorkers", workers, "min", c.MinWorkers, 0},
		{"MaxWorkers", workers, "max", c.MaxWorkers, 0},
		{"IdleTimeout", workers, "idleTimeout", c.IdleTimeout, 1},
		{"RequestCount", scaling, "requestCount", c.RequestCount, 1},
	} {
		switch {
		case f.v == nil:
		case *f.v < f.min:
			return nil, refuse("Change."+f.name, "%d: want %d or more", *f.v, f.min)
		default:
			f.to[f.json] = *f.v
		}
	}
	if c.MinWorkers != nil && c.MaxWorkers != nil && *c.MinWorkers > *c.MaxWorkers {
		return nil, refuse("Change.MinWorkers", "%d is above MaxWorkers, %d", *c.MinWorkers, *c.MaxWorkers)
	}
	body := map[string]any{}
	for name, part := range map[string]map[string]int{"workers": workers, "scaling": scaling} {
		if len(part) > 0 {
			body[name] = part
		}
	}
	if len(body) == 0 {
		return nil, refuse("Change", "it changes nothing")
	}
	return body, nil
}

var endpointID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// ask makes a request about an endpoint and decodes the answer.
func (c *Client) ask(ctx context.Context, method, id, rest string, in, out any) error {
	if !endpointID.MatchString(id) {
		return refuse("id", "%q is not an endpoint's id", id)
	}
	path := "/serverless/" + url.PathEscape(id) + rest
	r := &request{c: c, op: "control plane: " + method + " " + path, method: method, url: c.url.String() + path}
	return r.do(ctx, in, out)
}

func refuse(field, format string, args ...any) error {
	return &runpod.Error{Op: "control plane", Field: field, Kind: runpod.ErrBadRequest, Err: fmt.Errorf(format, args...)}
}

// bound is the control plane of one endpoint.
type bound struct {
	c  *Client
	id string
}

// For returns the control plane of one endpoint, for runpod.WithControl. It sends
// nothing, and is safe for concurrent use.
func (c *Client) For(id string) runpod.ControlPlane { return bound{c, id} }

func (b bound) Scaling(ctx context.Context) (runpod.Scaling, error) {
	e, err := b.c.Endpoint(ctx, b.id)
	return e.scaling(), err
}

func (b bound) SetMinWorkers(ctx context.Context, n int) (runpod.Scaling, error) {
	e, err := b.c.Update(ctx, b.id, Change{MinWorkers: &n})
	return e.scaling(), err
}

func (b bound) Workers(ctx context.Context) ([]runpod.WorkerState, error) {
	list, err := b.c.ListWorkers(ctx, b.id)
	states := make([]runpod.WorkerState, len(list))
	for i, w := range list {
		states[i] = runpod.WorkerState{ID: w.ID, Status: w.Status}
	}
	return states, err
}

func (e Endpoint) scaling() runpod.Scaling {
	s := runpod.Scaling{
		EndpointID: e.ID, MinWorkers: e.Workers.Min, MaxWorkers: e.Workers.Max,
		IdleTimeout:   time.Duration(e.Workers.IdleTimeout) * time.Second,
		LoadBalancing: e.Type != Queue,
		DataCenters:   e.DataCenterIDs, NetworkVolumes: e.NetworkVolumes,
	}
	if e.Scaling.Type == "REQUEST_COUNT" {
		s.RequestsPerWorker = e.Scaling.RequestCount
	}
	return s
}
