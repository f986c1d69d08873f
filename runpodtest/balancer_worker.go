package runpodtest

import (
	"net/http"
	"time"
)

// restartPause is the least time between a start that crashed and the next one:
// without it, and with cold starts of no length, time would stand still.
const restartPause = 5 * time.Second

// begin gives a worker its GPU; it is ready after the cold start. The caller
// holds the lock.
func (b *balancer) begin(w *worker) {
	coldStart := b.cfg.ColdStart.at(b.cfg.Seed, drawColdStart, w.Number)
	b.crew.enter(w, starting)
	b.ledger.note(func() { w.life.Begun = b.ledger.since() })
	if b.cfg.Start != nil {
		b.launch(w, b.cfg.real(coldStart), b.failing)
		return
	}
	if b.failing {
		coldStart = max(coldStart, restartPause)
	}
	w.alarm = b.after(b.cfg.real(coldStart), func() { b.ready(w) })
}

// launch starts a worker's program by Config.Start. The worker is ready when
// that has returned and the cold start has passed. After a failure it pauses
// first.
func (b *balancer) launch(w *worker, coldStart time.Duration, pause bool) {
	began := time.Now()
	b.tasks.Go(func() {
		if pause && !sleep(w.Context, restartPause) {
			return
		}
		handler, ok := b.program(w)
		if ok && !sleep(w.Context, coldStart-time.Since(began)) {
			return
		}
		b.join(w, handler, ok)
	})
}

// ready ends a cold start: the worker's program is made.
func (b *balancer) ready(w *worker) {
	handler, ok := b.program(w)
	b.join(w, handler, ok)
}

// join lets a worker with its program take requests, or ends it if that failed.
func (b *balancer) join(w *worker, handler http.Handler, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || w.phase != starting || w.Context.Err() != nil {
		return
	}
	if b.failing = !ok; b.failing {
		b.crew.dismiss(w, "crashed", errCrashed)
		b.rescale()
		return
	}
	w.handler, w.alarm = handler, nil
	w.loadingUntil = time.Now().Add(b.cfg.real(b.cfg.Loading.at(b.cfg.Seed, drawLoading, w.Number)))
	w.idleSince = time.Now()
	b.crew.enter(w, idle)
	b.ledger.note(func() { w.life.Ready = b.ledger.since() })
	b.watchHealth(w)
	b.react()
}

// program makes the worker's handler; ok is false if that failed or panicked.
func (b *balancer) program(w *worker) (h http.Handler, ok bool) {
	defer func() { ok = recover() == nil && h != nil }()
	if b.cfg.Start == nil {
		return b.cfg.Handler(w.Worker), true
	}
	h, err := b.cfg.Start(w.Worker)
	if err != nil {
		h = nil
	}
	return h, err == nil
}

// crash kills a worker, as a panic of its program does.
func (b *balancer) crash(w *worker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.crew.dismiss(w, "crashed", errCrashed)
	b.react()
}

// healthInterval is how often an idle worker's health path is asked (reported
// by users).
const healthInterval = 5 * time.Second

// watchHealth keeps asking an idle worker's health path, if there is one. The
// caller holds the lock.
func (b *balancer) watchHealth(w *worker) {
	if b.cfg.HealthPath != "" {
		w.health = b.after(b.cfg.real(healthInterval), func() { b.checkHealth(w) })
	}
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

// askHealth returns the status that the health path answers, 0 if the worker is
// busy.
func (b *balancer) askHealth(w *worker) int {
	b.mu.Lock()
	ask := w.phase == idle
	b.mu.Unlock()
	if !ask {
		return 0
	}
	defer func() {
		if recover() != nil {
			b.crash(w)
		}
	}()
	return w.probe(b.cfg.HealthPath)
}
