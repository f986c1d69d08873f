package burst

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// Settings say how a burst's jobs come.
type Settings struct {
	Client      string  // one of Names
	Requests    int     // how many jobs; 0: as many as begin within Duration
	Concurrency int     // jobs under way at once, at the most
	Ahead       int     // so many more of the library's may be, for their uploads: Concurrency then is that of requests
	Warm        int     // workers that the library wakes during the first uploads
	Rate        float64 // arrivals a second of the endpoint's time, at random (Poisson); 0: at once
	Ramp        Seconds // Concurrency is reached step by step in that time
	Duration    Seconds // no job begins later; 0: no limit
	SaveDir     string  // results of jobs that name no file go there; "": they are not fetched
	Only        []int   // the jobs to do, by index; nil: all

	Inputs, Manifest, Preset, Config string // for the record
}

// session is one run under way.
type session struct {
	target   *Target
	settings Settings
	plan     *Plan
	clock    clock
	dials    *dials
	rec      *Recorder
	progress *Progress
	id       string // keeps this run's objects apart from another's
	save     func(*Work)
}

// Drive runs a burst and records it. It returns when everything has ended, also
// after the context has: then jobs in flight are recorded as interrupted. The
// error says that the run could not begin. The target is closed.
func Drive(ctx context.Context, t *Target, s Settings, plan *Plan, rec *Recorder, p *Progress) error {
	defer t.Close()
	// A moment of 0 means that it was not reached; so none is.
	c := clock{time.Now().Add(-time.Millisecond), t.Speed}
	run := &session{target: t, settings: s, plan: plan, clock: c, rec: rec, progress: p, id: rand.Text()[:10],
		dials: &dials{dial: t.Dial, s3: hostPort(t.S3URL), clock: c}, save: saver(s.SaveDir)}
	cl, err := open(s.Client, run)
	if err != nil {
		return err
	}
	rec.add(line{Run: run.header()})
	run.jobs(ctx, cl)
	cl.close()
	end := End{At: c.now(), Interrupted: ctx.Err() != nil}
	run.dials.flush(rec)
	t.account(c, rec)
	rec.add(line{End: &end})
	return nil
}

func (s *session) header() *Run {
	t, o := s.target, s.settings
	return &Run{Name: o.Client, Endpoint: t.Name, Simulated: t.Simulated, Preset: o.Preset, Config: o.Config, Started: s.clock.start.UTC(), Speed: t.Speed, Seed: t.Seed,
		Requests: s.count(), Concurrency: o.Concurrency, Warm: s.warm(), Rate: o.Rate, Ramp: o.Ramp, Duration: o.Duration,
		QueueWait: t.QueueWait, MinWorkers: t.Min, Inputs: o.Inputs, Manifest: o.Manifest, Resumed: o.Only != nil}
}

// warm is how many workers the client wakes; only the library does.
func (s *session) warm() int {
	if s.settings.Client == "library" {
		return s.settings.Warm
	}
	return 0
}

// count is how many jobs are to be done; 0: it is not known.
func (s *session) count() int {
	if s.settings.Only != nil {
		return len(s.settings.Only)
	}
	return s.settings.Requests
}

// index is the job that comes as the n-th.
func (s *session) index(n int) int {
	if s.settings.Only != nil {
		return s.settings.Only[n]
	}
	return n
}

// jobs begins each job when it is due and there is a place, and waits for all.
func (s *session) jobs(ctx context.Context, cl client) {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := s.places(ctx, &wg)
	due := s.arrivals()
	for n := 0; s.count() == 0 || n < s.count(); n++ {
		at := due()
		if o := s.settings; o.Duration > 0 && max(at, s.clock.now()) >= o.Duration {
			return
		}
		if at > s.clock.now() && !s.clock.sleep(ctx, at-s.clock.now()) {
			return
		}
		select {
		case <-places:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return
		}
		j := &job{work: s.plan.Work(s.index(n)), clock: s.clock}
		s.save(&j.work)
		j.rec = Job{Index: j.work.Index, ID: j.work.ID, Begin: s.clock.now()}
		if j.rec.Due = j.rec.Begin; s.settings.Rate > 0 {
			j.rec.Due = at
		}
		wg.Go(func() {
			s.do(ctx, cl, j)
			places <- struct{}{}
		})
	}
}

// places is a channel with a place for each job that may be under way: all of
// them at once, or more and more during the ramp.
func (s *session) places(ctx context.Context, wg *sync.WaitGroup) chan struct{} {
	n := s.settings.Concurrency
	if s.settings.Client == "library" {
		n += s.settings.Ahead
	}
	places := make(chan struct{}, n)
	if s.settings.Ramp == 0 {
		for range n {
			places <- struct{}{}
		}
		return places
	}
	wg.Go(func() {
		for range n {
			places <- struct{}{}
			if !s.clock.sleep(ctx, s.settings.Ramp/Seconds(n)) {
				return
			}
		}
	})
	return places
}

// arrivals returns the moments at which jobs are due, one after another.
func (s *session) arrivals() func() Seconds {
	rate, at := s.settings.Rate, Seconds(0)
	if rate == 0 {
		return func() Seconds { return 0 }
	}
	r := mathrand.New(mathrand.NewPCG(s.target.Seed, 1))
	return func() Seconds {
		due := at
		at += Seconds(r.ExpFloat64() / rate)
		return due
	}
}

// do does one job and records it.
func (s *session) do(ctx context.Context, cl client, j *job) {
	s.progress.Running.Add(1)
	err := cl.do(j.watch(ctx, s.dials.s3), j)
	s.progress.Running.Add(-1)
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.rec
	r.End, r.OK = s.clock.now(), err == nil
	if err != nil {
		r.Error, r.Interrupted = err.Error(), ctx.Err() != nil && errors.Is(err, ctx.Err())
	} else if j.work.SaveTo != "" {
		r.Saved = j.work.SaveTo
	}
	switch {
	case r.OK:
		s.progress.Done.Add(1)
	case !r.Interrupted:
		s.progress.Lost.Add(1)
	}
	s.progress.BytesDown.Add(r.BytesDown)
	s.rec.add(line{Job: r})
}
