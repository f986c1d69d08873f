package runpodtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// control makes one request to the control plane, with the key unless a header
// says otherwise.
func (tw *twin) control(method, path, body string, header ...string) got {
	req, err := http.NewRequest(method, tw.ControlURL+path, strings.NewReader(body))
	if err != nil {
		return got{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+tw.APIKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := tw.http.Do(req)
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{status: resp.StatusCode, body: string(b), header: resp.Header, err: err}
}

func (tw *twin) path() string { return "/serverless/" + tw.EndpointID }

func TestControlPlaneAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, body, key string
		status                        int
		says                          string
	}{
		{"get", "GET", "", "", "", 200, `"workers":{"min":0,"max":3,"idleTimeout":5},"scaling":{"type":"REQUEST_COUNT","requestCount":4}`},
		{"type", "GET", "", "", "", 200, `"type":"LOAD_BALANCER"`},
		{"patch min", "PATCH", "", `{"workers":{"min":2}}`, "", 200, `"workers":{"min":2,"max":3,"idleTimeout":5}`},
		{"patch all", "PATCH", "", `{"workers":{"min":1,"max":7,"idleTimeout":30},"scaling":{"requestCount":1}}`, "", 200,
			`"workers":{"min":1,"max":7,"idleTimeout":30},"scaling":{"type":"REQUEST_COUNT","requestCount":1}`},
		{"min above max", "PATCH", "", `{"workers":{"min":4}}`, "", 422, "workers.min 4, workers.max 3"},
		{"unknown field", "PATCH", "", `{"workers":{"minimum":4}}`, "", 422, `unknown field \"minimum\"`},
		{"wrong type", "PATCH", "", `{"workers":{"min":"4"}}`, "", 422, "cannot unmarshal string"},
		{"no JSON", "PATCH", "", `min=4`, "", 422, "invalid character"},
		{"bad idle timeout", "PATCH", "", `{"workers":{"idleTimeout":0}}`, "", 422, "workers.idleTimeout 0"},
		{"bad scaling", "PATCH", "", `{"scaling":{"requestCount":0}}`, "", 422, "scaling.requestCount 0"},
		{"workers", "GET", "/workers", "", "", 200, `"summary":{"idle":0,"initializing":0,"running":0,"throttled":0,"total":0,"unhealthy":0}`},
		{"other endpoint", "GET", "x", "", "", 404, "serverless endpoint not found"},
		{"other route", "DELETE", "", "", "", 404, "no such route"},
		{"no key", "GET", "", "", "none", 401, "no token provided"},
		{"bad key", "GET", "", "", "Bearer rpa_x", 401, "invalid api key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tw := newTwin(t, runpodtest.Config{})
				var header []string
				if tt.key != "" {
					header = []string{"Authorization", tt.key}
				}
				g := tw.control(tt.method, tw.path()+tt.path, tt.body, header...)
				if g.err != nil || g.status != tt.status || !strings.Contains(g.body, tt.says) {
					t.Errorf("got %d %s %v, want %d with %s", g.status, g.body, g.err, tt.status, tt.says)
				}
				if kind := g.header.Get("Content-Type"); (g.status >= 400) != (kind == "application/problem+json") {
					t.Errorf("status %d as %s", g.status, kind)
				}
			})
		})
	}
}

// A raised minimum starts workers at once, a lowered one lets them idle out.
func TestControlPlaneReachesTheAutoscaler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tw := newTwin(t, runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute)})
		statuses := func() string {
			var list struct {
				Workers []struct{ Status string }
				Summary map[string]int
			}
			json.Unmarshal([]byte(tw.control("GET", tw.path()+"/workers", "").body), &list)
			var out []string
			for _, w := range list.Workers {
				out = append(out, w.Status)
			}
			if list.Summary["total"] != len(out) {
				t.Errorf("summary %v of %v", list.Summary, out)
			}
			return strings.Join(out, " ")
		}
		for _, step := range []struct {
			patch string
			wait  time.Duration
			want  string
		}{
			{`{"workers":{"min":2}}`, 0, "INITIALIZING INITIALIZING"},
			{`{}`, time.Minute, "IDLE IDLE"},
			{`{}`, time.Hour, "IDLE IDLE"},
			{`{"workers":{"min":1,"idleTimeout":10}}`, time.Millisecond, "IDLE"}, // idle for an hour
			{`{"workers":{"min":0}}`, time.Millisecond, ""},
		} {
			if g := tw.control("PATCH", tw.path(), step.patch); g.status != 200 {
				t.Fatal(g)
			}
			time.Sleep(step.wait)
			synctest.Wait()
			if got := statuses(); got != step.want {
				t.Errorf("%s and %v later: %q, want %q", step.patch, step.wait, got, step.want)
			}
		}
		if least, most := tw.WorkerBounds(); least != 0 || most != 3 {
			t.Errorf("bounds %d to %d", least, most)
		}
	})
}

func TestControlPlaneQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tw := newTwin(t, runpodtest.Config{ControlPerMinute: 2})
		time.Sleep(time.Second)
		for i, want := range []struct {
			status      int
			limit, wait string
		}{{200, `"minute";r=1;t=60, "hour";r=39;t=3600`, ""}, {200, `"minute";r=0;t=60, "hour";r=38;t=3600`, ""}, {429, `"minute";r=0;t=60, "hour";r=37;t=3600`, "60"}} {
			g := tw.control("GET", tw.path(), "")
			if g.status != want.status || g.header.Get("RateLimit") != want.limit || g.header.Get("Retry-After") != want.wait {
				t.Errorf("request %d: %d %v", i, g.status, g.header)
			}
		}
		time.Sleep(time.Minute)
		if g := tw.control("GET", tw.path(), ""); g.status != 200 || g.header.Get("RateLimit-Policy") != `"minute";q=2;w=60, "hour";q=40;w=3600` {
			t.Errorf("in the next window: %d %v", g.status, g.header)
		}
		if n := tw.Stats().ControlRequests; n != 4 {
			t.Errorf("%d requests counted", n)
		}
	})
}

func TestControlPlaneFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tw := newTwin(t, runpodtest.Config{})
		tw.Fault(runpodtest.Fault{On: runpodtest.OnControl, Method: "PATCH", Do: runpodtest.Answer(503, "{}", "Retry-After", "3")})
		if g := tw.control("PATCH", tw.path(), `{"workers":{"min":1}}`); g.status != 503 || g.header.Get("Retry-After") != "3" {
			t.Errorf("got %+v", g)
		}
		tw.Fault(runpodtest.Fault{On: runpodtest.OnControl, Do: runpodtest.ResetAfterRead()})
		if g := tw.control("PATCH", tw.path(), `{"workers":{"min":1}}`); g.err == nil {
			t.Errorf("not reset: %+v", g)
		}
		if least, _ := tw.WorkerBounds(); least != 0 {
			t.Error("what was not carried out has changed the minimum")
		}
		tw.Fault(runpodtest.Fault{On: runpodtest.OnControl, Do: runpodtest.ResetAfterWork()})
		if g := tw.control("PATCH", tw.path(), `{"workers":{"min":1}}`); g.err == nil {
			t.Errorf("not reset: %+v", g)
		}
		if least, _ := tw.WorkerBounds(); least != 1 {
			t.Error("the work was not done before the reset")
		}
		tw.Fault(runpodtest.Fault{On: runpodtest.OnControl, Do: runpodtest.RefuseConnection()})
		if g := tw.control("GET", tw.path(), ""); g.err == nil {
			t.Errorf("not refused: %+v", g)
		}
		if g := tw.send("POST", "/x", "{}"); g.status != 200 {
			t.Errorf("the endpoint is hit too: %+v", g)
		}
	})
}
