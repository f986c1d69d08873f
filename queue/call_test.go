package queue

import (
	"context"
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
			err := call()
			if e := problem(t, err); string(e.Body) != body || e.Status != 200 || len(e.Attempts) != 1 {
				t.Errorf("%s: %s: %v", name, body, err)
			}
		}
	}
	q := answering(t, 200, "")
	if err := errors.Join(Open[any](q, "j").Cancel(t.Context()), OpenBatch[any](q, "b").Finalize(t.Context())); err != nil {
		t.Errorf("an empty answer to a call that asks for nothing: %v", err)
	}
}

// Calls of one kind have one route, whatever the ids in their paths.
func TestRoutes(t *testing.T) {
	var api *api
	for want, c := range map[string]call{
		"/run":                           api.post("/run", ""),
		"/runsync":                       api.post("/runsync?wait=1000", ""),
		"/status/{id}":                   job{id: "status"}.get("status"),
		"/status-sync/{id}":              job{id: "a/b?"}.get("status-sync?wait=90000"),
		"/cancel/{id}":                   job{id: "j"}.post("cancel"),
		"/batch":                         api.post("/batch", ""),
		"/batch/{id}":                    (&Batch[any]{ID: "batch"}).call("GET", ""),
		"/batch/{id}/requests":           (&Batch[any]{ID: "b"}).call("GET", "/requests?offset=0&limit=200"),
		"/batch/{id}/requests/{request}": (&Batch[any]{ID: "b"}).call("DELETE", "/requests/r1"),
	} {
		if got := c.route(); got != want {
			t.Errorf("%s: %s, want %s", c.path, got, want)
		}
	}
	var routes []string
	q := answering(t, 200, `{"id":"j","status":"COMPLETED","output":1}`, runpod.WithObserver(runpod.Observer{
		CallEnd: func(_ context.Context, info runpod.CallInfo) { routes = append(routes, info.Method+" "+info.Route) },
	}))
	if _, err := Open[int](q, "j").Wait(t.Context()); err != nil || !slices.Equal(routes, []string{"GET /status/{id}"}) {
		t.Errorf("an observer sees %q, %v", routes, err)
	}
}

// Kinds that speak of workers and of a balancer mean nothing here, and a body is
// cut at 4 KiB.
func TestKindsOfTheJobAPI(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		kind   error
	}{
		{400, `{"error":"no workers available"}`, runpod.ErrBadRequest},
		{502, "", nil}, {523, "", nil}, {524, "", nil}, {500, "", nil},
		{401, "", runpod.ErrUnauthorized}, {404, "", ErrExpired}, {422, "", runpod.ErrBadRequest}, {413, "", runpod.ErrTooLarge},
	} {
		q := answering(t, tt.status, tt.body)
		_, err := Open[any](q, "j").Status(t.Context())
		e := problem(t, err)
		if e.Kind != tt.kind || e.Status != tt.status || e.MayHaveRun || strings.Contains(e.Advice, "worker") {
			t.Errorf("%d: kind %v, %v", tt.status, e.Kind, err)
		}
	}
	_, err := Open[any](answering(t, 200, strings.Repeat("x", 1<<20)), "j").Status(t.Context())
	if n := len(problem(t, err).Body); n != 4<<10 {
		t.Errorf("%d bytes of the body are kept", n)
	}
}
