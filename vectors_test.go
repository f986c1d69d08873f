package runpod

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/backoff"
)

// vector is a case of testdata/retry-vectors.json, whose first line explains it.
type vector struct {
	Name  string
	Row   string
	Given struct {
		Idempotent, IDsSeen, Pinned bool
		Budget                      *int
		Random                      *float64
		Scaled                      float64
	}
	Steps []step
}

type step struct {
	Response struct {
		Status   int
		WorkerID string
		Body     string
		Headers  map[string]string
		Error    string
		Waited   string
	}
	Expected struct {
		Verdict    string
		Delay      []string
		Kind       string
		MayHaveRun bool
		Budget     *float64
	}
}

// faults are named as in googleapis/storage-testbench where that has a name.
var faults = map[string]struct {
	err  error
	sent bool
}{
	"return-connection-refused":              {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false},
	"return-reset-connection-before-request": {syscall.ECONNRESET, false},
	"return-reset-connection":                {syscall.ECONNRESET, true},
	"return-broken-stream":                   {io.ErrUnexpectedEOF, true},
	"return-no-such-host":                    {&net.DNSError{IsNotFound: true}, false},
	"return-untrusted-certificate":           {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, false},
	"return-proxy-auth-required":             {&proxyError{proxy: "p", status: 407}, false},
	"return-proxy-unavailable":               {&proxyError{proxy: "p", status: 503}, false},
	"return-tls-handshake-failure":           {&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, false},
	"return-tls-certificate-required":        {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, true},
	"stall-until-limit":                      {errAttemptLimit, true},
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/retry-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// TestVectors walks the language-neutral retry vectors.
func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			draws := []float64{0, math.Nextafter(1, 0)}
			if v.Given.Random != nil {
				draws = []float64{*v.Given.Random}
			}
			for _, random := range draws {
				v.walk(t, random)
			}
		})
	}
	t.Logf("%d retry vectors", len(vectors))
	if len(vectors) < 60 {
		t.Errorf("only %d vectors", len(vectors))
	}
}

// walk does with a vector's steps what a call does with its attempts.
func (v *vector) walk(t *testing.T, random float64) {
	policy := DefaultRetryPolicy()
	if v.Given.Scaled != 0 {
		policy = policy.Scaled(v.Given.Scaled)
	}
	if v.Given.Budget != nil {
		policy.BudgetSize = *v.Given.Budget
	}
	accounts := newBudgets(16, policy)
	var g retryState
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, s := range v.Steps {
		o := s.observe(t, now)
		o.Idempotent, o.IDsSeen, o.Droppable, o.Repeats, o.Number = v.Given.Idempotent, v.Given.IDsSeen, v.Given.Pinned, g.thin, i+1
		start := now
		now = now.Add(o.Elapsed)
		d := policy.judge(nil, o)
		var delay time.Duration
		if d.verdict.retries() {
			g.note(policy, &o, &d, start)
			delay = policy.backoff(g.quick, o.Elapsed, o.RetryAfter, random)
			g.quick++
			delay = max(delay, accounts.charge(now, &d))
		}
		s.check(t, i, random, d, delay, accounts.trouble.tokens)
		now = now.Add(delay)
	}
}

func (s *step) observe(t *testing.T, now time.Time) Observation {
	o := Observation{Status: s.Response.Status, WorkerID: s.Response.WorkerID, Body: []byte(s.Response.Body), Elapsed: parse(t, s.Response.Waited)}
	o.RetryAfter = backoff.RetryAfter(s.Response.Headers["Retry-After"], now)
	if s.Response.Error != "" {
		fault, ok := faults[s.Response.Error]
		if !ok {
			t.Fatalf("no fault %q", s.Response.Error)
		}
		o.Err, o.Sent = fault.err, fault.sent
	}
	return o
}

func (s *step) check(t *testing.T, i int, random float64, d decision, delay time.Duration, tokens float64) {
	t.Helper()
	want := s.Expected
	if got := d.verdict.String(); got != want.Verdict {
		t.Errorf("step %d: got %q (%s), want %q", i, got, d.reason, want.Verdict)
	}
	if want.Delay != nil && (delay < parse(t, want.Delay[0]) || delay > parse(t, want.Delay[1])) {
		t.Errorf("step %d: delay %s, want %s", i, delay, want.Delay)
	}
	if want.Kind != "" && (d.kind == nil || !strings.Contains(d.kind.Error(), strings.TrimPrefix(want.Kind, "no workers"))) {
		t.Errorf("step %d: kind %v, want %s", i, d.kind, want.Kind)
	}
	if want.Kind == "no workers" && !errors.Is(d.kind, ErrNoWorkers) {
		t.Errorf("step %d: kind %v, want %v", i, d.kind, ErrNoWorkers)
	}
	if d.mayHaveRun != want.MayHaveRun {
		t.Errorf("step %d: may have run: %v", i, d.mayHaveRun)
	}
	// What time fills in again depends on the draw: tokens are counted at 0.
	if want.Budget != nil && random == 0 && tokens != *want.Budget {
		t.Errorf("step %d: %v tokens left, want %v", i, tokens, *want.Budget)
	}
}

func parse(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The table of the package documentation is the one that the vectors walk: each
// row has a vector, and each vector a row.
func TestVectorsCoverTheDocumentedTable(t *testing.T) {
	var rows []string
	for _, row := range documentedTable(t) {
		rows = append(rows, row.answer)
	}
	walked := map[string]bool{}
	for _, v := range readVectors(t) {
		walked[v.Row] = true
		if !slices.Contains(rows, v.Row) {
			t.Errorf("%s: the documentation has no row %q", v.Name, v.Row)
		}
	}
	for _, row := range rows {
		if !walked[row] {
			t.Errorf("no vector for the row %q", row)
		}
	}
}

// Each row of the table has a cause of its own or shares one that the package
// documentation explains, and each documented cause is one that the table, a
// classifier or the end of a call gives.
func TestCausesAreThoseDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(doc), "so\n// that attempts can be counted by it:\n//\n")
	list, _, _ = strings.Cut(list, "\n//\n")
	documented := map[string]bool{}
	for line := range strings.Lines(list) {
		documented[strings.Fields(strings.TrimPrefix(line, "//"))[0]] = false
	}
	see := func(name, cause string) {
		if _, ok := documented[cause]; !ok {
			t.Errorf("%s: the cause %q is not documented", name, cause)
		}
		documented[cause] = true
	}
	for _, v := range readVectors(t) {
		v.causes(t, func(cause string) { see(v.Name, cause) })
	}
	policy := DefaultRetryPolicy()
	decided := policy.judge([]Classifier{func(Observation) (Verdict, bool) { return VerdictGiveUp, true }}, Observation{Status: 200})
	see("a classifier", decided.cause)
	see("the end of a call", "cancelled") // TestCancelledAttemptSaysSo
	for cause, seen := range documented {
		if !seen {
			t.Errorf("no vector meets the documented cause %q", cause)
		}
	}
}

// causes yields the cause of each step.
func (v *vector) causes(t *testing.T, yield func(string)) {
	policy := DefaultRetryPolicy()
	var g retryState
	for i, s := range v.Steps {
		o := s.observe(t, time.Time{})
		o.Idempotent, o.IDsSeen, o.Droppable, o.Repeats, o.Number = v.Given.Idempotent, v.Given.IDsSeen, v.Given.Pinned, g.thin, i+1
		d := policy.judge(nil, o)
		if d.verdict.retries() {
			g.note(policy, &o, &d, time.Time{})
		}
		yield(d.cause)
	}
}

// documentedRow is one row of the table in doc.go.
type documentedRow struct{ answer, then string }

// documentedTable reads the table in doc.go. A cell that is indented goes on
// with the one above.
func documentedTable(t *testing.T) (rows []documentedRow) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "//\t-----")
	if !found {
		t.Fatal("doc.go has no table")
	}
	for line := range strings.Lines(table) {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok && rows != nil {
			return rows
		}
		if !ok {
			continue // the rest of the rule
		}
		const width = 43 // of the left column
		left, right := line[:min(width, len(line))], line[min(width, len(line)):]
		if strings.HasPrefix(left, "    ") {
			last := &rows[len(rows)-1]
			last.answer = strings.TrimSpace(last.answer + " " + strings.TrimSpace(left))
			last.then += " " + strings.TrimSpace(right)
			continue
		}
		rows = append(rows, documentedRow{strings.TrimSpace(left), strings.TrimSpace(right)})
	}
	return rows
}
