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

// The pauses between looks grow from 0.5 s to 5 s, or as the policy says.
func TestPollPause(t *testing.T) {
	const ms = time.Millisecond
	for looks, want := range []time.Duration{500 * ms, 750 * ms, 1125 * ms, 1687500 * time.Microsecond} {
		if got := pollPause(runpod.DefaultRetryPolicy(), looks); got != want {
			t.Errorf("after %d looks: %v, want %v", looks, got, want)
		}
	}
	for _, looks := range []int{6, 20, 1 << 30} {
		if got := pollPause(runpod.DefaultRetryPolicy(), looks); got != 5*time.Second {
			t.Errorf("after %d looks: %v", looks, got)
		}
	}
	if got := pollPause(runpod.DefaultRetryPolicy().Scaled(0.01), 0); got != 5*ms {
		t.Errorf("a hundred times faster: %v", got)
	}
}

// A look by POST is a look all the same: it is sent again where a job would not
// be.
func TestLookByPostIsSentAgain(t *testing.T) {
	posts := 0
	q := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "GET":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case posts == 0:
			posts++
			w.WriteHeader(http.StatusGatewayTimeout)
		default:
			posts++
			io.WriteString(w, `{"id":"j","status":"COMPLETED","output":1}`)
		}
	})
	if _, err := Open[int](q, "j").Status(t.Context()); err != nil || posts != 2 {
		t.Errorf("%v after %d", err, posts)
	}
}
