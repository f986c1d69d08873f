package burst

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Log is all that is known of one run.
type Log struct {
	Run      Run
	Jobs     []Job // in the order of their index
	Requests []Request
	Workers  []Worker
	Conns    []Conn
	End      *End // nil: the run was cut off
}

// line is one line of a file of records: one of its fields is set.
type line struct {
	Run     *Run     `json:"run,omitempty"`
	Job     *Job     `json:"job,omitempty"`
	Request *Request `json:"request,omitempty"`
	Worker  *Worker  `json:"worker,omitempty"`
	Conn    *Conn    `json:"conn,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// Recorder keeps the records of one run, and writes each as soon as it is there,
// so that a program that is killed leaves what it has. It is safe for
// concurrent use.
type Recorder struct {
	mu  sync.Mutex
	log Log
	w   io.Writer // nil: records are kept, not written
	err error
}

// NewRecorder makes a Recorder that writes to w, which may be nil.
func NewRecorder(w io.Writer) *Recorder { return &Recorder{w: w} }

// add records a line. What is kept is what is read back from a file, to the
// millisecond, so that a report made again is the same.
func (r *Recorder) add(l line) {
	b, err := json.Marshal(l)
	var kept line
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.add(kept)
	if err == nil && r.w != nil && r.err == nil {
		_, err = r.w.Write(append(b, '\n'))
	}
	if r.err == nil {
		r.err = err // the first one: what was kept in memory still makes a report
	}
}

// Log returns what was recorded, complete and in order, and the first error of
// writing it. The Recorder must not be used any more.
func (r *Recorder) Log() (*Log, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.finish()
	return &r.log, r.err
}

func (l *Log) add(one line) {
	switch {
	case one.Run != nil:
		l.Run = *one.Run
	case one.Job != nil:
		l.Jobs = append(l.Jobs, *one.Job)
	case one.Request != nil:
		l.Requests = append(l.Requests, *one.Request)
	case one.Worker != nil:
		l.Workers = append(l.Workers, *one.Worker)
	case one.Conn != nil:
		l.Conns = append(l.Conns, *one.Conn)
	case one.End != nil:
		l.End = one.End
	}
}

// finish brings the records in order, and the endpoint's knowledge of a request
// to the attempt that it was: the requests of one job arrive one after another.
func (l *Log) finish() {
	slices.SortStableFunc(l.Jobs, func(a, b Job) int { return a.Index - b.Index })
	of := make(map[int][]Request)
	for _, r := range l.Requests {
		of[r.Job] = append(of[r.Job], r)
	}
	for i := range l.Jobs {
		l.Jobs[i].learn(of[l.Jobs[i].Index])
	}
	if len(l.Workers) == 0 {
		l.Workers = l.seenWorkers()
	}
}

// learn matches attempts with the endpoint's requests, both in order of time. An
// attempt that never reached the endpoint has none.
func (j *Job) learn(requests []Request) {
	for i := range j.Attempts {
		a := &j.Attempts[i]
		if len(requests) == 0 {
			return
		}
		if i+1 < len(j.Attempts) && requests[0].Arrived >= j.Attempts[i+1].Start {
			continue
		}
		r := requests[0]
		requests = requests[1:]
		a.Known, a.Outcome = true, r.Outcome
		if r.Started > 0 {
			a.Taken = min(max(r.Started, a.Start), a.End)
		}
	}
}

// seenWorkers is what answers tell of workers, where the endpoint does not.
func (l *Log) seenWorkers() (seen []Worker) {
	at := make(map[string]int)
	for _, j := range l.Jobs {
		for _, a := range j.Attempts {
			if a.Worker == "" {
				continue
			}
			i, known := at[a.Worker]
			if !known {
				i, at[a.Worker] = len(seen), len(seen)
				seen = append(seen, Worker{ID: a.Worker, Seen: true, Begun: a.Start, Ready: a.End, Stopped: a.End})
			}
			w := &seen[i]
			w.Served++
			w.Ready, w.Begun, w.Stopped = min(w.Ready, a.End), min(w.Begun, a.Start), max(w.Stopped, a.End)
		}
	}
	slices.SortFunc(seen, func(a, b Worker) int { return int(1000 * (a.Ready - b.Ready)) })
	return seen
}

// Read reads a file of records: one run after another. A last line that was cut
// off is left out, as a program that was killed leaves one.
func Read(r io.Reader) ([]*Log, error) {
	var logs []*Log
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return finishAll(logs)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		var one line
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, fmt.Errorf("line %d is no record of runpod-burst: %w", n, err)
		}
		if one.Run != nil {
			logs = append(logs, &Log{})
		}
		if len(logs) == 0 {
			return nil, fmt.Errorf("line %d is no record of runpod-burst: a run begins with {\"run\":...}", n)
		}
		logs[len(logs)-1].add(one)
	}
}

func finishAll(logs []*Log) ([]*Log, error) {
	if len(logs) == 0 {
		return nil, errors.New("there is no run in it")
	}
	for _, l := range logs {
		l.finish()
	}
	return logs, nil
}

// Missing is the jobs, by index, of so many that no run of the client has
// brought to a good end.
func Missing(logs []*Log, client string, jobs int) []int {
	done := make(map[int]bool)
	for _, l := range logs {
		for _, j := range l.Jobs {
			done[j.Index] = done[j.Index] || j.OK && l.Run.Name == client
		}
	}
	missing := []int{}
	for i := range jobs {
		if !done[i] {
			missing = append(missing, i)
		}
	}
	return missing
}
