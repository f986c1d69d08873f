package runpodtest

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// freePorts returns the first of three neighbouring ports that are free.
func freePorts(t *testing.T) int {
	t.Helper()
	for port := 20700; port < 30000; port += 3 {
		var open []net.Listener
		for i := range 3 {
			if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i))); err == nil {
				open = append(open, l)
			}
		}
		for _, l := range open {
			l.Close()
		}
		if len(open) == 3 {
			return port
		}
	}
	t.Skip("no three free ports")
	return 0
}

func TestFixedPorts(t *testing.T) {
	port := freePorts(t)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	srv, _ := newTwin(t, Config{Addr: addr, MinWorkers: 1, ServiceTime: Fixed(0)})
	want := func(offset int) string { return "http://127.0.0.1:" + strconv.Itoa(port+offset) }
	if srv.EndpointURL != want(0) || srv.S3URL != want(1) || srv.ControlURL != want(2)+"/v2" || srv.JobsURL != want(0)+"/v2/twin" {
		t.Errorf("%s, %s, %s, %s from %s", srv.EndpointURL, srv.S3URL, srv.ControlURL, srv.JobsURL, addr)
	}
	if g := send(srv, http.DefaultClient, "POST", "/", "{}"); g.status != 200 {
		t.Errorf("%+v", g)
	}
	if _, err := NewServer(Config{Addr: addr}); err == nil || !strings.Contains(err.Error(), "Config.Addr") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestAddrMakesNoSense(t *testing.T) {
	for _, addr := range []string{"8700", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65534"} {
		if srv, err := NewServer(Config{Addr: addr}); err == nil || !strings.Contains(err.Error(), "Config.Addr") {
			t.Errorf("%s: %v, %v", addr, srv, err)
		}
	}
}

// Programs with ids written down meet the server under them.
func TestIDsOfYourOwn(t *testing.T) {
	srv, hc := newTwin(t, Config{EndpointID: "abc123", Bucket: "vol9", Region: "US-KS-2"})
	if srv.EndpointID != "abc123" || srv.Bucket != "vol9" || srv.Region != "US-KS-2" || srv.EndpointURL != "http://abc123.api.runpod.test" ||
		srv.S3URL != "http://s3api-us-ks-2.runpod.test" || srv.JobsURL != srv.EndpointURL+"/v2/abc123" {
		t.Errorf("%+v", srv)
	}
	if g := sendJob(srv, hc, "GET", "/health", ""); g.status != 200 {
		t.Errorf("%+v", g)
	}
	for field, cfg := range map[string]Config{
		"EndpointID": {EndpointID: "a/b"}, "Bucket": {Bucket: "a b"}, "Region": {Region: "-x"},
	} {
		if _, err := NewServer(cfg); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
