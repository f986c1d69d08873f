package runpodtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

// worker is one worker of the endpoint. The balancer's lock guards it, but for
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

// echo is the program of a worker whose Config names none.
func echo(w Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "application/json")
		json.NewEncoder(rw).Encode(map[string]any{
			"worker": w.ID, "method": r.Method, "path": r.URL.Path, "bytes": n,
		})
	})
}

// newWorker makes a worker that the autoscaler asked for. id is "" for a new
// one, or that of a stopped one that is resumed. The caller holds the lock.
func (b *balancer) newWorker(id string) *worker {
	b.hired++
	n := b.hired
	if id == "" {
		id = name(b.cfg.Seed, drawName, n, 14)
	}
	ctx, cancel := context.WithCancelCause(b.ctx)
	w := &worker{
		Worker: Worker{ID: id, Number: n, VolumeDir: b.volumeDir, Context: ctx},
		cancel: cancel,
		since:  time.Now(),
		favour: draw(b.cfg.Seed, drawPreference, n).Float64(),
		life:   &WorkerLife{Number: n, ID: id},
	}
	w.unhealthy = draw(b.cfg.Seed, drawUnhealthy, n).Float64() < b.cfg.UnhealthyRate
	w.life.Unhealthy = w.unhealthy
	b.ledger.hire(w.life)
	b.workers = append(b.workers, w)
	delete(b.stopped, id)
	return w
}

// begin gives a worker its GPU; it is ready after the cold start. The caller
// holds the lock.
func (b *balancer) begin(w *worker, coldStart time.Duration) {
	b.enter(w, starting)
	b.ledger.note(func() { w.life.Begun = b.ledger.since() })
	w.alarm = b.after(coldStart, func() { b.ready(w) })
}

// ready ends a cold start: the worker's program is made and it takes requests.
func (b *balancer) ready(w *worker) {
	handler, ok := b.program(w)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || w.phase != starting {
		return
	}
	if b.failing = !ok; b.failing {
		b.remove(w, "crashed", errCrashed)
		b.rescale()
		return
	}
	w.handler, w.alarm = handler, nil
	w.loadingUntil = time.Now().Add(b.cfg.real(b.cfg.Loading.at(b.cfg.Seed, drawLoading, w.Number)))
	w.idleSince = time.Now()
	b.enter(w, idle)
	b.ledger.note(func() { w.life.Ready = b.ledger.since() })
	b.watchHealth(w)
	b.dispatch()
	b.rescale()
}

// program makes the worker's handler; ok is false if that panicked.
func (b *balancer) program(w *worker) (h http.Handler, ok bool) {
	defer func() { ok = recover() == nil && h != nil }()
	return b.cfg.Handler(w.Worker), true
}

// enter moves a worker to another phase and books the one it leaves. The caller
// holds the lock.
func (b *balancer) enter(w *worker, next phase) {
	now := time.Now()
	spent := b.cfg.service(now.Sub(w.since))
	b.ledger.note(func() {
		switch w.phase {
		case starting:
			w.life.Starting += spent
		case idle:
			w.life.Idle += spent
		case busy:
			w.life.Busy += spent
		}
		w.life.Served = w.served
	})
	w.phase, w.since = next, now
}

// remove ends a worker. The caller holds the lock, and rescales afterwards.
func (b *balancer) remove(w *worker, end string, cause error) {
	if w.phase == dead {
		return
	}
	w.alarm.stop()
	w.health.stop()
	b.enter(w, dead)
	b.ledger.note(func() { w.life.End, w.life.Stopped = end, b.ledger.since() })
	w.cancel(cause)
	for i, other := range b.workers {
		if other == w {
			b.workers = append(b.workers[:i:i], b.workers[i+1:]...)
			break
		}
	}
	if cause == errStopped {
		b.stopped[w.ID] = true
	}
}

// settleBills books what living workers have cost up to now.
func (b *balancer) settleBills() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.workers {
		b.enter(w, w.phase)
	}
}

// healthInterval is how often an idle worker's health path is asked (reported
// by users).
const healthInterval = 5 * time.Second

// watchHealth keeps asking an idle worker's health path, if there is one. The
// caller holds the lock.
func (b *balancer) watchHealth(w *worker) {
	if b.cfg.HealthPath == "" {
		return
	}
	w.health = b.after(b.cfg.real(healthInterval), func() { b.checkHealth(w) })
}

func (b *balancer) checkHealth(w *worker) {
	status := b.askHealth(w)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || w.phase == dead {
		return
	}
	if status != 0 {
		w.unwell = status != http.StatusOK
		b.dispatch()
	}
	b.watchHealth(w)
}

// askHealth returns the status the health path gives, 0 if the worker is busy.
func (b *balancer) askHealth(w *worker) int {
	b.mu.Lock()
	ask := w.phase == idle
	b.mu.Unlock()
	if !ask {
		return 0
	}
	r, err := http.NewRequestWithContext(w.Context, http.MethodGet, "http://worker"+b.cfg.HealthPath, nil)
	if err != nil {
		return http.StatusBadGateway
	}
	probe := &probeWriter{}
	defer func() {
		if recover() != nil {
			b.crash(w)
		}
	}()
	if w.loading() {
		return http.StatusServiceUnavailable
	}
	w.handler.ServeHTTP(probe, r)
	return max(probe.status, http.StatusOK)
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

// loading reports whether the worker, though started, cannot work yet.
func (w *worker) loading() bool { return time.Now().Before(w.loadingUntil) }

// stillLoading is the 503 of a FastAPI program that is not ready.
var stillLoading = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusServiceUnavailable, "application/json",
		map[string]string{"detail": "the model is still loading"})
})
