// Package model computes bursts against a Runpod endpoint: balancer, autoscaler
// and client are a few events each, so that a run takes well under a millisecond.
// Package runpodtest is what it agrees with, draw for draw; a test shows it.
//
// Requests, refusals, cold starts and scaling are computed. Crashes, faults, the
// volume, loading and full queues are not: see Omitted.
package model

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Client is who sends the burst.
type Client struct {
	Requests int
	InFlight int           // at once, at the most
	Retry    bool          // send refused requests again, as package runpod does; else a refusal is a loss
	Warm     int           // workers asked for as the uploads begin, as runpod.WithWarmup does
	Upload   time.Duration // each request's uploads, before it is sent
}

// Attempt is one request as its client saw it.
type Attempt struct {
	Start, End time.Duration
	Worker     int // from 1; 0: refused
}

// Outcome is what a burst came to.
type Outcome struct {
	Makespan  time.Duration // until the last request ended
	Succeeded int
	Refused   int           // attempts that no worker took
	Workers   int           // that took a request
	Billed    time.Duration // of all workers, from their start to their stop after the burst
	Attempts  []Attempt     // in the order in which they ended; nil unless they were asked for
}

// The times of package runpod's retry policy that a refusal meets.
const (
	jitter = 250 * time.Millisecond
	giveUp = 15 * time.Minute
)

// Run computes one burst. Minimum workers are warm when it begins; their cold
// starts are billed, since somebody had to start them. After the burst the
// minimum is 0 and the bill runs until all workers have stopped.
func Run(d runpodtest.Draws, c Client) Outcome { return run(d, c, false) }

// Record computes one burst and keeps its attempts.
func Record(d runpodtest.Draws, c Client) Outcome { return run(d, c, true) }

func run(d runpodtest.Draws, c Client, keep bool) Outcome {
	cfg := d.Config()
	s := &state{draws: d, cfg: &cfg, client: c, keep: keep, least: cfg.MinWorkers,
		jitter: rand.New(rand.NewPCG(cfg.Seed, 99))}
	for range cfg.MinWorkers {
		w := s.hire()
		w.phase = idle
		s.out.Billed += d.ColdStart(w.number)
	}
	s.warm = c.Warm
	s.react()
	for range min(c.InFlight, c.Requests) {
		s.next()
	}
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	return s.out
}

// Omitted names the settings of a Config that are not computed.
func Omitted(c runpodtest.Config) (names []string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"crash_rate", c.CrashRate > 0},
		{"faults", len(c.Faults) > 0},
		{"loading", c.Loading.String() != (runpodtest.Dist{}).String()},
		{"max_waiting", c.MaxWaiting > 0},
		{"s3", c.S3 != runpodtest.S3Habits{}},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

// state is a burst under way.
type state struct {
	draws  runpodtest.Draws
	cfg    *runpodtest.Config
	client Client
	jitter *rand.Rand
	keep   bool
	out    Outcome

	now    time.Duration
	events events
	order  int // of events made

	workers []*worker
	hired   int
	least   int // workers, until the burst is over
	warm    int // workers that warm-up asks for; 0 once they are ready

	lines      [3][]*request // waiting, by place
	queued     int
	inProgress int
	arrived    int
	begun      int // jobs
	ended      int
	answered   time.Duration // when a worker last answered
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *state) after(d time.Duration, do func()) {
	s.order++
	heap.Push(&s.events, event{s.now + d, s.order, do})
}
