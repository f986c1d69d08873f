package runpod_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// steered is a client with its endpoint's control plane.
func steered(t testing.TB, srv *runpodtest.Server, opts ...runpod.Option) *runpod.Client {
	t.Helper()
	c, err := runpod.New(append([]runpod.Option{
		runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL), runpod.WithControl(planeOf(t, srv)),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		runpod.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// planeOf is the endpoint's control plane. It outlives the clients made after it.
func planeOf(t testing.TB, srv *runpodtest.Server) runpod.ControlPlane {
	t.Helper()
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL),
		control.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plane.Close() })
	return plane.For(srv.EndpointID)
}

func twin(t testing.TB, cfg runpodtest.Config) *runpodtest.Server {
	t.Helper()
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

func TestReadySaysWhatIsKnown(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  runpodtest.Config
		kind error
		says string
		up   int
	}{
		{"warm", runpodtest.Config{MinWorkers: 2}, nil, "", 2},
		{"scaled to zero", runpodtest.Config{}, nil, "", 0},
		{"no workers allowed", runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, runpod.ErrNoWorkers, "maximum is 0", 0},
		{"queue", runpodtest.Config{QueueBased: true}, runpod.ErrBadRequest, "not a load-balancing endpoint", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, tt.cfg)
				c := steered(t, srv)
				r, err := c.Ready(t.Context())
				if !errors.Is(err, tt.kind) || (err != nil) != (tt.kind != nil) || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %v", err, tt.kind)
				}
				if up, known := r.Up(); !r.Listed || up != tt.up || !known || r.Unknown != "" || r.EndpointID != srv.EndpointID {
					t.Errorf("got %+v", r)
				}
				if st := srv.Stats(); st.Requests != 0 || st.WorkersStarted != tt.up {
					t.Errorf("it woke the endpoint: %+v", st)
				}
			})
		})
	}
}

func TestReadyWithoutControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{MinWorkers: 1, ServiceTime: runpodtest.Fixed(time.Second)})
		c, err := runpod.New(runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL),
			runpod.WithHTTPTransport(&http.Transport{DialContext: srv.DialContext}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r, err := c.Ready(t.Context())
		if err != nil || r.Listed || !r.LastAnswer.IsZero() || !strings.Contains(r.Unknown, "WithControl is not set") {
			t.Errorf("got %+v, %v", r, err)
		}
		if n, known := r.Up(); n != 0 || known {
			t.Errorf("%d workers are up, known: %v", n, known)
		}
		if _, err := c.Call(t.Context(), "POST", "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Ready(t.Context()); err != nil || !r.LastAnswer.Equal(time.Now()) {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

// Each is said with advice, and no call is refused over it.
func TestReadyWarns(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  runpodtest.Config
		do   func(srv *runpodtest.Server)
		kind error
		says []string
	}{
		{"all is well", runpodtest.Config{MinWorkers: 2}, nil, nil, nil},
		{"scaled to zero", runpodtest.Config{}, nil, nil, nil},
		{"several volumes", runpodtest.Config{MinWorkers: 1, NetworkVolumes: []string{"v1", "v2"}}, nil, nil, []string{"2 network volumes, which Runpod does not keep the same", `none of the endpoint's ("v1", "v2")`}},
		{"no volume", runpodtest.Config{NetworkVolumes: []string{}}, nil, nil, []string{"the endpoint has no network volume"}},
		{"another data center", runpodtest.Config{DataCenters: []string{"US-KS-2", "US-GA-1"}}, nil, nil, []string{`the Client's volume is in EU-RO-1, and the endpoint's workers start in "US-KS-2", "US-GA-1"`}},
		{"the volume's data center in other letters", runpodtest.Config{DataCenters: []string{"US-KS-2", "eu-ro-1"}}, nil, nil, nil},
		{"any data center", runpodtest.Config{DataCenters: []string{}}, nil, nil, nil},
		{"no workers allowed", runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, nil, runpod.ErrNoWorkers, []string{"maximum is 0 workers"}},
		{"all throttled", runpodtest.Config{}, func(srv *runpodtest.Server) {
			srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Path: "*/workers", Do: runpodtest.Answer(200, `{"workers":[{"id":"a","status":"THROTTLED"},{"id":"b","status":"THROTTLED"}]}`)})
		}, nil, []string{"all workers (2) are throttled"}},
		{"all unhealthy", runpodtest.Config{MinWorkers: 2}, func(srv *runpodtest.Server) {
			for _, w := range srv.Workers() {
				srv.SetHealthy(w.ID, false)
			}
		}, nil, []string{"all workers (2) are unhealthy"}},
		{"one unhealthy", runpodtest.Config{MinWorkers: 2}, func(srv *runpodtest.Server) { srv.SetHealthy(srv.Workers()[0].ID, false) }, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := twin(t, tt.cfg)
				if tt.do != nil {
					tt.do(srv)
				}
				r, err := steered(t, srv).Ready(t.Context())
				if !errors.Is(err, tt.kind) || (err != nil) != (tt.kind != nil) || len(r.Warnings) != len(tt.says) {
					t.Fatalf("%v; warnings %q, want %q", err, r.Warnings, tt.says)
				}
				for i, says := range tt.says {
					if !strings.Contains(r.Warnings[i], says) || !strings.Contains(r.Warnings[i], ";") {
						t.Errorf("%q does not say %q, with advice", r.Warnings[i], says)
					}
				}
			})
		})
	}
}

// What the control plane did not say is named, not shown as zero.
func TestReadySaysWhatTheControlPlaneDidNotSay(t *testing.T) {
	for path, says := range map[string]string{"*": "everything but", "*/workers": "its workers"} {
		synctest.Test(t, func(t *testing.T) {
			srv := twin(t, runpodtest.Config{MinWorkers: 1})
			srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Path: path, Times: runpodtest.Always, Do: runpodtest.Answer(403, "{}")})
			r, err := steered(t, srv).Ready(t.Context())
			if _, known := r.Up(); !errors.Is(err, runpod.ErrUnauthorized) || known || !strings.Contains(r.Unknown, says) {
				t.Errorf("%s: %+v, %v", path, r, err)
			}
		})
	}
}
