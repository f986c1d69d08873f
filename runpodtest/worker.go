package runpodtest

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// phase is what a worker is doing; it decides what it costs.
type phase uint8

const (
	throttled phase = iota // wanted, but no GPU is free: not billed
	starting
	idle
	busy
	dead
)

var (
	errCrashed = errors.New("the worker crashed")
	errStopped = errors.New("the worker was stopped")
)

// worker is one worker of the endpoint. The balancer's lock guards it, except
// what is set once before it takes requests.
type worker struct {
	Worker
	cancel context.CancelCauseFunc

	phase     phase
	since     time.Time // when the phase began, for the bill
	idleSince time.Time
	inWork    int
	served    int
	favour    float64
	unhealthy bool // never to be given anything
	unwell    bool // its health check says no
	pinned    bool // started for a request that wants just this one
	alarm     *alarm
	health    *alarm
	life      *WorkerLife

	handler      http.Handler
	loadingUntil time.Time
}

// free reports whether the worker can take a request now.
func (w *worker) free(concurrency int) bool {
	return (w.phase == idle || w.phase == busy) && !w.unhealthy && !w.unwell && w.inWork < concurrency
}

func (w *worker) candidate() candidate { return candidate{w.Number, w.served, w.favour} }

// status is the worker's state in the words of the control plane.
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

// loading reports whether the worker, though started, cannot work yet.
func (w *worker) loading() bool { return time.Now().Before(w.loadingUntil) }

// stillLoading is the 503 of a FastAPI program that is not ready.
var stillLoading = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusServiceUnavailable, "application/json",
		map[string]string{"detail": "the model is still loading"})
})

// probe asks the worker's program for its health and returns the status.
func (w *worker) probe(path string) int {
	r, err := http.NewRequestWithContext(w.Context, http.MethodGet, "http://worker"+path, nil)
	if err != nil {
		return http.StatusBadGateway
	}
	if w.loading() {
		return http.StatusServiceUnavailable
	}
	answer := &probeWriter{}
	w.handler.ServeHTTP(answer, r)
	return max(answer.status, http.StatusOK)
}

// probeWriter keeps only an answer's status.
type probeWriter struct {
	header http.Header
	status int
}

func (p *probeWriter) Header() http.Header {
	if p.header == nil {
		p.header = http.Header{}
	}
	return p.header
}

func (p *probeWriter) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return len(b), nil
}

func (p *probeWriter) WriteHeader(status int) {
	if p.status == 0 && status >= 200 {
		p.status = status
	}
}
