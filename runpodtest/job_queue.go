package runpodtest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// How long things last for jobs (Runpod docs, operation reference). Times are
// the service's.
const (
	asyncKept      = 30 * time.Minute // a result of /run
	syncKept       = time.Minute      // one of /runsync
	defaultWait    = 90 * time.Second
	executionLimit = 10 * time.Minute
	jobLife        = 24 * time.Hour
)

// jobQueue is the job API's engine: it gives jobs to the balancer's workers, which
// the autoscaler starts for them as for requests.
type jobQueue struct {
	cfg      *Config
	balancer *balancer
	ledger   *ledger

	mu      sync.Mutex
	made    int
	jobs    map[string]*job
	order   []*job // all, in the order they came
	retried int
}

func newJobQueue(cfg *Config, b *balancer, l *ledger) *jobQueue {
	return &jobQueue{cfg: cfg, balancer: b, ledger: l, jobs: map[string]*job{}}
}

// submit makes a job of a submission that was checked, and starts it. The caller
// holds the lock.
func (q *jobQueue) submit(s submission, p jobPolicy, sync bool) *job {
	j := q.draft(s, p, sync)
	q.start(j)
	return j
}

// draft makes a job without starting it. The caller holds the lock.
func (q *jobQueue) draft(s submission, p jobPolicy, sync bool) *job {
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
func (q *jobQueue) forget(j *job) {
	delete(q.jobs, j.ID)
	q.order = slices.DeleteFunc(q.order, func(other *job) bool { return other == j })
}

// start queues a job. The caller holds the lock.
func (q *jobQueue) start(j *job) {
	ctx, cancel := context.WithTimeout(q.balancer.ctx, q.cfg.real(j.ttl))
	j.cancel = cancel
	q.balancer.tasks.Go(func() {
		defer cancel()
		q.run(ctx, j)
	})
}

// run takes a job through the queue and a worker. Jobs wait as long as it takes.
func (q *jobQueue) run(ctx context.Context, j *job) {
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
func (q *jobQueue) begin(j *job, w *worker) bool {
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
func (q *jobQueue) work(ctx context.Context, j *job, w *worker) {
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
func (q *jobQueue) program(ctx context.Context, j *job, w *worker) (output any, err error) {
	defer func() {
		if recover() != nil {
			q.balancer.crash(w)
			err = errCrashed
		}
	}()
	return q.cfg.JobHandler(ctx, Job{ID: j.ID, Input: j.input, Worker: w.Worker, Emit: func(chunk any) { q.emit(j, chunk) }})
}

func (q *jobQueue) emit(j *job, chunk any) {
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
func (q *jobQueue) settle(j *job, state JobState, output any, failure string) {
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
	if !j.batched {
		j.expires = time.Now().Add(q.cfg.real(kept))
	}
	j.news()
}

// find is a job that has not expired; nil for none. The caller holds the lock.
func (q *jobQueue) find(id string) *job {
	j := q.jobs[id]
	if j != nil && j.State.final() && !j.expires.IsZero() && time.Now().After(j.expires) {
		delete(q.jobs, id)
		j = nil
	}
	return j
}

// await waits until a job satisfies done, for at most d of the service's time or
// until ctx ends. It holds the lock when it returns.
func (q *jobQueue) await(ctx context.Context, j *job, d time.Duration, done func() bool) {
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
func (q *jobQueue) stop(j *job) {
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
func (q *jobQueue) purge() (n int) {
	for _, j := range q.order {
		if j.State == JobInQueue && !j.batched {
			q.stop(j)
			n++
		}
	}
	return n
}

// again queues a job once more under its id. The caller holds the lock.
func (q *jobQueue) again(j *job) {
	q.retried++
	j.Retries++
	j.State, j.output, j.failure, j.chunks, j.Worker = JobInQueue, nil, "", nil, ""
	j.Queued, j.Started, j.Ended, j.expires = q.ledger.since(), 0, 0, time.Time{}
	q.start(j)
	j.news()
}

// tally is what /health says of the jobs. The caller holds the lock.
func (q *jobQueue) tally() map[string]int {
	n := map[string]int{"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": q.retried}
	for _, j := range q.order {
		switch j.State {
		case JobCompleted:
			n["completed"]++
		case JobFailed, JobTimedOut:
			n["failed"]++
		case JobInProgress:
			n["inProgress"]++
		case JobInQueue:
			n["inQueue"]++
		}
	}
	return n
}

// lives returns the life of every job, in the order they came.
func (q *jobQueue) lives() []JobLife {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]JobLife, len(q.order))
	for i, j := range q.order {
		out[i] = j.JobLife
	}
	return out
}
