package queue

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
)

// The requests are those of docs/jobs.md, call by call.
func TestRequestShapes(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		if r.Header.Get("Authorization") != "Bearer the-key" {
			t.Errorf("%s: %v", got, r.Header)
		}
		io.WriteString(w, `{"id":"j1","status":"COMPLETED","requests":[],"removed":0}`)
	}))
	defer srv.Close()
	q := newClient(t, srv.URL+"/v2/abc")
	ctx := t.Context()
	full := Request{
		Input: map[string]string{"prompt": "Hello"}, Webhook: "https://example.org/hook",
		ExecutionTimeout: 15 * time.Minute, TTL: time.Hour, LowPriority: true, Wait: 2 * time.Minute,
		S3: &S3{AccessID: "i", AccessSecret: "s", BucketName: "b", EndpointURL: "https://s3.example.org"},
	}
	const body = `{"input":{"prompt":"Hello"},"webhook":"https://example.org/hook",` +
		`"policy":{"executionTimeout":900000,"ttl":3600000,"lowPriority":true},` +
		`"s3Config":{"accessId":"i","accessSecret":"s","bucketName":"b","endpointUrl":"https://s3.example.org"}}`
	job, batch := Open[any](q, "j1"), OpenBatch[any](q, "b1")
	for _, tt := range []struct {
		want string
		call func() error
	}{
		{`POST /v2/abc/run {"input":1}`, func() error { _, err := Run[any](ctx, q, Request{Input: 1}); return err }},
		{"POST /v2/abc/run " + body, func() error { _, err := Run[any](ctx, q, full); return err }},
		{`POST /v2/abc/runsync {"input":1}`, func() error { _, err := RunSync[any](ctx, q, Request{Input: 1}); return err }},
		{"POST /v2/abc/runsync?wait=120000 " + body, func() error { _, err := RunSync[any](ctx, q, full); return err }},
		{"GET /v2/abc/status/j1", func() error { _, err := job.Status(ctx); return err }},
		{"GET /v2/abc/status/j1", func() error { _, err := job.Wait(ctx); return err }},
		{"GET /v2/abc/status-sync/j1?wait=90000", func() error { _, err := job.Wait(ctx, LongPoll()); return err }},
		{"GET /v2/abc/stream/j1", func() error {
			for _, err := range Stream[any](ctx, q, "j1") {
				return err
			}
			return nil
		}},
		{"POST /v2/abc/cancel/j1", func() error { return job.Cancel(ctx) }},
		{"POST /v2/abc/retry/j1", func() error { return job.Retry(ctx) }},
		{"POST /v2/abc/purge-queue", func() error { _, err := q.PurgeQueue(ctx); return err }},
		{"GET /v2/abc/health", func() error { _, err := q.Health(ctx); return err }},
		{`POST /v2/abc/batch []`, func() error { _, err := NewBatch[any](ctx, q); return err }},
		{`POST /v2/abc/batch [{"input":1}]`, func() error { _, err := NewBatch[any](ctx, q, Request{Input: 1}); return err }},
		{`POST /v2/abc/batch/b1/requests {"requests":[{"input":1}]}`, func() error { return batch.Add(ctx, Request{Input: 1}) }},
		{"DELETE /v2/abc/batch/b1/requests/r1", func() error { return batch.Remove(ctx, "r1") }},
		{"POST /v2/abc/batch/b1/finalize", func() error { return batch.Finalize(ctx) }},
		{"POST /v2/abc/batch/b1/cancel", func() error { return batch.Cancel(ctx) }},
		{"GET /v2/abc/batch/b1", func() error { _, err := batch.Status(ctx); return err }},
		{"GET /v2/abc/batch/b1/requests?offset=0&limit=200", func() error {
			for _, err := range batch.Results(ctx) {
				return err
			}
			return nil
		}},
		{"GET /v2/abc/status/a%2Fb%3F", func() error { _, err := Open[any](q, "a/b?").Status(ctx); return err }},
	} {
		if err := tt.call(); err != nil || got != tt.want {
			t.Errorf("sent %s\nwant %s (%v)", got, tt.want, err)
		}
	}
}

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

// A 2xx that says nothing but an error, or that is something else altogether, has
// done nothing.
func TestSuccessThatIsNone(t *testing.T) {
	for _, body := range []string{`{"error":"not now"}`, page} {
		q := answering(t, 200, body)
		job, batch := Open[any](q, "j"), OpenBatch[any](q, "b")
		for name, call := range map[string]func() error{
			"cancel":       func() error { return job.Cancel(t.Context()) },
			"retry":        func() error { return job.Retry(t.Context()) },
			"health":       func() error { _, err := q.Health(t.Context()); return err },
			"purge":        func() error { _, err := q.PurgeQueue(t.Context()); return err },
			"new batch":    func() error { _, err := NewBatch[any](t.Context(), q); return err },
			"add":          func() error { return batch.Add(t.Context(), Request{Input: 1}) },
			"remove":       func() error { return batch.Remove(t.Context(), "r") },
			"finalize":     func() error { return batch.Finalize(t.Context()) },
			"cancel batch": func() error { return batch.Cancel(t.Context()) },
			"status":       func() error { _, err := batch.Status(t.Context()); return err },
			"wait":         func() error { _, err := batch.Wait(t.Context()); return err },
			"results": func() error {
				for _, err := range batch.Results(t.Context()) {
					return err
				}
				return nil
			},
		} {
			if err := call(); err == nil || string(problem(t, err).Body) != body {
				t.Errorf("%s: %s: %v", name, body, err)
			}
		}
	}
	q := answering(t, 200, "")
	if err := errors.Join(Open[any](q, "j").Cancel(t.Context()), OpenBatch[any](q, "b").Finalize(t.Context())); err != nil {
		t.Errorf("an empty answer to a call that asks for nothing: %v", err)
	}
}

// Without a Client, or with a zero value, every call is an error that says so.
func TestZeroValues(t *testing.T) {
	var job Handle[any]
	var batch Batch[any]
	for _, q := range []*Client{nil, new(Client)} {
		_, err1 := Run[any](t.Context(), q, Request{Input: 1})
		_, err2 := RunSync[any](t.Context(), q, Request{Input: 1})
		_, err3 := q.Health(t.Context())
		_, err4 := q.PurgeQueue(t.Context())
		_, err5 := NewBatch[any](t.Context(), q, Request{Input: 1})
		_, err6 := Open[any](q, "j").Wait(t.Context(), LongPoll())
		errs := []error{err1, err2, err3, err4, err5, err6}
		for _, err := range Stream[any](t.Context(), q, "j") {
			errs = append(errs, err)
		}
		for _, j := range []*Handle[any]{nil, &job, Open[any](q, "j")} {
			_, err1 := j.Status(t.Context())
			_, err2 := j.Wait(t.Context())
			errs = append(errs, err1, err2, j.Cancel(t.Context()), j.Retry(t.Context()))
		}
		for _, b := range []*Batch[any]{nil, &batch, OpenBatch[any](q, "b")} {
			_, err1 := b.Status(t.Context())
			_, err2 := b.Wait(t.Context())
			errs = append(errs, err1, err2, b.Cancel(t.Context()), b.Finalize(t.Context()), b.Remove(t.Context(), "r"), b.Add(t.Context(), Request{Input: 1}))
			for _, err := range b.Results(t.Context()) {
				errs = append(errs, err)
			}
		}
		for i, err := range errs {
			if e := problem(t, err); e.Field != "queue.Client" || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if q.Stats() != (runpod.Stats{}) || q.Close() != nil {
			t.Error("a Client that was not made has done something")
		}
	}
	var failure *Failure
	if (&Failure{}).Error() != "" || failure.from(nil) != nil {
		t.Error("a Failure of nothing says something")
	}
}
