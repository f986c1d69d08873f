package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go"
)

// What names an endpoint beyond doubt is understood.
func TestAddressesThatAreUnderstood(t *testing.T) {
	for given, want := range map[string]string{
		"abc123":                                    "https://api.runpod.ai/v2/abc123",
		"https://api.runpod.ai/v2/abc123":           "https://api.runpod.ai/v2/abc123",
		"https://api.runpod.ai/v2/abc123/":          "https://api.runpod.ai/v2/abc123",
		"https://API.runpod.ai/v2/abc123":           "https://api.runpod.ai/v2/abc123",
		"https://api.runpod.ai:443/v2/abc123":       "https://api.runpod.ai/v2/abc123",
		"api.runpod.ai/v2/abc123":                   "https://api.runpod.ai/v2/abc123",
		"https://api.runpod.ai/v2/abc123/run":       "https://api.runpod.ai/v2/abc123",
		"https://api.runpod.ai/v2/abc123/status/j1": "https://api.runpod.ai/v2/abc123",
		"https://ABC123.api.runpod.ai":              "https://api.runpod.ai/v2/abc123",
		"abc123.api.runpod.ai":                      "https://api.runpod.ai/v2/abc123",
		"http://127.0.0.1:8000/v2/abc123":           "http://127.0.0.1:8000/v2/abc123",
		"http://127.0.0.1:8000/v2/abc123/runsync":   "http://127.0.0.1:8000/v2/abc123",
		"http://127.0.0.1:8000":                     "http://127.0.0.1:8000",
		"https://proxy.example.org/gpu/v2/run/":     "https://proxy.example.org/gpu/v2/run",
	} {
		if got, err := baseOf(given); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", given, got, err, want)
		}
		q, err := New(given, runpod.WithAPIKey("k"))
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		q.Close()
	}
}

// What does not is refused with the right form, and not shown: there may be a key
// in it.
func TestAddressesThatAreRefused(t *testing.T) {
	for _, given := range []string{
		"not an id", "ftp://host/v2/abc", "https://", "https://api.runpod.ai", "https://api.runpod.ai/v1/abc/run", "https://api.runpod.ai/v2/a_b",
		"https://abc.api.runpod.ai/api/v1/tryon", "https://user:hush@host/v2/abc", "https://host/v2/abc?key=hush", "://hush",
	} {
		_, err := New(given, runpod.WithAPIKey("k"))
		e, ok := errors.AsType[*runpod.Error](err)
		if !ok || e.Field != "idOrURL" || !errors.Is(err, runpod.ErrBadRequest) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", given, err)
		}
	}
}

// The argument comes first, then RUNPOD_JOBS_URL, then RUNPOD_ENDPOINT_ID, and
// never RUNPOD_ENDPOINT_URL, which is that of a load-balancing endpoint.
func TestAddressFromTheEnvironment(t *testing.T) {
	for _, tt := range []struct{ given, jobsURL, id, want, field string }{
		{given: "abc", jobsURL: "http://host/v2/x", id: "y", want: "https://api.runpod.ai/v2/abc"},
		{jobsURL: "http://host/v2/x", id: "y", want: "http://host/v2/x"},
		{id: "y", want: "https://api.runpod.ai/v2/y"},
		{field: "idOrURL"},
		{jobsURL: "host", field: "RUNPOD_JOBS_URL", want: ""},
		{id: "no id", field: "RUNPOD_ENDPOINT_ID"},
	} {
		t.Setenv("RUNPOD_ENDPOINT_URL", "http://elsewhere")
		t.Setenv("RUNPOD_JOBS_URL", tt.jobsURL)
		t.Setenv("RUNPOD_ENDPOINT_ID", tt.id)
		got, err := address(tt.given)
		e, _ := errors.AsType[*runpod.Error](err)
		if got != tt.want || (e != nil) != (tt.field != "") || e != nil && e.Field != tt.field {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}
