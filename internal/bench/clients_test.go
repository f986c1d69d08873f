package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errTest = errors.New("failed in a test")

func sheet(v any) string { return fmt.Sprintf("%+v", v) }

// The predicate that configured clients get tells what must be told apart.
func TestWorthRetrying(t *testing.T) {
	const known, other = `{"error":"no workers available"}`, `{"detail":"bad"}`
	for _, tt := range []struct {
		name           string
		a              *answer
		err            error
		marked, wanted [2]bool // idempotent or not
	}{
		{name: "cold start, known body", a: &answer{status: 400, body: []byte(known)}, wanted: [2]bool{true, true}},
		{name: "cold start, told by its wait", a: &answer{status: 400, body: []byte(other), took: 120 * time.Second}, wanted: [2]bool{true, true}},
		{name: "a worker's 400", a: &answer{status: 400, body: []byte(other), workerID: "w"}},
		{name: "a worker's 400 that took two minutes", a: &answer{status: 400, body: []byte(other), workerID: "w", took: 120 * time.Second}},
		{name: "a quick 400 of nobody", a: &answer{status: 400, body: []byte(other), took: time.Second}},
		{name: "502 of the balancer", a: &answer{status: 502}, wanted: [2]bool{true, true}},
		{name: "502 of a worker", a: &answer{status: 502, workerID: "w"}, wanted: [2]bool{true, false}},
		{name: "503", a: &answer{status: 503, workerID: "w"}, wanted: [2]bool{true, true}},
		{name: "404", a: &answer{status: 404}},
		{name: "lost connection", err: errTest, wanted: [2]bool{true, false}},
		{name: "the caller left", err: context.Canceled},
	} {
		for i, idempotent := range []bool{true, false} {
			if got := (site{idempotent: idempotent}).worthRetrying(tt.a, tt.err); got != tt.wanted[i] {
				t.Errorf("%s, idempotent %v: %v", tt.name, idempotent, got)
			}
		}
	}
}

// Every configured client gets through a cold start that refuses some calls, on a
// known and on a strange refusal: a predicate that did not reach the client's
// options would show here.
func TestConfiguredClientsSurviveAColdStart(t *testing.T) {
	volume := t.TempDir()
	for _, strange := range []bool{false, true} {
		sc := burst("", "", func(s *scenario) { s.workers, s.cold, s.strangeRefusal = 2, fixed(100*time.Second), strange })
		for _, c := range clients() {
			if c.form == asShipped && c.name != "net/http" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				r, err := simulate(newPlan(&sc, 1), c, volume)
				if err != nil {
					t.Fatal(err)
				}
				f := measure(r)
				if plain := c.form == asShipped; plain != (f.succeeded < f.calls) || f.refusedWaiting == 0 {
					t.Errorf("%s, strange %v: %d of %d, %d refused", c, strange, f.succeeded, f.calls, f.refusedWaiting)
				}
			})
		}
	}
}

// A plan is the seed's and nothing else's.
func TestPlanIsFixedByTheSeed(t *testing.T) {
	for _, sc := range scenarios() {
		a, b, c := newPlan(&sc, 3), newPlan(&sc, 3), newPlan(&sc, 4)
		if sheet(a) != sheet(b) {
			t.Errorf("%s: two plans of one seed differ", sc.name)
		}
		if sheet(a.service) == sheet(c.service) {
			t.Errorf("%s: two seeds give the same work", sc.name)
		}
		for job, d := range a.service {
			if d < sc.service.lo || d > sc.service.hi {
				t.Errorf("%s: job %d takes %v", sc.name, job, d)
			}
		}
	}
}

// The shares of faults are what the scenarios say.
func TestPlanFaultShares(t *testing.T) {
	sc := scenario{crash: 0.05, badGateway: 0.05, jobs: 1}
	p := newPlan(&sc, 1)
	crashes, faults := 0, map[gatewayFault]int{}
	const n = 20_000
	for i := range n {
		if p.crashes(i, 1) {
			crashes++
		}
		faults[p.gateway(i, 1)]++
	}
	near := func(got int, share float64) bool { return float64(got) > 0.85*share*n && float64(got) < 1.15*share*n }
	if !near(crashes, 0.05) || !near(faults[faultAtArrival], 0.025) || !near(faults[faultAfterWork], 0.025) {
		t.Errorf("of %d: %d crashes, faults %v", n, crashes, faults)
	}
}

// made is a small table with a client of each form.
func made() *table {
	tab := newTable(scenarios()[:2], []client{{"net/http", asShipped, nil}, {"a<b", configured, nil}, {"runpod-go", ours, nil}}, 2)
	for _, fs := range tab.runs {
		for i := range fs {
			fs[i] = figures{calls: 10, succeeded: 10, attempts: 12 + i, leastAttempts: 12, makespan: 100, bound: 99, billed: 50, leastBill: 40, idleGaps: []float64{0}}
		}
	}
	return tab
}

func TestPictureAndSheetAreWellFormed(t *testing.T) {
	tab := made()
	var picture, lines bytes.Buffer
	tab.svg(&picture)
	dots := 0
	for d := xml.NewDecoder(&picture); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "title" {
			dots++
		}
	}
	if want := 4 + 2*3*len(panels); dots != want {
		t.Errorf("%d dots, want %d", dots, want)
	}
	if err := tab.csv(&lines); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&lines).ReadAll()
	if err != nil || len(records) != 1+2*3 {
		t.Errorf("%d lines, %v", len(records), err)
	}
}

// The judge must see what is worse than a target allows.
func TestJudge(t *testing.T) {
	missed := func(tab *table) (names []string) {
		for _, x := range tab.judge() {
			if !x.met {
				names = append(names, x.name)
			}
		}
		return names
	}
	if m := missed(made()); len(m) > 0 {
		t.Errorf("missed %v", m)
	}
	for name, spoil := range map[string]func(*figures){
		"success":                func(f *figures) { f.succeeded-- },
		"attempts / least":       func(f *figures) { f.attempts = 14 },
		"billed":                 func(f *figures) { f.billed = 51 },
		"best configured peer's": func(f *figures) { f.makespan = 102 },
		"idle":                   func(f *figures) { f.idleGaps = []float64{0.3} },
	} {
		tab := made()
		for i := range tab.seeds {
			spoil(tab.at(&tab.scenarios[0], tab.clients[2], i))
		}
		if m := strings.Join(missed(tab), "; "); !strings.Contains(m, name) {
			t.Errorf("spoilt %s, missed %q", name, m)
		}
	}
}
