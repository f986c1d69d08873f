package runpodtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// controlPlane is the part of REST v2 that is about one endpoint (Runpod docs):
//
//	GET   /v2/serverless/{id}
//	PATCH /v2/serverless/{id}
//	GET   /v2/serverless/{id}/workers
//
// What a PATCH changes reaches the autoscaler at once.
type controlPlane struct {
	cfg         *Config
	apiKey, id  string
	endpointURL string
	balancer    *balancer
	ledger      *ledger
	faults      *faultList
	quotas      *quotas
	mux         *http.ServeMux
	served      atomic.Int64
}

// route registers the calls.
func (p *controlPlane) route() {
	p.mux = http.NewServeMux()
	p.mux.HandleFunc("GET /v2/serverless/{id}", p.get)
	p.mux.HandleFunc("PATCH /v2/serverless/{id}", p.patch)
	p.mux.HandleFunc("GET /v2/serverless/{id}/workers", p.workers)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "no such route: "+r.Method+" "+r.URL.Path)
	})
}

// ServeHTTP takes a request past the faults, the key and the quotas.
func (p *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.served.Add(1)
	conn := connOf(r.Context())
	act := p.faults.forRequest(OnControl, r, r.URL.Path)
	w = act.shape(w, r.Context(), conn, p.cfg.Speed)
	if !sleep(r.Context(), p.cfg.real(act.delay)) {
		return
	}
	switch act.at {
	case atArrival, atWorker:
		act.perform(w, conn)
		return
	case atRead:
		io.Copy(io.Discard, r.Body)
		abort(conn)
	case afterWork:
		p.answer(discard{header: http.Header{}}, r)
		act.perform(w, conn)
		return
	}
	p.answer(w, r)
}

func (p *controlPlane) answer(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok || token == "":
		writeProblem(w, http.StatusUnauthorized, "no token provided")
	case token != p.apiKey:
		writeProblem(w, http.StatusUnauthorized, "invalid api key")
	case !p.quotas.admit(w.Header()):
		writeProblem(w, http.StatusTooManyRequests, "rate limit exceeded")
	default:
		p.mux.ServeHTTP(w, r)
	}
}

// found reports whether the request names this endpoint, and answers if not.
func (p *controlPlane) found(w http.ResponseWriter, r *http.Request) bool {
	if r.PathValue("id") == p.id {
		return true
	}
	writeProblem(w, http.StatusNotFound, "serverless endpoint not found")
	return false
}

// endpointJSON is an endpoint as the control plane shows it.
type endpointJSON struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Request struct {
		Base   string `json:"base"`
		Health string `json:"health"`
	} `json:"requestUrls"`
	Workers boundsJSON  `json:"workers"`
	Scaling scalingJSON `json:"scaling"`

	DataCenters []string `json:"dataCenterIds"`
	Volumes     []string `json:"networkVolumes"`
}

type boundsJSON struct {
	Min         int `json:"min"`
	Max         int `json:"max"`
	IdleTimeout int `json:"idleTimeout"` // seconds
}

type scalingJSON struct {
	Type         string `json:"type"`
	RequestCount int    `json:"requestCount,omitempty"`
	QueueDelay   int    `json:"queueDelay,omitempty"`
}

func (p *controlPlane) get(w http.ResponseWriter, r *http.Request) {
	if p.found(w, r) {
		writeOK(w, p.describe(r))
	}
}

// describe is the endpoint as the control plane shows it. Who came by the live
// service's name, through a proxy, is shown the live service's addresses.
func (p *controlPlane) describe(r *http.Request) (e endpointJSON) {
	e.ID, e.Name, e.Type = p.id, "twin", "LOAD_BALANCER"
	if p.cfg.QueueBased {
		e.Type = "QUEUE"
	}
	e.DataCenters, e.Volumes = p.cfg.DataCenters, p.cfg.NetworkVolumes
	base := p.endpointURL
	if r.Host == "api.runpod.io" {
		base = "https://" + p.id + ".api.runpod.ai"
	}
	e.Request.Base, e.Request.Health = base, base+"/health"
	p.balancer.view(func(set settings, _ *crew) {
		e.Workers = boundsJSON{set.min, set.max, int(set.idleTimeout / time.Second)}
		e.Scaling = scalingJSON{Type: set.scalerType.String()}
		if set.scalerType == RequestCount {
			e.Scaling.RequestCount = set.scalerValue
		} else {
			e.Scaling.QueueDelay = set.scalerValue
		}
	})
	return e
}

// patchJSON is what a PATCH may change here; absent fields stay as they are.
type patchJSON struct {
	Workers *struct {
		Min         *int `json:"min"`
		Max         *int `json:"max"`
		IdleTimeout *int `json:"idleTimeout"`
	} `json:"workers"`
	Scaling *struct {
		RequestCount *int `json:"requestCount"`
	} `json:"scaling"`
}

func (p *controlPlane) patch(w http.ResponseWriter, r *http.Request) {
	if !p.found(w, r) {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		abort(connOf(r.Context()))
	}
	var change patchJSON
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&change); err != nil {
		unprocessable(w, strings.TrimPrefix(err.Error(), "json: "))
		return
	}
	var bad *badPatch
	err = p.balancer.change(change.apply)
	switch {
	case errors.As(err, &bad):
		unprocessable(w, bad.detail)
	case err != nil: // the server is closing
		abort(connOf(r.Context()))
	default:
		writeOK(w, p.describe(r))
	}
}

type badPatch struct{ detail string }

func (e *badPatch) Error() string { return e.detail }

// apply changes the settings, or says why not.
func (c patchJSON) apply(set *settings) error {
	idle := int(set.idleTimeout / time.Second)
	if c.Workers != nil {
		take(&set.min, c.Workers.Min)
		take(&set.max, c.Workers.Max)
		take(&idle, c.Workers.IdleTimeout)
		if c.Workers.IdleTimeout != nil {
			set.idleTimeout = time.Duration(idle) * time.Second
		}
	}
	if c.Scaling != nil {
		take(&set.scalerValue, c.Scaling.RequestCount)
	}
	switch {
	case set.min < 0 || set.max < set.min:
		return &badPatch{fmt.Sprintf("workers.min %d, workers.max %d: want 0 <= min <= max", set.min, set.max)}
	case idle < 1 || idle > 3600:
		return &badPatch{fmt.Sprintf("workers.idleTimeout %d: want 1 to 3600", idle)}
	case set.scalerValue < 1:
		return &badPatch{fmt.Sprintf("scaling.requestCount %d: want 1 or more", set.scalerValue)}
	}
	return nil
}

// take sets what a PATCH names.
func take(to, from *int) {
	if from != nil {
		*to = *from
	}
}

// unprocessable answers 422 as a problem with a list of what is wrong.
func unprocessable(w http.ResponseWriter, detail string) {
	const status = http.StatusUnprocessableEntity
	writeJSON(w, status, "application/problem+json", map[string]any{
		"title": http.StatusText(status), "status": status, "detail": "validation failed",
		"errors": []map[string]string{{"message": detail}},
	})
}

// workersJSON is the workers as the control plane lists them.
type workersJSON struct {
	EndpointVersion int            `json:"endpointVersion"`
	Summary         map[string]int `json:"summary"`
	Workers         []workerJSON   `json:"workers"`
}

type workerJSON struct {
	ID         string     `json:"id"`
	Status     string     `json:"status"`
	IsStale    bool       `json:"isStale"`
	GPUs       int        `json:"gpuCount"`
	GPUType    string     `json:"gpuTypeId"`
	DataCenter string     `json:"dataCenterId"`
	Uptime     int        `json:"uptimeSeconds"`
	StartedAt  *time.Time `json:"startedAt"`
}

func (p *controlPlane) workers(w http.ResponseWriter, r *http.Request) {
	if !p.found(w, r) {
		return
	}
	list := workersJSON{EndpointVersion: 1, Workers: []workerJSON{}, Summary: map[string]int{
		"running": 0, "idle": 0, "initializing": 0, "throttled": 0, "unhealthy": 0,
	}}
	p.balancer.view(func(_ settings, c *crew) {
		for _, one := range c.workers {
			list.Workers = append(list.Workers, p.show(one))
		}
	})
	for _, one := range list.Workers {
		list.Summary[strings.ToLower(one.Status)]++
	}
	list.Summary["total"] = len(list.Workers)
	writeJSON(w, http.StatusOK, "application/json", list)
}

// show describes one worker. The caller holds the balancer's lock.
func (p *controlPlane) show(w *worker) workerJSON {
	out := workerJSON{ID: w.ID, Status: w.status(), GPUs: 1, GPUType: "NVIDIA GeForce RTX 4090", DataCenter: p.cfg.Region}
	if w.phase != throttled {
		var begun time.Duration
		p.ledger.note(func() { begun = w.life.Begun })
		at := p.ledger.start.Add(p.cfg.real(begun))
		out.StartedAt, out.Uptime = &at, int(p.cfg.service(time.Since(at)).Seconds())
	}
	return out
}
