package runpodtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
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
	gate        *gate
	mux         *http.ServeMux

	mu     sync.Mutex
	quotas [2]quota
	served int
}

// hourly is how many minutes' worth of requests an hour allows. The docs show
// that there is a quota by the hour, not which: inferred.
const hourly = 20

func newControlPlane(s *Server) *controlPlane {
	p := &controlPlane{
		cfg: s.cfg, apiKey: s.APIKey, id: s.EndpointID,
		balancer: s.balancer, ledger: s.ledger, faults: s.faults, mux: http.NewServeMux(),
		quotas: [2]quota{
			{name: "minute", limit: s.cfg.ControlPerMinute, window: time.Minute},
			{name: "hour", limit: hourly * s.cfg.ControlPerMinute, window: time.Hour},
		},
	}
	p.mux.HandleFunc("GET /v2/serverless/{id}", p.get)
	p.mux.HandleFunc("PATCH /v2/serverless/{id}", p.patch)
	p.mux.HandleFunc("GET /v2/serverless/{id}/workers", p.workers)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "no such route: "+r.Method+" "+r.URL.Path)
	})
	return p
}

// ServeHTTP takes a request past the faults, the key and the quotas.
func (p *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.served++
	p.mu.Unlock()
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
	case !p.admit(w):
		writeProblem(w, http.StatusTooManyRequests, "rate limit exceeded")
	default:
		p.mux.ServeHTTP(w, r)
	}
}

// count is how many requests there were.
func (p *controlPlane) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// found reports whether the request names this endpoint, and answers if not.
func (p *controlPlane) found(w http.ResponseWriter, r *http.Request) bool {
	if r.PathValue("id") == p.id {
		return true
	}
	writeProblem(w, http.StatusNotFound, "serverless endpoint not found")
	return false
}

// quota is so many requests in a window, which begins with its first one.
type quota struct {
	name   string
	limit  int
	window time.Duration
	used   int
	until  time.Time
}

// admit counts a request against the quotas and writes their headers. Times in
// them are whole seconds of the client's time.
func (p *controlPlane) admit(w http.ResponseWriter) (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := time.Now(), 0
	var state, policy []string
	for i := range p.quotas {
		q := &p.quotas[i]
		if !now.Before(q.until) {
			q.used, q.until = 0, now.Add(p.cfg.real(q.window))
		}
		q.used++
		left := int((q.until.Sub(now) + time.Second - 1) / time.Second)
		if q.used > q.limit {
			wait = max(wait, left)
		}
		state = append(state, fmt.Sprintf("%q;r=%d;t=%d", q.name, max(0, q.limit-q.used), left))
		policy = append(policy, fmt.Sprintf("%q;q=%d;w=%d", q.name, q.limit, int(q.window.Seconds())))
	}
	w.Header().Set("RateLimit", strings.Join(state, ", "))
	w.Header().Set("RateLimit-Policy", strings.Join(policy, ", "))
	if wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(wait))
	}
	return wait == 0
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
		writeJSON(w, http.StatusOK, "application/json", p.describe())
	}
}

func (p *controlPlane) describe() (e endpointJSON) {
	e.ID, e.Name, e.Type = p.id, "twin", "LOAD_BALANCER"
	if p.cfg.QueueBased {
		e.Type = "QUEUE"
	}
	e.Request.Base, e.Request.Health = p.endpointURL, p.endpointURL+"/health"
	b := p.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	e.Workers = boundsJSON{b.min, b.max, int(b.idleTimeout / time.Second)}
	e.Scaling = scalingJSON{Type: b.scalerType.String()}
	if b.scalerType == RequestCount {
		e.Scaling.RequestCount = b.scalerValue
	} else {
		e.Scaling.QueueDelay = b.scalerValue
	}
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
		writeJSON(w, http.StatusOK, "application/json", p.describe())
	}
}

type badPatch struct{ detail string }

func (e *badPatch) Error() string { return e.detail }

// apply changes the balancer's settings, all or none. Its caller holds the lock.
func (c patchJSON) apply(b *balancer) error {
	minWorkers, maxWorkers, idle, value := b.min, b.max, int(b.idleTimeout/time.Second), b.scalerValue
	take := func(to *int, from *int) {
		if from != nil {
			*to = *from
		}
	}
	if c.Workers != nil {
		take(&minWorkers, c.Workers.Min)
		take(&maxWorkers, c.Workers.Max)
		take(&idle, c.Workers.IdleTimeout)
	}
	if c.Scaling != nil {
		take(&value, c.Scaling.RequestCount)
	}
	switch {
	case minWorkers < 0 || maxWorkers < minWorkers:
		return &badPatch{fmt.Sprintf("workers.min %d, workers.max %d: want 0 <= min <= max", minWorkers, maxWorkers)}
	case idle < 1 || idle > 3600:
		return &badPatch{fmt.Sprintf("workers.idleTimeout %d: want 1 to 3600", idle)}
	case value < 1:
		return &badPatch{fmt.Sprintf("scaling.requestCount %d: want 1 or more", value)}
	}
	b.min, b.max, b.scalerValue = minWorkers, maxWorkers, value
	if c.Workers != nil && c.Workers.IdleTimeout != nil {
		b.idleTimeout = time.Duration(idle) * time.Second
	}
	return nil
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
	b := p.balancer
	b.mu.Lock()
	for _, one := range b.workers {
		list.Workers = append(list.Workers, p.show(one))
	}
	b.mu.Unlock()
	for _, one := range list.Workers {
		list.Summary[strings.ToLower(one.Status)]++
	}
	list.Summary["total"] = len(list.Workers)
	writeJSON(w, http.StatusOK, "application/json", list)
}

// show describes one worker. The caller holds the balancer's lock.
func (p *controlPlane) show(w *worker) workerJSON {
	out := workerJSON{ID: w.ID, Status: w.status(), GPUs: 1, GPUType: "NVIDIA GeForce RTX 4090", DataCenter: region}
	if w.phase != throttled {
		var begun time.Duration
		p.ledger.note(func() { begun = w.life.Begun })
		at := p.ledger.start.Add(p.cfg.real(begun))
		out.StartedAt, out.Uptime = &at, int(p.cfg.service(time.Since(at)).Seconds())
	}
	return out
}

func (w *worker) status() string {
	switch {
	case w.phase == throttled:
		return "THROTTLED"
	case w.phase == starting:
		return "INITIALIZING"
	case w.unhealthy || w.unwell:
		return "UNHEALTHY"
	case w.phase == busy:
		return "RUNNING"
	}
	return "IDLE"
}
