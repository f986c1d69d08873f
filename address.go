package runpod

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	jobsHost       = "api.runpod.ai" // of the job API of queue-based endpoints (Runpod docs)
	balancerSuffix = "." + jobsHost  // of load-balancing endpoints' hosts (Runpod docs)
)

var endpointID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// newOp is the operation that errors about options name.
const newOp = "new client"

// endpointAddress returns the base URL of the endpoint that an id or a URL names.
func endpointAddress(field, idOrURL string) (*url.URL, error) {
	raw := idOrURL
	switch {
	case endpointID.MatchString(raw):
		raw = "https://" + raw + balancerSuffix
	case !strings.Contains(raw, "://") && strings.Contains(raw, balancerSuffix):
		raw = "https://" + raw
	}
	u, err := parseURL(field, raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	if err := checkServiceAddress(u); err != nil {
		return nil, refuse(newOp, field, "%q: %w", idOrURL, err)
	}
	return u, nil
}

// checkServiceAddress refuses addresses on the service's own hosts that name no
// endpoint, or more than one. The job API's is taken: package queue passes it on.
func checkServiceAddress(u *url.URL) error {
	host, path := strings.ToLower(u.Hostname()), strings.Trim(u.Path, "/")
	id, balancer := strings.CutSuffix(host, balancerSuffix)
	switch {
	case balancer && path != "":
		return fmt.Errorf("the address has a path: want %s://%s, and the path with each call", u.Scheme, u.Host)
	case balancer && !endpointID.MatchString(id):
		return errors.New("want an endpoint's id before " + balancerSuffix)
	case host != jobsHost:
		return nil
	}
	parts := strings.Split(path, "/")
	switch {
	case len(parts) < 2 || parts[0] != "v2" || !endpointID.MatchString(parts[1]):
		return errors.New("it names no endpoint: want an endpoint's id, or https://ID" + balancerSuffix)
	case len(parts) > 2:
		return fmt.Errorf("that is one call of the job API: want WithEndpoint(%q) for a load-balancing endpoint, or queue.New(%q) for a queue-based one", parts[1], parts[1])
	}
	return nil
}

// jobCalls are the calls of the job API, by the first part of their paths.
var jobCalls = []string{"run", "runsync", "status", "status-sync", "stream", "cancel", "retry", "purge-queue", "health", "batch", "requests", "openai"}

// checkPath refuses a path that the endpoint at this address cannot have.
func checkPath(address *url.URL, path string) error {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	base, rest := strings.Trim(address.Path, "/"), strings.TrimPrefix(path, "/")+"/"
	switch {
	case strings.EqualFold(address.Hostname(), jobsHost) && !slices.Contains(jobCalls, parts[0]):
		id := base[strings.LastIndex(base, "/")+1:]
		return fmt.Errorf("the job API at %s has no such call: want WithEndpoint(%q) if the endpoint is a load-balancing one", address, id)
	case base != "" && strings.HasPrefix(rest, base+"/"):
		return fmt.Errorf("it begins with the path of the endpoint's address, %s, which is put before it: leave that out in one of the two", address.Path)
	}
	return nil
}

// agree reports whether two addresses are of one endpoint.
func agree(a, b *url.URL) bool {
	return sameOrigin(a, b) && strings.Trim(a.Path, "/") == strings.Trim(b.Path, "/")
}

// sameOrigin reports whether two URLs are of one scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && (a.Host == b.Host || strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b))
}

func portOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
		return port
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// parseURL never shows the URL it refuses: somebody may have put a key in it.
func parseURL(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, refuse(newOp, field, "not a URL")
	case u.User != nil:
		return nil, refuse(newOp, field, "the URL has a user or password in it: set keys by their own options")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, refuse(newOp, field, "want an http or https URL with a host, such as https://host or http://localhost:8080")
	case u.RawQuery != "", u.Fragment != "":
		return nil, refuse(newOp, field, "want a URL without query or fragment")
	}
	return u, nil
}
