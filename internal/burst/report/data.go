package report

import (
	"encoding/json"
	"math"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// pageData is what the page's script draws: small, since it may hold ten
// thousand jobs. Times are whole milliseconds, texts stand in one table and are
// meant by their number.
type pageData struct {
	Texts  []string   `json:"texts"`
	Stages []string   `json:"stages"`
	Last   int        `json:"last"` // the latest end of any run: the axis they share
	Runs   []*runData `json:"runs"`

	known map[string]int
}

type runData struct {
	Name    string       `json:"name"`
	Jobs    []jobData    `json:"jobs"`
	Workers []workerData `json:"workers"`
	Flight  [][2]int     `json:"flight"` // requests at the endpoint, as steps
	Queue   [][2]int     `json:"queue"`  // of them in the balancer
	S3      [][2]int     `json:"s3"`     // connections
}

// jobData is a job: its number, its ID, its state (0 good, 1 lost, 2
// interrupted), when it was due; its stages, each a name, an end, and an attempt
// or -1; its attempts, each start, end, status, worker, verdict, reason; its error.
type jobData struct {
	number, id, state, due int
	stages                 []int
	attempts               []int
	err                    int
}

func (j jobData) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{j.number, j.id, j.state, j.due, j.stages, j.attempts, j.err})
}

// workerData is a worker: its ID, begin, ready, end, how it ended, jobs served,
// when it was busy (from, to, from, to), and whether it was only seen answering.
type workerData struct {
	id, begun, ready, stopped, end, served int
	busy                                   []int
	seen                                   bool
}

func (w workerData) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{w.id, w.begun, w.ready, w.stopped, w.end, w.served, w.busy, w.seen})
}

func ms(s seconds) int { return int(math.Round(1000 * float64(s))) }

func newPageData(runs []*run) *pageData {
	d := &pageData{Stages: stageNames, known: map[string]int{}}
	for _, r := range runs {
		d.Last = max(d.Last, ms(r.Figures.Seconds))
		d.Runs = append(d.Runs, d.run(r))
	}
	return d
}

// text returns the number of a text.
func (d *pageData) text(s string) int {
	i, known := d.known[s]
	if !known {
		i = len(d.Texts)
		d.Texts = append(d.Texts, s)
		d.known[s] = i
	}
	return i
}

func (d *pageData) run(r *run) *runData {
	out := &runData{Name: r.Name(), Jobs: []jobData{}, Workers: []workerData{}}
	busy := map[string][]int{}
	for i := range r.log.Jobs {
		j := &r.log.Jobs[i]
		out.Jobs = append(out.Jobs, d.job(j))
		for _, a := range j.Attempts {
			if a.Worker != "" && a.Taken > 0 {
				busy[a.Worker] = append(busy[a.Worker], ms(a.Taken), ms(a.End))
			}
		}
	}
	for _, w := range r.log.Workers {
		out.Workers = append(out.Workers, workerData{d.text(w.ID), ms(w.Begun), ms(w.Ready), ms(workerEnd(r.log, w)),
			d.text(w.End), w.Served, busy[w.ID], w.Seen})
	}
	end := r.Figures.Seconds
	out.Flight = thin(InFlight(r.log), end)
	out.Queue = thin(steps(queueSpans(r.log)), end)
	out.S3 = thin(steps(connSpans(r.log)), end)
	return out
}

func (d *pageData) job(j *burst.Job) jobData {
	out := jobData{number: j.Index + 1, id: d.text(j.ID), due: ms(j.Due), err: d.text(j.Error), stages: []int{}, attempts: []int{}}
	switch {
	case j.Interrupted:
		out.state = 2
	case !j.OK:
		out.state = 1
	}
	at := map[string]int{}
	for i, name := range stageNames {
		at[name] = i
	}
	for _, s := range stages(j) {
		out.stages = append(out.stages, at[s.name], ms(s.to), s.attempt)
	}
	for _, a := range j.Attempts {
		out.attempts = append(out.attempts, ms(a.Start), ms(a.End), a.Status, d.text(a.Worker), d.text(a.Verdict), d.text(a.Reason))
	}
	return out
}

// thin keeps, of steps that are closer than can be drawn, the highest.
func thin(all []Step, end seconds) [][2]int {
	const most = 1500
	out := [][2]int{}
	width := end / most
	for i := 0; i < len(all); {
		top, from := all[i], all[i].At
		for i++; i < len(all) && all[i].At < from+width; i++ {
			if all[i].N > top.N {
				top = all[i]
			}
		}
		out = append(out, [2]int{ms(from), top.N})
		if last := all[i-1]; last.N != top.N {
			out = append(out, [2]int{ms(last.At), last.N})
		}
	}
	return out
}
