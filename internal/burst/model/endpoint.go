package model

import (
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

type phase uint8

const (
	throttled phase = iota
	starting
	idle
	busy
	gone
)

type worker struct {
	number    int
	phase     phase
	billed    time.Duration // when its bill began
	inWork    int
	served    int
	unhealthy bool
	idleSince time.Duration
	armed     bool // its idle timeout runs
	epoch     int  // of the idle timeout: one that was stopped does nothing
}

func (s *state) hire() *worker {
	s.hired++
	w := &worker{number: s.hired, billed: s.now, idleSince: s.now, unhealthy: s.draws.Unhealthy(s.hired)}
	s.workers = append(s.workers, w)
	return w
}

// react lets waiting requests and the autoscaler see what has changed.
func (s *state) react() {
	s.dispatch()
	s.rescale()
}

// dispatch gives waiting requests to workers that are free.
func (s *state) dispatch() {
	for s.queued > 0 {
		w := s.choose()
		if w == nil {
			return
		}
		s.give(s.first(), w)
	}
}

// first takes the first request out of the line.
func (s *state) first() *request {
	for i := range s.lines {
		for len(s.lines[i]) > 0 {
			r := s.lines[i][0]
			s.lines[i] = s.lines[i][1:]
			if r.waiting {
				return r
			}
		}
	}
	panic("model: the line is shorter than it was counted")
}

func (s *state) choose() (best *worker) {
	for _, w := range s.workers {
		free := (w.phase == idle || w.phase == busy) && !w.unhealthy && w.inWork < s.cfg.Concurrency
		// RouteFirst takes the oldest. RouteUneven has favourites, which make no
		// difference to when a request is served.
		if free && (best == nil || s.cfg.Routing == runpodtest.RouteEven && w.served < best.served) {
			best = w
		}
	}
	return best
}

func (s *state) give(r *request, w *worker) {
	r.waiting = false
	s.queued--
	s.inProgress++
	w.inWork++
	if w.served++; w.served == 1 {
		s.out.Workers++
	}
	w.phase, w.armed = busy, false
	w.epoch++
	s.after(s.draws.ServiceTime(r.number), func() { s.done(r, w) })
}

// rescale brings the number of workers to what the rule wants.
func (s *state) rescale() {
	want := s.wanted()
	for len(s.workers) < want {
		s.hire()
	}
	if s.cfg.CancelStarting || s.cfg.Capacity > 0 {
		s.shed(want)
	}
	for _, w := range s.workers {
		if w.phase == throttled && (s.cfg.Capacity == 0 || s.occupied() < s.cfg.Capacity) {
			s.start(w)
		}
	}
	if len(s.workers) > want {
		s.armIdle()
	}
}

func (s *state) wanted() int {
	n := s.inProgress + s.overdue()
	if s.cfg.ScalerType == runpodtest.RequestCount {
		n = (s.queued + s.inProgress + s.cfg.ScalerValue - 1) / s.cfg.ScalerValue
	}
	return min(max(n, s.least, s.warm), s.cfg.MaxWorkers)
}

// overdueAfter is how long a request waits until QueueDelay counts it; 0 with
// another rule.
func (s *state) overdueAfter() time.Duration {
	if s.cfg.ScalerType != runpodtest.QueueDelay {
		return 0
	}
	return time.Duration(s.cfg.ScalerValue) * time.Second
}

func (s *state) overdue() (n int) {
	patience := s.overdueAfter()
	if patience == 0 {
		return 0
	}
	for _, line := range s.lines {
		for _, r := range line {
			if r.waiting && s.now-r.since >= patience {
				n++
			}
		}
	}
	return n
}

// shed drops workers that are not wanted any more and have not started.
func (s *state) shed(want int) {
	for i := len(s.workers) - 1; i >= 0 && len(s.workers) > want; i-- {
		w := s.workers[i]
		if w.phase == throttled || w.phase == starting && s.cfg.CancelStarting {
			s.dismiss(w)
		}
	}
}

func (s *state) occupied() (n int) {
	for _, w := range s.workers {
		if w.phase != throttled {
			n++
		}
	}
	return n
}

func (s *state) start(w *worker) {
	w.phase, w.billed = starting, s.now
	s.after(s.draws.ColdStart(w.number), func() {
		if w.phase != starting {
			return
		}
		w.phase, w.idleSince = idle, s.now
		if s.warmed() {
			s.warm = 0
		}
		s.react()
	})
}

// warmed reports whether warm-up has the workers it asked for.
func (s *state) warmed() bool {
	ready := 0
	for _, w := range s.workers {
		if w.phase == idle || w.phase == busy {
			ready++
		}
	}
	return ready >= min(s.warm, s.cfg.MaxWorkers)
}

func (s *state) armIdle() {
	for _, w := range s.workers {
		if w.phase != idle || w.armed {
			continue
		}
		w.armed = true
		w.epoch++
		epoch := w.epoch
		s.after(max(0, w.idleSince+s.cfg.IdleTimeout-s.now), func() { s.idled(w, epoch) })
	}
}

func (s *state) idled(w *worker, epoch int) {
	if w.phase != idle || w.epoch != epoch {
		return
	}
	w.armed = false
	if len(s.workers) > s.wanted() {
		s.dismiss(w)
		s.react()
	}
}

func (s *state) dismiss(w *worker) {
	if w.phase != throttled {
		s.out.Billed += s.now - w.billed
	}
	w.phase = gone
	if i := slices.Index(s.workers, w); i >= 0 {
		s.workers = slices.Delete(s.workers, i, i+1)
	}
}
