package sim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// interposed is a simulated endpoint behind a proxy, with a client that trusts it.
func interposed(t *testing.T) (*runpodtest.Server, *interposer, *http.Client) {
	t.Helper()
	opts := &options{cfg: runpodtest.Config{Loopback: true, MinWorkers: 1, ServiceTime: runpodtest.Fixed(0)}}
	srv, err := runpodtest.NewServer(opts.cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newInterposer(srv, opts)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(p.files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	at, _ := url.Parse(p.URL)
	tr := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		p.close()
		srv.Close()
	})
	return srv, p, &http.Client{Transport: tr}
}

// Each of the live service's hosts leads to the service behind it.
func TestHostsOfTheLiveService(t *testing.T) {
	srv, _, hc := interposed(t)
	for target, want := range map[string]string{
		"https://twin.api.runpod.ai/ping":               "200 worker",
		"https://abc123.api.runpod.ai/generate":         "200 worker",
		"https://api.runpod.ai/v2/twin/health":          `200 {"jobs"`,
		"https://api.runpod.ai/v2/other/health":         `404 {"error":"not found"}`,
		"https://api.runpod.ai/ping":                    "404 no api.runpod.ai/ping here",
		"https://api.runpod.io/v2/serverless/twin":      `200 {"id":"twin","name":"twin","type":"LOAD_BALANCER","requestUrls":{"base":"https://twin.api.runpod.ai"`,
		"https://rest.runpod.io/v1/endpoints":           `404 {"status":404`,
		"https://s3api-eu-ro-1.runpod.io/" + srv.Bucket: "403 <?xml", // not signed
		"https://s3api-us-ks-2.runpod.io/" + srv.Bucket: "403 <?xml",
	} {
		req, _ := http.NewRequest("GET", target, nil)
		if !strings.Contains(target, "s3api") {
			req.Header.Set("Authorization", "Bearer "+srv.APIKey)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		got := resp.Status[:4] + string(b)
		if resp.Header.Get("X-Runpod-Worker-Id") != "" {
			got = resp.Status[:4] + "worker"
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	_, p, hc := interposed(t)
	for _, host := range []string{"example.org", "runpod.ai", "a.b.api.runpod.ai", "s3api-.runpod.io", "api.runpod.ai.example.org", "evil-api.runpod.io"} {
		if _, err := hc.Get("https://" + host + "/"); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	var out bytes.Buffer
	p.printCounts(&out)
	if !strings.Contains(out.String(), `refused "example.org" 1 times`) {
		t.Errorf("%s", out.String())
	}
}

// The authority's key is written nowhere, and nothing is left.
func TestFilesOfTheProxy(t *testing.T) {
	srv, p, _ := interposed(t)
	files, _ := filepath.Glob(filepath.Join(p.dir, "*"))
	if len(files) != 3 {
		t.Errorf("%v", files)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, _ := os.ReadFile(p.files.S3cmd); !bytes.Contains(b, []byte("secret_key = "+srv.SecretAccessKey)) {
		t.Errorf("%s", b)
	}
	p.close()
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}
