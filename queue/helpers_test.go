package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// greeting is what the jobs of these tests give.
type greeting struct{ Hello string }

// jobEndpoint is an endpoint whose jobs take a minute on a cold worker. Their
// input says what becomes of them.
func jobEndpoint() runpodtest.Config {
	return runpodtest.Config{
		ColdStart: runpodtest.Fixed(75 * time.Second), ServiceTime: runpodtest.Fixed(time.Minute),
		JobHandler: func(ctx context.Context, job runpodtest.Job) (any, error) {
			var in string
			json.Unmarshal(job.Input, &in)
			switch in {
			case "fail":
				return nil, errors.New("CUDA out of memory")
			case "crash":
				panic("segmentation fault")
			case "for ever":
				<-ctx.Done()
			case "stream", "stream and fail":
				for i := range 5 {
					job.Emit(fmt.Sprint("part ", i))
					time.Sleep(2 * time.Second)
				}
				if in != "stream" {
					return nil, errors.New("out of tokens")
				}
			}
			return greeting{in}, nil
		},
	}
}

func runJob(t *testing.T, q *Client, in string) *Handle[greeting] {
	t.Helper()
	job, err := Run[greeting](t.Context(), q, Request{Input: in})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// inBubble runs a test in virtual time against a simulated service, with a
// Client of its own.
func inBubble(t *testing.T, cfg runpodtest.Config, f func(t *testing.T, srv *runpodtest.Server, q *Client), opts ...runpod.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		f(t, srv, newClient(t, srv.JobsURL, append([]runpod.Option{
			runpod.WithAPIKey(srv.APIKey), runpod.WithDialContext(srv.DialContext),
		}, opts...)...))
	})
}

func newClient(t *testing.T, url string, opts ...runpod.Option) *Client {
	t.Helper()
	q, err := New(url, append([]runpod.Option{runpod.WithAPIKey("the-key"), runpod.WithHTTPTransport(&http.Transport{})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// served is a Client of a job API that a test makes up, over loopback, whose
// times are a thousandth of the service's.
func served(t *testing.T, handler http.HandlerFunc, opts ...runpod.Option) *Client {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL+"/v2/abc", append(opts, runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1e-3)))...)
}

// answering is a job API with one answer for everything.
func answering(t *testing.T, status int, body string, opts ...runpod.Option) *Client {
	return served(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}, opts...)
}

// problem is the *runpod.Error that an error must be.
func problem(t *testing.T, err error) *runpod.Error {
	t.Helper()
	e, ok := errors.AsType[*runpod.Error](err)
	if !ok {
		t.Fatalf("no *runpod.Error: %v", err)
	}
	return e
}
