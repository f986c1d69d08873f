package sim

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gpuburst/runpod-go/internal/httpsproxy"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// interposer is the HTTPS proxy that answers for the live service's hosts, with
// the files that clients need for it.
type interposer struct {
	*httpsproxy.Proxy
	dir   string
	files files
}

// files are what clients read. They are gone at the end.
type files struct {
	CA          string `json:"ca"`
	S3cmd       string `json:"s3cmd_config"`
	NodePreload string `json:"node_preload"`
}

// liveHosts names the hosts, for a person.
const liveHosts = "*.api.runpod.ai, api.runpod.ai, api.runpod.io, rest.runpod.io and s3api-*.runpod.io"

//go:embed node-preload.cjs
var nodePreload []byte

func newInterposer(srv *runpodtest.Server, opts *options) (p *interposer, err error) {
	route, err := routes(srv)
	if err != nil {
		return nil, err
	}
	p = &interposer{}
	if p.Proxy, err = httpsproxy.Listen(proxyAddr(opts.cfg.Addr), liveHosts, []string{"runpod.ai", "runpod.io"}, route); err != nil {
		return nil, fmt.Errorf("-proxy: %w", err)
	}
	if err := p.write(srv); err != nil {
		return nil, errors.Join(fmt.Errorf("-proxy: %w", err), p.close())
	}
	return p, nil
}

// proxyAddr is the port after those of the server. NewServer has checked addr.
func proxyAddr(addr string) string {
	host, text, err := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	if err != nil || port == 0 {
		return "127.0.0.1:0"
	}
	return net.JoinHostPort(host, strconv.Itoa(port+3))
}

// routes says which service answers for a host.
func routes(srv *runpodtest.Server) (func(host string) (httpsproxy.Target, bool), error) {
	var urls [3]*url.URL
	for i, text := range []string{srv.EndpointURL, srv.S3URL, srv.ControlURL} {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		urls[i] = &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	endpoint, s3, control := httpsproxy.Target{URL: urls[0]}, httpsproxy.Target{URL: urls[1]}, httpsproxy.Target{URL: urls[2]}
	jobs := httpsproxy.Target{URL: urls[0], Prefix: "/v2/"}
	return func(host string) (httpsproxy.Target, bool) {
		switch {
		case host == "api.runpod.ai":
			return jobs, true
		case below(host, "", ".api.runpod.ai"):
			return endpoint, true
		case host == "api.runpod.io", host == "rest.runpod.io":
			return control, true
		case below(host, "s3api-", ".runpod.io"):
			return s3, true
		}
		return httpsproxy.Target{}, false
	}, nil
}

// below reports whether a host is one label between a prefix and a suffix.
func below(host, prefix, suffix string) bool {
	label, ok := strings.CutSuffix(host, suffix)
	label, begins := strings.CutPrefix(label, prefix)
	return ok && begins && label != "" && !strings.Contains(label, ".")
}

// s3Host is the live gateway's host of the volume's data center.
func s3Host(srv *runpodtest.Server) string {
	return "s3api-" + strings.ToLower(srv.Region) + ".runpod.io"
}

// write writes the files.
func (p *interposer) write(srv *runpodtest.Server) (err error) {
	if p.dir, err = os.MkdirTemp("", "runpod-sim-"); err != nil {
		return err
	}
	p.files = files{
		CA: filepath.Join(p.dir, "ca.pem"), S3cmd: filepath.Join(p.dir, "s3cmd.cfg"), NodePreload: filepath.Join(p.dir, "node-preload.cjs"),
	}
	return errors.Join(
		os.WriteFile(p.files.CA, p.CACertificate(), 0o644),
		os.WriteFile(p.files.S3cmd, []byte(p.s3cmd(srv)), 0o600),
		os.WriteFile(p.files.NodePreload, nodePreload, 0o644),
	)
}

// s3cmd is a configuration for s3cmd, which takes none of it from the
// environment.
func (p *interposer) s3cmd(srv *runpodtest.Server) string {
	at := strings.TrimPrefix(p.URL, "http://")
	host, port, _ := net.SplitHostPort(at)
	var b strings.Builder
	fmt.Fprintln(&b, "[default]")
	for _, v := range [][2]string{
		{"access_key", srv.AccessKeyID}, {"secret_key", srv.SecretAccessKey},
		{"host_base", s3Host(srv)}, {"host_bucket", s3Host(srv)}, {"bucket_location", srv.Region},
		{"use_https", "True"}, {"ca_certs_file", p.files.CA}, {"proxy_host", host}, {"proxy_port", port},
	} {
		fmt.Fprintf(&b, "%s = %s\n", v[0], v[1])
	}
	return b.String()
}

// environment is that of clients written for the live service. Variables that
// clients read in two spellings are set in both, so that neither leads elsewhere.
func (p *interposer) environment(srv *runpodtest.Server) environment {
	const local = "localhost,127.0.0.1,::1"
	return environment{
		unset: []string{"RUNPOD_ENDPOINT_URL", "RUNPOD_JOBS_URL", "RUNPOD_CONTROL_URL",
			"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"},
		set: [][2]string{
			{"HTTPS_PROXY", p.URL}, {"https_proxy", p.URL}, {"NO_PROXY", local}, {"no_proxy", local},
			{"SSL_CERT_FILE", p.files.CA}, {"AWS_CA_BUNDLE", p.files.CA}, {"REQUESTS_CA_BUNDLE", p.files.CA},
			{"CURL_CA_BUNDLE", p.files.CA}, {"NODE_EXTRA_CA_CERTS", p.files.CA}, {"NODE_USE_ENV_PROXY", "1"},
			{"RUNPOD_API_KEY", srv.APIKey},
			{"RUNPOD_ENDPOINT_ID", srv.EndpointID},
			{"RUNPOD_S3_ENDPOINT_URL", "https://" + s3Host(srv)},
			{"RUNPOD_S3_REGION", srv.Region},
			{"RUNPOD_S3_BUCKET_NAME", srv.Bucket},
			{"RUNPOD_S3_ACCESS_KEY_ID", srv.AccessKeyID},
			{"RUNPOD_S3_SECRET_ACCESS_KEY", srv.SecretAccessKey},
			{"AWS_ACCESS_KEY_ID", srv.AccessKeyID},
			{"AWS_SECRET_ACCESS_KEY", srv.SecretAccessKey},
			{"AWS_REGION", srv.Region},
			{"AWS_DEFAULT_REGION", srv.Region},
		},
	}
}

// printHints says what the environment alone does not do.
func (p *interposer) printHints(w io.Writer) {
	fmt.Fprintf(w, "# The proxy answers for %s, and reaches nothing else.\n", liveHosts)
	fmt.Fprintf(w, "# Node before 22.21 needs a preload:  export NODE_OPTIONS=--require=%s\n", p.files.NodePreload)
	fmt.Fprintln(w, "# rclone stumbles over AWS_CA_BUNDLE:  unset it, SSL_CERT_FILE is enough for rclone")
	fmt.Fprintf(w, "# s3cmd reads a configuration file:  s3cmd -c %s ls\n", p.files.S3cmd)
}

// printCounts prints what went through the proxy and what it refused.
func (p *interposer) printCounts(w io.Writer) {
	passed, refused := p.Counts()
	for _, host := range slices.Sorted(maps.Keys(passed)) {
		fmt.Fprintf(w, "proxy: %d requests for %q\n", passed[host], host)
	}
	for _, host := range slices.Sorted(maps.Keys(refused)) {
		fmt.Fprintf(w, "proxy: refused %q %d times\n", host, refused[host])
	}
}

// close ends the proxy and removes the files. It may be called again.
func (p *interposer) close() error {
	err := p.Close()
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}
