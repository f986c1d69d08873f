package runpodtest

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// jobAPI is the job API's HTTP side (Runpod docs, operation reference and batch
// jobs), below /v2/{endpoint id}.
type jobAPI struct {
	cfg        *Config
	apiKey     string
	queue      *jobQueue
	faults     *faultList
	limits     *jobLimits
	mux        *http.ServeMux
	balancer   *balancer
	endpointID string
}

// route registers the calls.
func (a *jobAPI) route() {
	a.mux = http.NewServeMux()
	base := a.prefix()
	a.mux.HandleFunc("POST "+base+"run", a.run)
	a.mux.HandleFunc("POST "+base+"runsync", a.runSync)
	a.mux.HandleFunc(base+"status/{job}", a.status) // GET in the docs; the Go SDK sends POST
	a.mux.HandleFunc(base+"status-sync/{job}", a.statusSync)
	a.mux.HandleFunc(base+"stream/{job}", a.stream)
	a.mux.HandleFunc("POST "+base+"cancel/{job}", a.cancel)
	a.mux.HandleFunc("POST "+base+"retry/{job}", a.retry)
	a.mux.HandleFunc("POST "+base+"purge-queue", a.purge)
	a.mux.HandleFunc("GET "+base+"health", a.health)
	newBatchAPI(a.queue, a.endpointID).route(a.mux, base)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { writeError(w, http.StatusNotFound, "not found") })
}

// prefix is the path that all of the API is below.
func (a *jobAPI) prefix() string { return "/v2/" + a.endpointID + "/" }

// before sends the job API's requests to it, also those with a wrong endpoint's
// id, and all others to the endpoint. On the service each has a host of its own.
func (a *jobAPI) before(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; strings.HasPrefix(path, "/v2/") && (strings.HasPrefix(path, a.prefix()) || jobCall.MatchString(path)) {
			a.ServeHTTP(w, r)
			return
		}
		endpoint.ServeHTTP(w, r)
	})
}

// jobCall matches the paths of the job API of any endpoint.
var jobCall = regexp.MustCompile(`^/v2/[^/]+/(run|runsync|purge-queue|health|batch|(status|status-sync|stream|cancel|retry|batch)/.+)$`)

// ServeHTTP takes a request past the faults, the key and the rate limits.
func (a *jobAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := connOf(r.Context())
	act := a.faults.forRequest(OnJobs, r, r.URL.Path)
	w = act.shape(w, r.Context(), conn, a.cfg.Speed)
	if !sleep(r.Context(), a.cfg.real(act.delay)) {
		return
	}
	switch act.at {
	case atArrival, atWorker:
		act.perform(w, conn)
	case atRead:
		io.Copy(io.Discard, r.Body)
		abort(conn)
	case afterWork:
		a.answer(discard{http.Header{}}, r)
		act.perform(w, conn)
	default:
		a.answer(w, r)
	}
}

func (a *jobAPI) answer(w http.ResponseWriter, r *http.Request) {
	// The docs' examples send the key bare, the SDKs as a bearer token.
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	op, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, a.prefix()), "/")
	leave, wait := a.limits.enter(op, time.Now())
	switch {
	case token != a.apiKey:
		writeError(w, http.StatusUnauthorized, "unauthorized")
	case wait > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		writeError(w, http.StatusTooManyRequests, "rate limit exceeded")
	default:
		a.mux.ServeHTTP(w, r)
	}
	if leave != nil {
		leave()
	}
}

// accept makes a job of a request, or answers why not.
func (a *jobAPI) accept(w http.ResponseWriter, r *http.Request, limit int64, sync bool) *job {
	var s submission
	if !decode(w, r, limit, &s) {
		return nil
	}
	p, err := s.check()
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return nil
	}
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	return a.queue.submit(s, p, sync)
}

// The limits of bodies: 10 and 20 MB (Runpod docs), which the service's own words
// on the first make "10MiB" (reported by users).
const (
	runLimit     = 10 << 20
	runSyncLimit = 20 << 20
)

func (a *jobAPI) run(w http.ResponseWriter, r *http.Request) {
	if j := a.accept(w, r, runLimit, false); j != nil {
		writeOK(w, map[string]any{"id": j.ID, "status": JobInQueue})
	}
}

func (a *jobAPI) runSync(w http.ResponseWriter, r *http.Request) {
	if j := a.accept(w, r, runSyncLimit, true); j != nil {
		a.hold(w, r, j)
	}
}

// hold answers when a job has ended, or when the wait that was asked for has.
func (a *jobAPI) hold(w http.ResponseWriter, r *http.Request, j *job) {
	wait := defaultWait
	if ms, err := strconv.Atoi(r.URL.Query().Get("wait")); err == nil {
		wait = min(max(time.Duration(ms)*time.Millisecond, time.Second), 5*time.Minute)
	}
	a.queue.await(r.Context(), j, wait, func() bool { return j.State.final() })
	report := j.report()
	a.queue.mu.Unlock()
	writeOK(w, report)
}

func (a *jobAPI) status(w http.ResponseWriter, r *http.Request) {
	a.with(w, r, func(j *job) (any, int) { return j.report(), http.StatusOK })
}

// statusSync is not in the docs; the official SDKs use it.
func (a *jobAPI) statusSync(w http.ResponseWriter, r *http.Request) {
	a.queue.mu.Lock()
	j := a.queue.find(r.PathValue("job"))
	a.queue.mu.Unlock()
	if j == nil {
		writeError(w, http.StatusNotFound, "job not found")
		return
	}
	a.hold(w, r, j)
}

// stream gives what was emitted since it was last asked.
func (a *jobAPI) stream(w http.ResponseWriter, r *http.Request) {
	a.with(w, r, func(j *job) (any, int) {
		stream := []map[string]any{}
		for _, chunk := range j.chunks {
			stream = append(stream, map[string]any{"output": chunk})
		}
		j.chunks = nil
		answer := map[string]any{"status": j.State, "stream": stream}
		if j.failure != "" {
			answer["error"] = j.failure
		}
		return answer, http.StatusOK
	})
}

func (a *jobAPI) cancel(w http.ResponseWriter, r *http.Request) {
	a.with(w, r, func(j *job) (any, int) {
		a.queue.stop(j)
		return map[string]any{"id": j.ID, "status": j.State}, http.StatusOK
	})
}

func (a *jobAPI) retry(w http.ResponseWriter, r *http.Request) {
	a.with(w, r, func(j *job) (any, int) {
		if j.State != JobFailed && j.State != JobTimedOut {
			return map[string]string{"error": "job is not in a retriable state"}, http.StatusBadRequest
		}
		a.queue.again(j)
		return map[string]any{"id": j.ID, "status": j.State}, http.StatusOK
	})
}

func (a *jobAPI) purge(w http.ResponseWriter, r *http.Request) {
	a.queue.mu.Lock()
	removed := a.queue.purge()
	a.queue.mu.Unlock()
	writeOK(w, map[string]any{"removed": removed, "status": "completed"})
}

func (a *jobAPI) health(w http.ResponseWriter, r *http.Request) {
	var workers map[string]int
	a.balancer.view(func(_ settings, c *crew) { workers = c.census() })
	a.queue.mu.Lock()
	jobs := a.queue.tally()
	a.queue.mu.Unlock()
	writeOK(w, map[string]any{"jobs": jobs, "workers": workers})
}

// with answers about the job that the path names, under the queue's lock.
func (a *jobAPI) with(w http.ResponseWriter, r *http.Request, f func(*job) (any, int)) {
	a.queue.mu.Lock()
	var answer any = map[string]string{"error": "job not found"}
	status := http.StatusNotFound
	if j := a.queue.find(r.PathValue("job")); j != nil {
		answer, status = f(j)
	}
	a.queue.mu.Unlock()
	writeJSON(w, status, "application/json", answer)
}
