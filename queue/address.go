package queue

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

const (
	serviceHost    = "api.runpod.ai"
	balancerSuffix = "." + serviceHost // of load-balancing endpoints' hosts
)

var (
	errAddress = errors.New("want an endpoint's id, or the URL of its job API: https://" + serviceHost + "/v2/ID")
	endpointID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)
	// operations are what may stand behind the base in a URL that was copied from
	// an example or a console.
	operations = []string{"run", "runsync", "status", "status-sync", "stream", "cancel", "retry", "purge-queue", "health", "batch"}
)

// address returns the job API's URL for what New was given, or for what the
// environment says.
func address(idOrURL string) (base string, err error) {
	field := "idOrURL"
	jobsURL, id := os.Getenv("RUNPOD_JOBS_URL"), os.Getenv("RUNPOD_ENDPOINT_ID")
	switch {
	case idOrURL != "":
		base, err = baseOf(idOrURL)
	case jobsURL != "":
		field = "RUNPOD_JOBS_URL"
		base, err = urlOf(jobsURL)
	case id != "":
		field = "RUNPOD_ENDPOINT_ID"
		base, err = baseOf(id)
	default:
		err = fmt.Errorf("it is empty, and so are RUNPOD_JOBS_URL and RUNPOD_ENDPOINT_ID: %w", errAddress)
	}
	if err != nil {
		return "", refuse("new queue client", field, "%w", err)
	}
	return base, nil
}

// baseOf returns the job API's URL for an endpoint's id, or for what urlOf
// takes.
func baseOf(idOrURL string) (string, error) {
	if endpointID.MatchString(idOrURL) {
		return "https://" + serviceHost + "/v2/" + idOrURL, nil
	}
	return urlOf(idOrURL)
}

// urlOf returns the job API's URL for the URL itself, and for what else names
// the endpoint beyond doubt: the URL of one call, and the host that the endpoint
// would have if it were a load-balancing one. The error never shows the value:
// somebody may have put a key in it.
func urlOf(raw string) (string, error) {
	if !strings.Contains(raw, "://") && strings.Contains(raw, serviceHost) {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errAddress
	case u.User != nil:
		return "", errors.New("the URL has a user or password in it: use runpod.WithAPIKey for the key")
	case u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("the URL has a query or a fragment: %w", errAddress)
	}
	if host := strings.ToLower(u.Hostname()); host == serviceHost || strings.HasSuffix(host, balancerSuffix) {
		return serviceURL(u, host)
	}
	u.Path, u.RawPath = strings.Join(withoutCall(segments(u)), "/"), ""
	return strings.TrimSuffix(u.String(), "/"), nil
}

// serviceURL is urlOf for URLs of the service itself.
func serviceURL(u *url.URL, host string) (string, error) {
	id, isBalancer := strings.CutSuffix(host, balancerSuffix)
	path := withoutCall(segments(u))
	if !isBalancer {
		if len(path) != 2 || path[0] != "v2" {
			return "", errAddress
		}
		id = path[1]
	}
	if !endpointID.MatchString(id) || isBalancer && len(path) > 0 {
		return "", errAddress
	}
	return "https://" + serviceHost + "/v2/" + id, nil
}

func segments(u *url.URL) []string {
	return strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
}

// withoutCall cuts the name of a call, and what follows it, off the path of a
// URL that ends in /v2/ID/CALL.
func withoutCall(path []string) []string {
	for i := len(path) - 1; i >= 2; i-- {
		if path[i-2] == "v2" && slices.Contains(operations, path[i]) {
			return path[:i]
		}
	}
	return path
}
