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
func (t *target) checkPath(path string) error {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	base, rest := strings.Trim(t.base.Path, "/"), strings.TrimPrefix(path, "/")+"/"
	switch {
	case strings.EqualFold(t.base.Hostname(), jobsHost) && !slices.Contains(jobCalls, parts[0]):
		id := base[strings.LastIndex(base, "/")+1:]
		return fmt.Errorf("the job API at %s has no such call: want WithEndpoint(%q) if the endpoint is a load-balancing one", t.base, id)
	case base != "" && strings.HasPrefix(rest, base+"/"):
		return fmt.Errorf("it begins with the path of the endpoint's address, %s, which is put before it: leave that out in one of the two", t.base.Path)
	}
	return nil
}

// agree reports whether two addresses are of one endpoint.
func agree(a, b *url.URL) bool {
	return sameOrigin(a, b) && strings.Trim(a.Path, "/") == strings.Trim(b.Path, "/")
}
