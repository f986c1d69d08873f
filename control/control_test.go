package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// inBubble runs a test in virtual time with a simulated control plane.
func inBubble(t *testing.T, cfg runpodtest.Config, f func(t *testing.T, srv *runpodtest.Server, c *control.Client), opts ...control.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c, err := control.New(append([]control.Option{
			control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL),
			control.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}),
		}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		f(t, srv, c)
		c.Close()
		srv.Close()
	})
}

func ptr(n int) *int { return &n }

func TestReadChangeAndList(t *testing.T) {
	cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute)}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
		e, err := c.Endpoint(t.Context(), srv.EndpointID)
		want := control.Endpoint{ID: srv.EndpointID, Name: "twin", Type: control.LoadBalancer,
			RequestURLs: control.RequestURLs{Base: srv.EndpointURL, Health: srv.EndpointURL + "/health"},
			Workers:     control.Workers{Min: 0, Max: 3, IdleTimeout: 5}, Scaling: control.Scaling{Type: "REQUEST_COUNT", RequestCount: 4},
			DataCenterIDs: []string{srv.Region}, NetworkVolumes: []string{srv.Bucket}}
		if err != nil || !reflect.DeepEqual(e, want) {
			t.Errorf("got %+v, %v", e, err)
		}
		e, err = c.Update(t.Context(), srv.EndpointID, control.Change{MinWorkers: ptr(2)})
		if err != nil || e.Workers != (control.Workers{Min: 2, Max: 3, IdleTimeout: 5}) {
			t.Errorf("got %+v, %v", e, err)
		}
		e, err = c.Update(t.Context(), srv.EndpointID, control.Change{MaxWorkers: ptr(9), IdleTimeout: ptr(60), RequestCount: ptr(1)})
		if err != nil || e.Workers != (control.Workers{Min: 2, Max: 9, IdleTimeout: 60}) || e.Scaling.RequestCount != 1 {
			t.Errorf("got %+v, %v", e, err)
		}
		time.Sleep(70 * time.Second)
		list, err := c.ListWorkers(t.Context(), srv.EndpointID)
		if err != nil || len(list) != 2 || list[0].Status != runpod.WorkerIdle || list[0].ID == "" || list[0].UptimeSeconds < 69 || list[0].StartedAt.IsZero() {
			t.Errorf("got %+v, %v", list, err)
		}
		plane := c.For(srv.EndpointID)
		s, err := plane.SetMinWorkers(t.Context(), 1)
		if want := (runpod.Scaling{EndpointID: srv.EndpointID, MinWorkers: 1, MaxWorkers: 9, IdleTimeout: time.Minute, RequestsPerWorker: 1, LoadBalancing: true,
			DataCenters: []string{srv.Region}, NetworkVolumes: []string{srv.Bucket}}); err != nil || !reflect.DeepEqual(s, want) {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	inBubble(t, runpodtest.Config{}, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
		for field, change := range map[string]control.Change{
			"Change.MinWorkers":   {MinWorkers: ptr(-1)},
			"Change.IdleTimeout":  {IdleTimeout: ptr(0)},
			"Change.RequestCount": {RequestCount: ptr(0)},
			"Change":              {},
		} {
			_, err := c.Update(t.Context(), srv.EndpointID, change)
			if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != field || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := c.Update(t.Context(), srv.EndpointID, control.Change{MinWorkers: ptr(3), MaxWorkers: ptr(2)}); err == nil {
			t.Error("min above max was let through")
		}
		if _, err := c.Endpoint(t.Context(), "../x"); err == nil || !strings.Contains(err.Error(), "id") {
			t.Errorf("got %v", err)
		}
		if n := srv.Stats().ControlRequests; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
	for name, opt := range map[string]control.Option{
		"WithURL": control.WithURL("api.runpod.io"), "WithAPIKey": control.WithAPIKey("a\nb"), "WithLogger": control.WithLogger(nil),
		"WithHTTPTransport": control.WithHTTPTransport(nil), "WithDialContext": control.WithDialContext(nil),
		"WithRetryPolicy": control.WithRetryPolicy(runpod.RetryPolicy{Grace: -1}), "options": nil,
	} {
		if _, err := control.New(opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoKey(t *testing.T) {
	t.Setenv("RUNPOD_API_KEY", "")
	if _, err := control.New(); err == nil || !strings.Contains(err.Error(), "RUNPOD_API_KEY") {
		t.Errorf("got %v", err)
	}
}

// What the caller gets for each thing that a request can meet.
func TestAnswers(t *testing.T) {
	const problem = "application/problem+json"
	for _, tt := range []struct {
		name     string
		fault    runpodtest.Action
		times    int
		kind     error // nil: it succeeds
		attempts int
		least    time.Duration
	}{
		{"401", runpodtest.Answer(401, `{"title":"Unauthorized","status":401,"detail":"invalid api key"}`, "Content-Type", problem), 1, runpod.ErrUnauthorized, 1, 0},
		{"403", runpodtest.Answer(403, `{}`), 1, runpod.ErrUnauthorized, 1, 0},
		{"404", runpodtest.Answer(404, `{}`), 1, runpod.ErrNotFound, 1, 0},
		{"422", runpodtest.Answer(422, `{"detail":"no such field"}`), 1, runpod.ErrBadRequest, 1, 0},
		{"429 with Retry-After", runpodtest.Answer(429, `{}`, "Retry-After", "7"), 2, nil, 3, 14 * time.Second},
		{"429 for too long", runpodtest.Answer(429, `{}`, "Retry-After", "3000"), 1, runpod.ErrRateLimited, 1, 0},
		{"503", runpodtest.Answer(503, `{}`, "Retry-After", "2"), 1, nil, 2, 2 * time.Second},
		{"502 for ever", runpodtest.Answer(502, `bad gateway`), runpodtest.Always, runpod.ErrNoWorkers, 5, 0},
		{"reset after the work", runpodtest.ResetAfterWork(), 1, nil, 2, 0},
		{"refused connection", runpodtest.RefuseConnection(), 1, nil, 2, 0},
		{"no answer for a minute", runpodtest.Delay(time.Minute), 1, nil, 2, 30 * time.Second},
		{"redirect", runpodtest.Answer(302, ``, "Location", "http://elsewhere.test/"), 1, runpod.ErrNoWorkers, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, runpodtest.Config{}, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
				rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: tt.times, Do: tt.fault})
				start := time.Now()
				_, err := c.Update(t.Context(), srv.EndpointID, control.Change{MinWorkers: ptr(1)})
				switch tt.kind {
				case nil:
					if least, _ := srv.WorkerBounds(); err != nil || least != 1 || rule.Fired() != tt.attempts-1 {
						t.Errorf("%v, minimum %d, fired %d times", err, least, rule.Fired())
					}
				case runpod.ErrNoWorkers: // any error without a kind
					if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Kind != nil || len(e.Attempts) != tt.attempts {
						t.Errorf("got %v", err)
					}
				default:
					e, ok := errors.AsType[*runpod.Error](err)
					if !ok || !errors.Is(err, tt.kind) || len(e.Attempts) != tt.attempts {
						t.Errorf("got %v, want %v after %d attempts", err, tt.kind, tt.attempts)
					}
				}
				if took := time.Since(start); took < tt.least {
					t.Errorf("it took %s, less than %s", took, tt.least)
				}
			})
		})
	}
}

// A quota that is used up is waited for, not run into.
func TestQuotaIsObeyed(t *testing.T) {
	inBubble(t, runpodtest.Config{ControlPerMinute: 3}, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
		start := time.Now()
		for range 7 {
			if _, err := c.Endpoint(t.Context(), srv.EndpointID); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 2*time.Minute || took > 121*time.Second || srv.Stats().ControlRequests != 7 {
			t.Errorf("7 requests at 3 a minute took %s and %d attempts", took, srv.Stats().ControlRequests)
		}
		for range 2 {
			c.Endpoint(t.Context(), srv.EndpointID)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.Endpoint(ctx, srv.EndpointID)
		if !errors.Is(err, runpod.ErrRateLimited) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 0 {
			t.Errorf("got %v after %s: a wait beyond the deadline is pointless", err, time.Since(begin))
		}
	})
}

func TestContextEndsEverything(t *testing.T) {
	inBubble(t, runpodtest.Config{}, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Times: runpodtest.Always, Do: runpodtest.Answer(503, "", "Retry-After", "30")})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(errors.New("enough")) })
		start := time.Now()
		_, err := c.Endpoint(ctx, srv.EndpointID)
		if !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "enough") || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

func TestNoKeyIsShown(t *testing.T) {
	var lines bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inBubble(t, runpodtest.Config{}, func(t *testing.T, srv *runpodtest.Server, c *control.Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Do: runpodtest.Answer(422, `{"detail":"Bearer `+srv.APIKey+`"}`)})
		_, err := c.Endpoint(t.Context(), srv.EndpointID)
		if err == nil || strings.Contains(err.Error()+lines.String(), srv.APIKey) || !strings.Contains(lines.String(), "status=422") {
			t.Errorf("%v\n%s", err, lines.String())
		}
	}, control.WithLogger(logger))
}
