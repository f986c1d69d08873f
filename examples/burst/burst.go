package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// burst is the work that both clients are given.
type burst struct {
	requests, concurrency int
	album                 album
	out                   string // folder for the pictures
	warm                  int    // workers to wake during the uploads
	id                    string // keeps this run's objects apart from another's
}

// picture is the file for the result of job i (from 0).
func (b burst) picture(i int) string {
	return filepath.Join(b.out, fmt.Sprintf("job-%03d.jpg", i+1))
}

// outcome is one job as its client lived it. Durations are the endpoint's:
// wall time multiplied by how fast its time runs.
type outcome struct {
	Job      int     // from 1
	Attempts int     // calls sent to the endpoint
	Upload   seconds // both photos, with the wait for a connection
	Wait     seconds // of the call, what was not work: queue, cold start, backoff
	Work     seconds // at the worker, as the worker says; 0 when it does not say
	Total    seconds // from the job's begin until its picture was saved
	Worker   string
	Picture  string // the file that holds the result
	Err      error  // why the job was lost, or that it was interrupted
	Stopped  bool   // ended by Ctrl-C, not lost
}

// seconds prints, and marshals, with a tenth's precision.
type seconds time.Duration

func (s seconds) String() string {
	return strconv.FormatFloat(time.Duration(s).Seconds(), 'f', 1, 64)
}

func (s seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

func (s *seconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	*s = seconds(f * float64(time.Second))
	return err
}

// observed is what the other side, or a client's own counters, saw of a burst.
type observed struct {
	workers, opened, peak int
	billed                seconds // worker time; 0: not known
}

// split divides a call's time into the worker's work, as the worker reported
// it, and the waiting that was left.
func (o *outcome) split(call, work seconds) {
	o.Work = min(work, call)
	o.Wait = call - o.Work
}

// stopwatch measures in the endpoint's time.
type stopwatch struct {
	start time.Time
	speed float64
}

func (s stopwatch) now() seconds { return s.at(time.Now()) }

func (s stopwatch) at(t time.Time) seconds {
	return seconds(float64(t.Sub(s.start)) * s.speed)
}
