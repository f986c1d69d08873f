package runpodtest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// batch is a collection of jobs (Runpod docs, batch jobs, beta). The queue's
// lock guards it.
type batch struct {
	id      string
	number  int    // of all, as they were made
	status  string // DRAFT, FINALIZED, CANCELLED
	created time.Time
	jobs    []*job
}

// The limits of batches (Runpod docs).
const (
	batchLimit   = 5000
	batchesLimit = 10
	batchBody    = 10 << 20
)

// batchAPI is the part of the job API that is about batches.
type batchAPI struct {
	queue      *jobQueue
	endpointID string
	batches    map[string]*batch // the queue's lock guards it
}

func newBatchAPI(q *jobQueue, endpointID string) *batchAPI {
	return &batchAPI{queue: q, endpointID: endpointID, batches: map[string]*batch{}}
}

// route registers the calls.
func (a *batchAPI) route(mux *http.ServeMux, base string) {
	mux.HandleFunc("POST "+base+"batch", a.createBatch)
	mux.HandleFunc("GET "+base+"batch", a.listBatches)
	mux.HandleFunc("DELETE "+base+"batch/{batch}/requests/{request}", a.shrinkBatch)
	mux.HandleFunc("POST "+base+"batch/{batch}/requests", a.growBatch)
	mux.HandleFunc("POST "+base+"batch/{batch}/finalize", a.finalizeBatch)
	mux.HandleFunc("POST "+base+"batch/{batch}/cancel", a.cancelBatch)
	mux.HandleFunc("GET "+base+"batch/{batch}", a.showBatch)
	mux.HandleFunc("GET "+base+"batch/{batch}/requests", a.listBatch)
}

// checkAll checks submissions, and answers if one is wrong.
func checkAll(w http.ResponseWriter, all []submission) (policies []jobPolicy, ok bool) {
	for i := range all {
		p, err := all[i].check()
		if err != nil {
			writeError(w, http.StatusBadRequest, "requests["+strconv.Itoa(i)+"]: "+err.Error())
			return nil, false
		}
		policies = append(policies, p)
	}
	return policies, true
}

// createBatch takes an array of requests, which may be empty.
func (a *batchAPI) createBatch(w http.ResponseWriter, r *http.Request) {
	var all []submission
	if !decode(w, r, batchBody, &all) {
		return
	}
	policies, ok := checkAll(w, all)
	if !ok {
		return
	}
	q := a.queue
	q.mu.Lock()
	active := 0
	for _, b := range a.batches {
		if !b.done() {
			active++
		}
	}
	if active >= batchesLimit || len(all) > batchLimit {
		q.mu.Unlock()
		writeError(w, http.StatusBadRequest, "too many batches, or requests in one")
		return
	}
	n := len(a.batches) + 1
	b := &batch{id: "batch_" + name(a.queue.cfg.Seed, drawBatch, n, 20), number: n, status: "DRAFT", created: time.Now()}
	a.batches[b.id] = b
	b.add(q, all, policies)
	q.mu.Unlock()
	writeOK(w, map[string]any{"id": b.id, "status": "DRAFT"})
}

// add drafts jobs. The caller holds the queue's lock.
func (b *batch) add(q *jobQueue, all []submission, policies []jobPolicy) {
	for i, s := range all {
		j := q.draft(s, policies[i], false)
		j.batched = true
		b.jobs = append(b.jobs, j)
	}
}

func (a *batchAPI) growBatch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Requests []submission `json:"requests"`
	}
	if !decode(w, r, batchBody, &in) {
		return
	}
	policies, ok := checkAll(w, in.Requests)
	if !ok {
		return
	}
	a.withBatch(w, r, func(b *batch) (any, int) {
		if b.status != "DRAFT" || len(b.jobs)+len(in.Requests) > batchLimit {
			return map[string]string{"error": "the batch is " + b.status + ", or full"}, http.StatusBadRequest
		}
		b.add(a.queue, in.Requests, policies)
		return map[string]any{"id": b.id, "status": b.status}, http.StatusOK
	})
}

// shrinkBatch takes a request out of a draft.
func (a *batchAPI) shrinkBatch(w http.ResponseWriter, r *http.Request) {
	a.withBatch(w, r, func(b *batch) (any, int) {
		i := slices.IndexFunc(b.jobs, func(j *job) bool { return j.ID == r.PathValue("request") })
		switch {
		case b.status != "DRAFT":
			return map[string]string{"error": "the batch is " + b.status}, http.StatusBadRequest
		case i < 0:
			return map[string]string{"error": "request not found"}, http.StatusNotFound
		}
		a.queue.forget(b.jobs[i])
		b.jobs = slices.Delete(b.jobs, i, i+1)
		return map[string]any{"id": b.id, "status": b.status}, http.StatusOK
	})
}

// finalizeBatch starts the batch's jobs. On the service they have workers of
// their own, and hours; here they share the endpoint's.
func (a *batchAPI) finalizeBatch(w http.ResponseWriter, r *http.Request) {
	a.withBatch(w, r, func(b *batch) (any, int) {
		if b.status != "DRAFT" {
			return map[string]string{"error": "the batch is " + b.status}, http.StatusBadRequest
		}
		b.status = "FINALIZED"
		for _, j := range b.jobs {
			a.queue.start(j)
		}
		return map[string]any{"id": b.id, "status": b.status}, http.StatusOK
	})
}

// cancelBatch stops what waits; what is in progress ends by itself.
func (a *batchAPI) cancelBatch(w http.ResponseWriter, r *http.Request) {
	a.withBatch(w, r, func(b *batch) (any, int) {
		b.status = "CANCELLED"
		for _, j := range b.jobs {
			if j.State == JobInQueue {
				a.queue.stop(j)
			}
		}
		return map[string]any{"id": b.id, "status": b.status}, http.StatusOK
	})
}

func (a *batchAPI) showBatch(w http.ResponseWriter, r *http.Request) {
	a.withBatch(w, r, func(b *batch) (any, int) { return a.summary(b), http.StatusOK })
}

// summary is a batch as the API shows it. The caller holds the queue's lock.
func (a *batchAPI) summary(b *batch) map[string]any {
	completed, failed, inProgress := b.counts()
	return map[string]any{
		"id": b.id, "endpointId": a.endpointID, "status": b.status, "createdAt": b.created.UnixMilli(),
		"requestTotal": len(b.jobs), "requestCompleted": completed, "requestFailed": failed, "requestInProgress": inProgress,
	}
}

// listBatches lists the endpoint's batches, newest first. That it does so in
// pages like those of a batch's requests is inferred: the docs show no answer.
func (a *batchAPI) listBatches(w http.ResponseWriter, r *http.Request) {
	a.queue.mu.Lock()
	all := slices.SortedFunc(maps.Values(a.batches), func(x, y *batch) int { return y.number - x.number })
	from, to, answer := pageOf(r, len(all))
	batches := []map[string]any{}
	for _, b := range all[from:to] {
		batches = append(batches, a.summary(b))
	}
	a.queue.mu.Unlock()
	answer["batches"] = batches
	writeOK(w, answer)
}

// pageOf is which of n things a request asks for, and what the answer says of
// that. 50 a page unless asked otherwise.
func pageOf(r *http.Request, n int) (from, to int, answer map[string]any) {
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 50
	}
	from = min(max(offset, 0), n)
	to = min(from+max(limit, 1), n)
	return from, to, map[string]any{"total": n, "offset": from, "limit": limit, "hasMore": to < n}
}

func (b *batch) counts() (completed, failed, inProgress int) {
	for _, j := range b.jobs {
		switch j.State {
		case JobCompleted:
			completed++
		case JobFailed, JobTimedOut:
			failed++
		case JobInProgress:
			inProgress++
		}
	}
	return completed, failed, inProgress
}

// done reports whether nothing of the batch is to come.
func (b *batch) done() bool {
	completed, failed, _ := b.counts()
	return b.status == "CANCELLED" || b.status == "FINALIZED" && completed+failed == len(b.jobs)
}

func (a *batchAPI) listBatch(w http.ResponseWriter, r *http.Request) {
	a.withBatch(w, r, func(b *batch) (any, int) {
		from, to, answer := pageOf(r, len(b.jobs))
		requests := []map[string]any{}
		for _, j := range b.jobs[from:to] {
			requests = append(requests, j.report())
		}
		answer["requests"] = requests
		return answer, http.StatusOK
	})
}

// withBatch answers about the batch that the path names, under the queue's lock.
func (a *batchAPI) withBatch(w http.ResponseWriter, r *http.Request, f func(*batch) (any, int)) {
	a.queue.mu.Lock()
	var answer any = map[string]string{"error": "batch not found"}
	status := http.StatusNotFound
	if b := a.batches[r.PathValue("batch")]; b != nil {
		answer, status = f(b)
	}
	a.queue.mu.Unlock()
	writeJSON(w, status, "application/json", answer)
}
