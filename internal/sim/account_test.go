package sim

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// TestRejectedRequestsDidNotWait sends a request with a wrong key and one that is
// too large, long after the server's start: neither waited for a worker.
func TestRejectedRequestsDidNotWait(t *testing.T) {
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, Speed: 1000, BodyLimit: 10, ServiceTime: runpodtest.Fixed(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for key, body := range map[string]string{"wrong": "{}", srv.APIKey: "more than ten bytes"} {
		req, err := http.NewRequest("POST", srv.EndpointURL+"/hello", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	srv.Close()
	var out bytes.Buffer
	printAccount(&out, srv)
	rows := 0
	for line := range strings.Lines(out.String()) {
		if f := strings.Fields(line); len(f) == 8 && f[5] == "rejected" { // no worker: its column is empty
			rows++
			if f[2] != "-" {
				t.Errorf("waited %s: %s", f[2], line)
			}
		}
	}
	if rows != 2 {
		t.Errorf("%d rejected requests in:\n%s", rows, out.String())
	}
}

// TestWaited covers how requests end while, before and after they wait.
func TestWaited(t *testing.T) {
	for want, r := range map[string]runpodtest.Request{
		"-":    {Arrived: time.Minute, Ended: 2 * time.Minute, Status: 413},
		"10s":  {Arrived: time.Minute, Waiting: time.Minute, Started: 70 * time.Second, Ended: 90 * time.Second, Worker: "w"},
		"2m0s": {Arrived: time.Minute, Waiting: time.Minute, Ended: 3 * time.Minute, Status: 400},
	} {
		if got := waited(r); got != want {
			t.Errorf("waited(%+v) = %s, want %s", r, got, want)
		}
	}
	if got := waited(runpodtest.Request{Waiting: time.Minute}); got != "-" {
		t.Errorf("still waiting: %s", got)
	}
}
