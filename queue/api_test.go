package queue

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
)

// Runpod's local development server takes /status and /stream by POST only: after
// a 405 it is the other method, and stays it.
func TestMethodsOfTheLocalDevelopmentServer(t *testing.T) {
	for _, allowed := range []string{"POST", "GET"} {
		var got []string
		q := served(t, func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Method)
			if r.Method != allowed {
				http.Error(w, `{"detail":"Method Not Allowed"}`, http.StatusMethodNotAllowed)
				return
			}
			io.WriteString(w, `{"id":"j","status":"COMPLETED","output":1}`)
		})
		job := Open[int](q, "j")
		for range 2 {
			if _, err := job.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			for _, err := range Stream[int](t.Context(), q, "j") {
				t.Error(err)
			}
		}
		want := []string{"GET", "POST", "GET", "POST", "POST", "POST"}
		if allowed == "GET" {
			want = []string{"GET", "GET", "GET", "GET"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s only: %v", allowed, got)
		}
	}
	q := answering(t, http.StatusMethodNotAllowed, "neither")
	if _, err := Open[int](q, "j").Status(t.Context()); statusOf(err) != http.StatusMethodNotAllowed || !strings.Contains(err.Error(), "GET /status/j") {
		t.Errorf("neither: %v", err)
	}
}

// The caller's options count: the limit in flight, the policy, an observer, and a
// classifier, which is asked before this package's own.
func TestOptionsOfTheCaller(t *testing.T) {
	var attempts atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if attempts.Load() < 3 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"no workers available"}`) // a cold start's words mean nothing here
	}))
	defer srv.Close()
	q := newClient(t, srv.URL+"/v2/abc", runpod.WithMaxInFlight(7),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1e-3)),
		runpod.WithEndpoint("https://elsewhere.example.org"), runpod.WithKeepWarm(time.Minute),
		runpod.WithClassifier(func(o runpod.Observation) (runpod.Verdict, bool) {
			return runpod.VerdictRetryBackoff, o.Status == http.StatusTeapot
		}),
		runpod.WithObserver(runpod.Observer{AttemptStart: func(ctx context.Context, _ runpod.AttemptInfo) context.Context {
			attempts.Add(1)
			return ctx
		}}))
	_, err := q.Health(t.Context())
	if e := problem(t, err); e.Status != 400 || !errors.Is(err, runpod.ErrBadRequest) || errors.Is(err, runpod.ErrNoWorkers) || attempts.Load() != 3 {
		t.Errorf("%d attempts: %v", attempts.Load(), err)
	}
	if limit := q.Stats().Limit; limit != 7 {
		t.Errorf("at most %d in flight", limit)
	}
	if limit := newClient(t, srv.URL).Stats().Limit; limit != maxInFlight {
		t.Errorf("at most %d in flight by default", limit)
	}
	if _, err := New("abc", runpod.WithMaxInFlight(-1)); problem(t, err).Field != "WithMaxInFlight" {
		t.Errorf("got %v", err)
	}
}
