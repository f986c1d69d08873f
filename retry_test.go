package runpod

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	docsRefusal  = `{"error":"no workers available"}`
	otherRefusal = `{"status":400,"title":"Bad Request","detail":"timed out waiting for worker"}`
)

// Each case is named after its row of the table in the package documentation.
var verdicts = []struct {
	name    string
	seen    Observation
	verdict Verdict
	kind    error
	may     bool
}{
	{"answered", Observation{Status: 200}, VerdictDeliver, nil, false},
	{"redirect", Observation{Status: 302}, VerdictDeliver, nil, false},
	{"upgraded", Observation{Status: 101}, VerdictDeliver, nil, false},
	{"cold 400, documented body", Observation{Status: 400, Body: []byte(docsRefusal), Elapsed: 2 * time.Minute}, VerdictRetryNow, ErrNoWorkers, false},
	{"cold 400, documented body, at once", Observation{Status: 400, Body: []byte(docsRefusal), Elapsed: time.Second}, VerdictRetryBackoff, ErrNoWorkers, false},
	{"cold 400, reported body", Observation{Status: 400, Body: []byte(otherRefusal), Elapsed: 2 * time.Minute}, VerdictRetryNow, ErrNoWorkers, false},
	{"cold 400, known body though a worker is named", Observation{Status: 400, Body: []byte(docsRefusal), WorkerID: "w1"}, VerdictRetryBackoff, ErrNoWorkers, false},
	{"cold 400, not JSON", Observation{Status: 400, Body: []byte("<h1>no workers available</h1>")}, VerdictRetryBackoff, ErrNoWorkers, false},
	{"cold 400, no body, full wait", Observation{Status: 400, Elapsed: 121 * time.Second}, VerdictRetryNow, ErrNoWorkers, false},
	{"pinned worker busy", Observation{Status: 400, Body: []byte(`{"reason":"worker_timeout"}`), Elapsed: 5 * time.Minute}, VerdictRetryNow, ErrNoWorkers, false},
	{"pinned worker busy, another will do", Observation{Status: 400, Body: []byte(`{"reason":"worker_timeout"}`), Elapsed: 5 * time.Minute, Droppable: true}, VerdictDropPin, ErrNoWorkers, false},
	{"pinned worker gone, another will do", Observation{Status: 404, Body: []byte(`{"reason":"affinity_worker_gone"}`), Droppable: true}, VerdictDropPin, ErrNotFound, false},
	{"worker's own 400", Observation{Status: 400, WorkerID: "w1", Body: []byte(`{"detail":"bad image"}`), Elapsed: 2 * time.Minute}, VerdictGiveUp, ErrBadRequest, false},
	{"worker's own 400 that quotes the balancer", Observation{Status: 400, WorkerID: "w1", Body: []byte(`{"detail":"upstream: no workers available"}`)}, VerdictGiveUp, ErrBadRequest, false},
	{"unknown 400, soon, names unknown", Observation{Status: 400, Elapsed: time.Second}, VerdictGiveUp, ErrBadRequest, false},
	{"unknown 400, soon, workers name themselves", Observation{Status: 400, Elapsed: time.Second, IDsSeen: true}, VerdictRetryBackoff, ErrBadRequest, false},
	{"unknown 400, soon, for the third time", Observation{Status: 400, Elapsed: time.Second, IDsSeen: true, Repeats: maxThin}, VerdictGiveUp, ErrBadRequest, false},
	{"unknown 400, after 60 s", Observation{Status: 400, Elapsed: time.Minute}, VerdictGiveUp, ErrBadRequest, false},
	{"queue-based endpoint", Observation{Status: 400, Body: []byte(`{"error":"not allowed for QB API"}`), Elapsed: 2 * time.Minute}, VerdictGiveUp, ErrBadRequest, false},
	{"queue-based endpoint, by another status", Observation{Status: 403, Body: []byte(`{"error":"not allowed for QB API"}`)}, VerdictGiveUp, ErrBadRequest, false},
	{"queue-based endpoint, by a 5xx", Observation{Status: 502, Body: []byte(`{"error":"not allowed for QB API"}`)}, VerdictGiveUp, ErrBadRequest, false},
	{"worker that quotes it", Observation{Status: 502, WorkerID: "w1", Body: []byte(`upstream: not allowed for QB API`)}, VerdictGiveUp, nil, true},
	{"worker's 422", Observation{Status: 422, WorkerID: "w1"}, VerdictGiveUp, ErrBadRequest, false},
	{"no token", Observation{Status: 401}, VerdictGiveUp, ErrUnauthorized, false},
	{"forbidden", Observation{Status: 403}, VerdictGiveUp, ErrUnauthorized, false},
	{"not found", Observation{Status: 404}, VerdictGiveUp, ErrNotFound, false},
	{"pinned worker gone", Observation{Status: 404, Body: []byte(`{"reason":"affinity_worker_gone"}`)}, VerdictGiveUp, ErrNotFound, false},
	{"body too large", Observation{Status: 413}, VerdictGiveUp, ErrTooLarge, false},
	{"rate limited", Observation{Status: 429, RetryAfter: -1}, VerdictRetryBackoff, ErrRateLimited, false},
	{"rate limited, Retry-After", Observation{Status: 429, RetryAfter: time.Second}, VerdictRetryAfter, ErrRateLimited, false},
	{"worker loading", Observation{Status: 503, WorkerID: "w1", RetryAfter: -1}, VerdictRetryBackoff, nil, false},
	{"worker loading, Retry-After", Observation{Status: 503, WorkerID: "w1", RetryAfter: 0}, VerdictRetryAfter, nil, false},
	{"balancer's 503", Observation{Status: 503, RetryAfter: -1}, VerdictRetryBackoff, nil, false},
	{"first request on a cold endpoint: 502", Observation{Status: 502}, VerdictRetryBackoff, ErrNoWorkers, false},
	{"502 that names a worker", Observation{Status: 502, WorkerID: "w1"}, VerdictGiveUp, nil, true},
	{"502 that names a worker, idempotent", Observation{Status: 502, WorkerID: "w1", Idempotent: true}, VerdictRetryBackoff, nil, true},
	{"processing over 5.5 min", Observation{Status: 524}, VerdictGiveUp, ErrProcessingTimeout, true},
	{"processing over 5.5 min, idempotent", Observation{Status: 524, Idempotent: true}, VerdictRetryBackoff, ErrProcessingTimeout, true},
	{"worker's 500", Observation{Status: 500, WorkerID: "w1"}, VerdictGiveUp, nil, true},
	{"worker's 500, idempotent", Observation{Status: 500, WorkerID: "w1", Idempotent: true}, VerdictRetryBackoff, nil, true},
	{"worker's 500, idempotent, for the third time", Observation{Status: 500, WorkerID: "w1", Idempotent: true, Repeats: maxThin}, VerdictGiveUp, nil, true},
	{"504", Observation{Status: 504}, VerdictGiveUp, nil, true},
	{"530", Observation{Status: 530}, VerdictRetryBackoff, ErrNoWorkers, false},
	{"connection failed before the request was written", Observation{Err: errors.New("refused")}, VerdictRetryBackoff, nil, false},
	{"connection lost after the request was written", Observation{Err: errors.New("reset"), Sent: true}, VerdictGiveUp, nil, true},
	{"connection lost after the request was written, idempotent", Observation{Err: errors.New("reset"), Sent: true, Idempotent: true}, VerdictRetryBackoff, nil, true},
	{"no answer within the attempt's limit", Observation{Err: errAttemptLimit, Sent: true}, VerdictGiveUp, ErrProcessingTimeout, true},
	{"host name not found", Observation{Err: &net.DNSError{IsNotFound: true}}, VerdictRetryBackoff, ErrNotFound, false},
	{"certificate not trusted", Observation{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}, VerdictGiveUp, nil, false},
}

func TestClassify(t *testing.T) {
	policy := DefaultRetryPolicy()
	for _, c := range verdicts {
		t.Run(c.name, func(t *testing.T) {
			if c.seen.RetryAfter == 0 && !strings.Contains(c.name, "Retry-After") {
				c.seen.RetryAfter = -1
			}
			got := policy.classify(c.seen)
			if got.verdict != c.verdict || !errors.Is(got.kind, c.kind) || got.mayHaveRun != c.may || got.reason == "" {
				t.Errorf("got %v, kind %v, may have run %v, reason %q; want %v, %v, %v",
					got.verdict, got.kind, got.mayHaveRun, got.reason, c.verdict, c.kind, c.may)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	p := DefaultRetryPolicy()
	const none = -1
	almost := math.Nextafter(1, 0)
	for _, c := range []struct {
		name          string
		quick         int
		elapsed, said time.Duration
		random        float64
		low, high     time.Duration
	}{
		{"first, lowest draw", 0, 0, none, 0, 0, 0},
		{"first, highest draw", 0, 0, none, almost, time.Second - time.Millisecond, time.Second},
		{"fourth", 3, 0, none, almost, 8*time.Second - time.Millisecond, 8 * time.Second},
		{"capped", 10, 0, none, almost, 20*time.Second - time.Millisecond, 20 * time.Second},
		{"capped far out", 200, 0, none, almost, 20*time.Second - time.Millisecond, 20 * time.Second},
		{"counted from the sending", 10, 15 * time.Second, none, almost, 5*time.Second - time.Millisecond, 5 * time.Second},
		{"used up by a wait of 2 min", 10, 2 * time.Minute, none, almost, 249 * time.Millisecond, 250 * time.Millisecond},
		{"Retry-After is not undercut", 0, 0, 7 * time.Second, 0, 7 * time.Second, 7 * time.Second},
		{"Retry-After is capped", 0, 0, time.Hour, 0, time.Minute, time.Minute},
		{"backoff above Retry-After", 4, 0, time.Second, almost, 15 * time.Second, 16 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.backoff(c.quick, c.elapsed, c.said, c.random); got < c.low || got > c.high {
				t.Errorf("got %s, want %s to %s", got, c.low, c.high)
			}
		})
	}
}

func TestRetryPolicyScaled(t *testing.T) {
	p := RetryPolicy{GiveUp: time.Hour}.Scaled(0.01)
	if p.QueueWait != 1200*time.Millisecond || p.GiveUp != 36*time.Second || p.Jitter != 2500*time.Microsecond {
		t.Errorf("got %+v", p)
	}
	for _, f := range []float64{0, -1, math.NaN()} {
		if err := DefaultRetryPolicy().Scaled(f).validate(); err == nil {
			t.Errorf("a policy scaled by %v is valid", f)
		}
	}
	if err := DefaultRetryPolicy().Scaled(math.Inf(1)).validate(); err != nil {
		t.Error(err)
	}
	for _, field := range p.fields() {
		if *field.d <= 0 && field.name != "BudgetRefill" {
			t.Errorf("%s is %s", field.name, *field.d)
		}
	}
}

// No limit of the client's may race the balancer's own answer at 2 minutes.
func TestAttemptLimitLeavesRoom(t *testing.T) {
	if got := DefaultRetryPolicy().attemptLimit(); got < 2*time.Minute+330*time.Second {
		t.Errorf("an attempt is cut off at %s", got)
	}
}

func TestErrorSaysWhatHappened(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err := &Error{
		Op: "POST /tryon", JobID: "7", Kind: ErrNoWorkers, Status: 400, Body: []byte("{\"a\":\n1}"),
		Attempts: []Attempt{{Start: start, Duration: time.Minute}, {Start: start.Add(2 * time.Minute), Duration: time.Second}},
		Advice:   "wait", Err: context.Canceled, MayHaveRun: true,
	}
	want := `runpod: job "7": POST /tryon: no worker took the request (2 attempts, 2m1s): status 400: {"a": 1}: context canceled; the request may have run; wait`
	if got := err.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !errors.Is(err, ErrNoWorkers) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		t.Error("it does not match its kind and its cause")
	}
}
