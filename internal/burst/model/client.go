package model

import "time"

// request is one attempt.
type request struct {
	number  int // in order of arrival, from 1
	since   time.Duration
	waiting bool
	began   time.Duration // its job
}

// next begins the next job of a place that is free.
func (s *state) next() {
	if s.begun == s.client.Requests {
		return
	}
	s.begun++
	began := s.now
	if s.client.Upload > 0 {
		s.after(s.client.Upload, func() { s.send(began) })
		return
	}
	s.send(began)
}

// send puts a request in line.
func (s *state) send(began time.Duration) {
	s.arrived++
	r := &request{number: s.arrived, since: s.now, waiting: true, began: began}
	line := &s.lines[1+s.draws.Place(r.number)]
	*line = append(*line, r)
	s.queued++
	s.after(s.cfg.QueueWait, func() { s.refuse(r) })
	if delay := s.overdueAfter(); delay > 0 {
		s.after(delay, s.react)
	}
	s.react()
}

// refuse answers a request that has waited in vain.
func (s *state) refuse(r *request) {
	if !r.waiting {
		return
	}
	r.waiting = false
	s.queued--
	s.out.Refused++
	s.note(r, 0)
	s.react()
	if s.client.Retry && s.now-max(s.answered, r.began) < giveUp {
		s.after(time.Duration(s.jitter.Float64()*float64(jitter)), func() { s.send(r.began) })
		return
	}
	s.end()
}

// done is the end of a request's work.
func (s *state) done(r *request, w *worker) {
	w.inWork--
	s.inProgress--
	if w.inWork == 0 {
		w.phase, w.idleSince = idle, s.now
	}
	s.answered = s.now
	s.react()
	s.note(r, w.number)
	s.out.Succeeded++
	s.end()
}

// end is that of a job: its place is free.
func (s *state) end() {
	s.ended++
	s.out.Makespan = s.now
	if s.ended == s.client.Requests {
		s.least, s.warm = 0, 0
		s.react()
		return
	}
	s.next()
}

func (s *state) note(r *request, worker int) {
	if s.keep {
		s.out.Attempts = append(s.out.Attempts, Attempt{r.since, s.now, worker})
	}
}
