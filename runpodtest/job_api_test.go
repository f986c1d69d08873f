package runpodtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sendJob makes a call of the job API, a path below JobsURL.
func sendJob(srv *Server, hc *http.Client, method, path, body string) got {
	return send(srv, hc, method, strings.TrimPrefix(srv.JobsURL, srv.EndpointURL)+path, body)
}

// What the job API refuses.
func TestJobAPIRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, ServiceTime: Fixed(time.Second)})
		var made struct{ ID string }
		json.Unmarshal([]byte(sendJob(srv, hc, "POST", "/run", `{"input":1}`).body), &made)
		for _, tt := range []struct {
			method, path, body string
			status             int
		}{
			{"POST", "/run", `{}`, 400},
			{"POST", "/run", `{"input":null}`, 400},
			{"POST", "/run", `{"input":`, 400},
			{"POST", "/run", `{"input":"` + strings.Repeat("x", runLimit) + `"}`, 413},
			{"POST", "/run", `{"input":1,"policy":{"executionTimeout":5000}}`, 400},
			{"POST", "/run", `{"input":1,"policy":{"ttl":9999}}`, 400},
			{"GET", "/run", "", 404},
			{"GET", "/status/nobody", "", 404},
			{"GET", "/status-sync/nobody", "", 404},
			{"POST", "/retry/" + made.ID, "", 400},
			{"POST", "/batch", `[{"input":1},{}]`, 400},
			{"POST", "/batch/nobody/finalize", "", 404},
			{"GET", "/nothing", "", 404},
		} {
			if g := sendJob(srv, hc, tt.method, tt.path, tt.body); g.status != tt.status || g.worker != "" {
				t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, g.status, tt.status, g.body)
			}
		}
		req, _ := http.NewRequest("GET", srv.JobsURL+"/health", nil)
		resp, err := hc.Do(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("no key: %v, %v", resp, err)
		}
		resp.Body.Close()
	})
}

// The rate limits are over any 10 s, and say how long to stay away.
func TestJobAPILimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{})
		for i := range 4 {
			want := 200
			if i >= 2 {
				want = 429
			}
			if g := sendJob(srv, hc, "POST", "/purge-queue", ""); g.status != want {
				t.Errorf("purge %d: %d, want %d", i+1, g.status, want)
			}
		}
		time.Sleep(10 * time.Second)
		if g := sendJob(srv, hc, "POST", "/purge-queue", ""); g.status != 200 {
			t.Errorf("after 10 s: %d", g.status)
		}
		calls, limited := srv.JobCalls()
		if calls["purge-queue"] != 5 || limited != 2 {
			t.Errorf("%v, %d limited", calls, limited)
		}
	})
}

// A held request is answered when the job ends, or when its time is over.
func TestJobAPIHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{MinWorkers: 1, ServiceTime: Fixed(100 * time.Second)})
		for _, want := range []struct {
			path  string
			took  time.Duration
			state JobState
		}{
			{"/runsync?wait=5000", 5 * time.Second, JobInProgress},
			{"/runsync", 90 * time.Second, JobInProgress},
			{"/runsync?wait=300000", 100 * time.Second, JobCompleted},
		} {
			g := sendJob(srv, hc, "POST", want.path, `{"input":{"a":1}}`)
			var report struct {
				Status JobState
				Output struct{ Input map[string]int }
			}
			json.Unmarshal([]byte(g.body), &report)
			if g.took != want.took || report.Status != want.state || report.Status == JobCompleted && report.Output.Input["a"] != 1 {
				t.Errorf("%s: after %v: %s", want.path, g.took, g.body)
			}
			time.Sleep(2 * time.Minute) // it ends
		}
	})
}

// Jobs are demand: they start workers, and keep them.
func TestJobsStartWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{ColdStart: Fixed(time.Minute), ServiceTime: Fixed(10 * time.Second), MaxWorkers: 3})
		for i := range 12 {
			sendJob(srv, hc, "POST", "/run", fmt.Sprintf(`{"input":%d,"webhook":"https://example.org"}`, i))
		}
		time.Sleep(2 * time.Minute)
		if n := srv.Stats().WorkersStarted; n != 3 {
			t.Errorf("%d workers for 12 jobs", n)
		}
		for _, j := range srv.Jobs() {
			if j.State != JobCompleted || j.Started < time.Minute || j.Ended-j.Started != 10*time.Second || j.Webhook == "" {
				t.Errorf("%+v", j)
			}
		}
	})
}
