package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/burst/tryon"
	"github.com/gpuburst/runpod-go/otelrunpod"
)

//go:embed page
var page embed.FS

// service is the web service. It is safe for concurrent use.
type service struct {
	client  *runpod.Client
	metrics *prometheus.Registry
	places  int
	streams context.Context // ends with the event streams
	end     context.CancelFunc

	mu      sync.Mutex
	closing bool
	jobs    map[string]*job // those that have not ended
	none    chan struct{}   // closed when the service is closing and has no jobs
}

// newService makes a service that takes so many jobs at once.
func newService(places int, opts ...runpod.Option) (*service, error) {
	s := &service{metrics: prometheus.NewRegistry(), places: places, jobs: map[string]*job{}, none: make(chan struct{})}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(s.metrics))
	if err != nil {
		return nil, err
	}
	telemetry := otelrunpod.New(otelrunpod.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))))
	if s.client, err = runpod.New(append(opts, runpod.WithObserver(telemetry.Observer()))...); err != nil {
		return nil, err
	}
	s.streams, s.end = context.WithCancel(context.Background())
	return s, telemetry.RecordStats(s.client)
}

// leftover is the age at which an uploaded photograph is of no use to any job.
const leftover = 24 * time.Hour

// sweep deletes the photographs that processes left when they were killed.
func (s *service) sweep(ctx context.Context) {
	if _, err := s.client.SweepInputs(ctx, leftover); err != nil && ctx.Err() == nil {
		slog.Warn("photographs may be left on the volume", "error", err)
	}
}

func (s *service) server() *http.Server {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(s.end) // Shutdown waits for streams, which end by themselves only with their jobs
	return server
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder's name is written above
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /samples/", http.StripPrefix("/samples/", http.FileServerFS(tryon.Photos())))
	mux.HandleFunc("POST /tryon", s.tryOn)
	mux.HandleFunc("GET /jobs/{id}/events", s.withJob(s.events))
	mux.HandleFunc("GET /jobs/{id}/result", s.withJob(s.result))
	mux.HandleFunc("DELETE /jobs/{id}", s.withJob(s.delete))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	}))
}

var (
	errFull    = &refusal{http.StatusTooManyRequests, "all places are taken"}
	errClosing = &refusal{http.StatusServiceUnavailable, "the service is stopping"}
)

// begin takes a place for a new job, whose work is then to be done.
func (s *service) begin() (*job, context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, nil, errClosing
	case len(s.jobs) >= s.places:
		return nil, nil, errFull
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	j := newJob(rand.Text(), cancel)
	s.jobs[j.id] = j
	return j, ctx, nil
}

// leave gives a job's place back.
func (s *service) leave(j *job) {
	j.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, j.id)
	if s.closing && len(s.jobs) == 0 {
		close(s.none)
	}
}

// close has the service take no more jobs.
func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing && len(s.jobs) == 0 {
		close(s.none)
	}
	s.closing = true
}

func (s *service) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs)
}

var isID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// withJob finds the job that the path names.
func (s *service) withJob(next func(http.ResponseWriter, *http.Request, *job)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		s.mu.Lock()
		j := s.jobs[id]
		s.mu.Unlock()
		err := error(runpod.ErrNotFound)
		if j == nil && isID.MatchString(id) {
			j, err = s.recorded(r.Context(), id)
		}
		if j == nil {
			refuse(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next(w, r, j)
	}
}

// events streams a job's states, from the one after Last-Event-ID.
func (s *service) events(w http.ResponseWriter, r *http.Request, j *job) {
	seen, _ := strconv.Atoi(r.Header.Get("Last-Event-ID")) // 0, from the beginning, if there is none
	if last := j.last(); last.ended() && last.ID <= seen {
		w.WriteHeader(http.StatusNoContent) // "do not connect again" (the EventSource standard)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx keeps events back
	out := http.NewResponseController(w)
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for {
		news, more := j.since(seen)
		out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // nobody stalls a stream for longer
		if news == nil {
			fmt.Fprint(w, ":\n\n") // so that a proxy lets the silent stream be
		}
		for _, st := range news {
			seen = st.ID
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", st.ID, j.public(st))
		}
		if err := out.Flush(); err != nil || j.last().ended() && seen == j.last().ID {
			return
		}
		select {
		case <-more:
		case <-alive.C:
		case <-r.Context().Done():
			return
		case <-s.streams.Done():
			return
		}
	}
}

// public is a state as pages get it.
func (j *job) public(st state) []byte {
	if st.Result != "" {
		st.Result = "/jobs/" + j.id + "/result"
	}
	text, err := json.Marshal(struct {
		state
		Now time.Time `json:"now"` // the page's clock may be wrong
	}{st, time.Now()})
	if err != nil {
		panic(err) // times and texts can be marshaled
	}
	return text
}

// delete cancels a job, or deletes what it has left on the volume.
func (s *service) delete(w http.ResponseWriter, r *http.Request, j *job) {
	j.cancel(errCanceled)
	select {
	case <-j.ended:
	case <-r.Context().Done():
		return
	}
	var err error
	if last := j.last(); last.Phase != phaseCanceled {
		if last.Result != "" {
			err = s.client.Delete(r.Context(), last.Result)
		}
		err = errors.Join(err, s.client.Delete(r.Context(), recordFolder+j.id))
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ready says whether new jobs are taken and can be done; no worker is woken.
func (s *service) ready(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		refuse(w, r, errClosing)
		return
	}
	known, err := s.client.Ready(r.Context())
	answer := map[string]any{"warnings": known.Warnings, "unknown": known.Unknown}
	if up, ok := known.Up(); ok {
		answer["workers"] = up
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		slog.Error("not ready", "error", err)
		answer["error"] = why(err)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(answer)
}

// refusal is an error with the status that goes with it.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// refuse answers with an error. What is not a person's own doing is logged.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, own := errors.AsType[*refusal](err)
	switch {
	case own:
	case r.Context().Err() != nil:
		return // nobody listens
	case errors.Is(err, runpod.ErrNotFound):
		e = &refusal{http.StatusNotFound, "there is no such job"}
	case errors.Is(err, runpod.ErrClosed):
		e = errClosing
	default:
		slog.Error("request failed", "path", r.URL.Path, "error", err)
		e = &refusal{http.StatusBadGateway, why(err)}
	}
	if e == errFull || e == errClosing {
		w.Header().Set("Retry-After", "10")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(map[string]string{"error": e.text})
}
