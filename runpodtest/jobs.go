package runpodtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Job is what a program for jobs (Config.JobHandler) gets.
type Job struct {
	ID     string
	Input  json.RawMessage
	Worker Worker
	Emit   func(chunk any) // hands a part of the output to those who stream the job
}

// echoJob is the program of an endpoint whose Config names none for jobs.
func echoJob(_ context.Context, job Job) (any, error) {
	return map[string]any{"input": job.Input, "worker": job.Worker.ID}, nil
}

// JobState is how far a job has come (Runpod docs, job states).
type JobState string

// The states that Runpod documents.
const (
	JobInQueue    JobState = "IN_QUEUE"
	JobInProgress JobState = "IN_PROGRESS"
	JobCompleted  JobState = "COMPLETED"
	JobFailed     JobState = "FAILED"
	JobCancelled  JobState = "CANCELLED"
	JobTimedOut   JobState = "TIMED_OUT"
)

func (s JobState) final() bool { return s != JobInQueue && s != JobInProgress }

// How long things last for jobs (Runpod docs, operation reference). Times are
// the service's.
const (
	asyncKept      = 30 * time.Minute // a result of /run
	syncKept       = time.Minute      // one of /runsync
	defaultWait    = 90 * time.Second
	executionLimit = 10 * time.Minute
	jobLife        = 24 * time.Hour
)

// job is one job of the queue. The queue's lock guards it.
type job struct {
	JobLife
	number  int
	sync    bool
	input   json.RawMessage
	limit   time.Duration // of its execution
	ttl     time.Duration
	output  json.RawMessage
	failure string
	chunks  []json.RawMessage // emitted, and not yet streamed to anybody
	changed chan struct{}     // closed when there is news, and made anew
	cancel  context.CancelFunc
	expires time.Time
	batch   *batch
}

// queue is the job API's engine: it gives jobs to the balancer's workers, which
// the autoscaler starts for them as for requests.
type queue struct {
	cfg      *Config
	balancer *balancer
	ledger   *ledger

	mu      sync.Mutex
	made    int
	jobs    map[string]*job
	batches map[string]*batch
	order   []*job // all, in the order they came
	retried int
}

func newQueue(cfg *Config, b *balancer, l *ledger) *queue {
	return &queue{cfg: cfg, balancer: b, ledger: l, jobs: map[string]*job{}, batches: map[string]*batch{}}
}

// submission is a request to run something, as the API takes it.
type submission struct {
	Input    json.RawMessage `json:"input"`
	Webhook  string          `json:"webhook"`
	Policy   json.RawMessage `json:"policy"`
	S3Config json.RawMessage `json:"s3Config"`
}

// jobPolicy is a submission's policy, in milliseconds.
type jobPolicy struct {
	ExecutionTimeout *int64 `json:"executionTimeout"`
	TTL              *int64 `json:"ttl"`
	LowPriority      bool   `json:"lowPriority"`
}

// check refuses what the docs say is refused: no input, times out of bounds.
func (s *submission) check() (p jobPolicy, err error) {
	if len(s.Input) == 0 || string(s.Input) == "null" {
		return p, errors.New("input is required")
	}
	if len(s.Policy) > 0 {
		if err := json.Unmarshal(s.Policy, &p); err != nil {
			return p, errors.New("policy is malformed")
		}
	}
	if p.ExecutionTimeout != nil && *p.ExecutionTimeout <= 5000 {
		return p, errors.New("policy.executionTimeout must be above 5000 ms")
	}
	if p.TTL != nil && (*p.TTL < 10_000 || *p.TTL > 7*24*3600*1000) {
		return p, errors.New("policy.ttl must be from 10000 ms to a week")
	}
	return p, nil
}

// submit makes a job of a submission that was checked, and starts it. The caller
// holds the lock.
func (q *queue) submit(s submission, p jobPolicy, sync bool) *job {
	j := q.draft(s, p, sync)
	q.start(j)
	return j
}

// draft makes a job without starting it. The caller holds the lock.
func (q *queue) draft(s submission, p jobPolicy, sync bool) *job {
	q.made++
	id := name(q.cfg.Seed, drawJob, q.made, 24) + "-u1"
	if sync {
		id = "sync-" + id
	}
	j := &job{number: q.made, input: s.Input, sync: sync, limit: executionLimit, ttl: jobLife, changed: make(chan struct{})}
	j.ID, j.State, j.Queued = id, JobInQueue, q.ledger.since()
	j.Webhook, j.Policy, j.S3Config = s.Webhook, s.Policy, s.S3Config
	if p.ExecutionTimeout != nil {
		j.limit = time.Duration(*p.ExecutionTimeout) * time.Millisecond
	}
	if p.TTL != nil {
		j.ttl = time.Duration(*p.TTL) * time.Millisecond
	}
	q.jobs[id] = j
	q.order = append(q.order, j)
	return j
}

// forget drops a draft. The caller holds the lock.
func (q *queue) forget(j *job) {
	delete(q.jobs, j.ID)
	q.order = slices.DeleteFunc(q.order, func(other *job) bool { return other == j })
}

// start queues a job. The caller holds the lock.
func (q *queue) start(j *job) {
	ctx, cancel := context.WithTimeout(q.balancer.ctx, q.cfg.real(j.ttl))
	j.cancel = cancel
	q.balancer.tasks.Add(1)
	go func() {
		defer q.balancer.tasks.Done()
		defer cancel()
		q.run(ctx, j)
	}()
}

// run takes a job through the queue and a worker. Jobs wait as long as it takes.
func (q *queue) run(ctx context.Context, j *job) {
	wt := &waiter{}
	if !q.balancer.enqueue(wt) {
		q.settle(j, JobFailed, nil, "the queue is full")
		return
	}
	var w *worker
	select {
	case v := <-wt.verdict:
		w = v.worker
	case <-ctx.Done():
		if w = q.balancer.giveUp(wt); w != nil {
			q.balancer.finish(wt, w)
		}
		q.settle(j, JobTimedOut, nil, "job expired in the queue")
		return
	}
	defer q.balancer.finish(wt, w)
	if q.begin(j, w) {
		q.work(ctx, j, w)
	}
}

// begin moves a job to a worker, unless it was cancelled.
func (q *queue) begin(j *job, w *worker) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.State != JobInQueue {
		return false
	}
	j.State, j.Worker, j.Started = JobInProgress, w.ID, q.ledger.since()
	j.news()
	return true
}

// work runs the program on a job, within the job's time.
func (q *queue) work(ctx context.Context, j *job, w *worker) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.real(j.limit))
	defer cancel()
	defer context.AfterFunc(w.Context, cancel)()
	state, output, failure := JobCompleted, any(nil), ""
	if sleep(ctx, q.cfg.real(q.cfg.ServiceTime.at(q.cfg.Seed, drawService, j.number))) {
		var err error
		if output, err = q.program(ctx, j, w); err != nil {
			state, failure = JobFailed, describe(err)
		}
	}
	switch {
	case w.Context.Err() != nil:
		state, failure = JobFailed, "worker exited with exit code 1"
	case ctx.Err() != nil:
		state, failure = JobTimedOut, "job timed out"
	}
	q.settle(j, state, output, failure)
}

// program calls the program; a panic is the worker's crash.
func (q *queue) program(ctx context.Context, j *job, w *worker) (output any, err error) {
	defer func() {
		if recover() != nil {
			q.balancer.crash(w)
			err = errCrashed
		}
	}()
	return q.cfg.JobHandler(ctx, Job{ID: j.ID, Input: j.input, Worker: w.Worker, Emit: func(chunk any) { q.emit(j, chunk) }})
}

// describe is an error as Runpod's own worker library reports it: JSON in a
// string (reported by users).
func describe(err error) string {
	b, _ := json.Marshal(map[string]string{
		"error_type": fmt.Sprintf("%T", err), "error_message": err.Error(), "error_traceback": "",
	})
	return string(b)
}

func (q *queue) emit(j *job, chunk any) {
	b, err := json.Marshal(chunk)
	if err != nil {
		b, _ = json.Marshal(err.Error())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	j.chunks = append(j.chunks, b)
	j.news()
}

// settle ends a job, unless something else has.
func (q *queue) settle(j *job, state JobState, output any, failure string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.State.final() || q.balancer.ctx.Err() != nil {
		return
	}
	j.State, j.failure, j.Ended = state, failure, q.ledger.since()
	if state == JobCompleted {
		j.output, _ = json.Marshal(output)
	}
	kept := asyncKept
	if j.sync {
		kept = syncKept
	}
	if j.batch == nil {
		j.expires = time.Now().Add(q.cfg.real(kept))
	}
	j.news()
}

// news wakes those who wait for the job to change. The caller holds the lock.
func (j *job) news() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// find is a job that has not expired; nil for none. The caller holds the lock.
func (q *queue) find(id string) *job {
	j := q.jobs[id]
	if j != nil && j.State.final() && !j.expires.IsZero() && time.Now().After(j.expires) {
		delete(q.jobs, id)
		j = nil
	}
	return j
}

// await waits until a job satisfies done, for at most d of the service's time or
// until ctx ends. It holds the lock when it returns.
func (q *queue) await(ctx context.Context, j *job, d time.Duration, done func() bool) {
	timer := time.NewTimer(q.cfg.real(d))
	defer timer.Stop()
	for {
		q.mu.Lock()
		if done() {
			return
		}
		changed := j.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			q.mu.Lock()
			return
		case <-ctx.Done():
			q.mu.Lock()
			return
		}
	}
}

// stop ends a job that has not ended. The caller holds the lock.
func (q *queue) stop(j *job) {
	if j.State.final() {
		return
	}
	j.State, j.Ended = JobCancelled, q.ledger.since()
	j.expires = time.Now().Add(q.cfg.real(asyncKept))
	if j.cancel != nil {
		j.cancel()
	}
	j.news()
}

// purge stops every job that waits, and says how many did. The caller holds the
// lock.
func (q *queue) purge() (n int) {
	for _, j := range q.order {
		if j.State == JobInQueue && j.batch == nil {
			q.stop(j)
			n++
		}
	}
	return n
}

// again queues a job once more under its id. The caller holds the lock.
func (q *queue) again(j *job) {
	q.retried++
	j.Retries++
	j.State, j.output, j.failure, j.chunks, j.Worker = JobInQueue, nil, "", nil, ""
	j.Queued, j.Started, j.Ended, j.expires = q.ledger.since(), 0, 0, time.Time{}
	q.start(j)
	j.news()
}
