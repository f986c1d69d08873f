package runpod

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// coreStory is a core that is told things, second by second.
type coreStory struct {
	*testing.T
	warmCore
	start time.Time
}

func newStory(t *testing.T, config warmConfig) *coreStory {
	return &coreStory{t, newWarmCore(config, DefaultRetryPolicy(), 0), time.Unix(1000, 0)}
}

func (s *coreStory) at(seconds float64) time.Time {
	return s.start.Add(time.Duration(seconds * float64(time.Second)))
}

// workers has been seen by the core, each so many seconds after the start.
func (s *coreStory) seen(at map[string]float64) {
	for id, seconds := range at {
		s.sight(id, true, s.at(seconds))
	}
}

// text says what was ordered: +a for a light request that prefers worker a, +*
// for one to any, -n for the withdrawal of the nth.
func (o orders) text() string {
	var words []string
	for _, p := range o.send {
		if p.worker == "" {
			p.worker = "*"
		}
		words = append(words, "+"+p.worker)
	}
	for _, id := range o.cancel {
		words = append(words, fmt.Sprint("-", id))
	}
	for _, a := range o.settled {
		words = append(words, fmt.Sprintf("%d of %d up", a.up, a.n))
	}
	if o.list {
		words = append(words, "list")
	}
	if o.over {
		words = append(words, "over")
	}
	return strings.Join(words, " ")
}

func (s *coreStory) want(o orders, text string) {
	s.Helper()
	if got := o.text(); got != text {
		s.Errorf("ordered %q, want %q", got, text)
	}
}

// One worker after the other: all light requests go at once, and those that came
// back in vain are sent again.
func TestCoreWakesAllAtOnce(t *testing.T) {
	s := newStory(t, warmConfig{})
	a := &ask{n: 2, begun: s.at(0)}
	s.want(s.join(s.at(0), a), "")
	s.warmCore.start(s.at(0))
	s.want(s.step(s.at(0), traffic{limit: 16}), "+* +* +* +* +* +* list")
	s.want(s.step(s.at(1), traffic{limit: 16}), "")
	s.want(s.found(s.at(2), traffic{}, 1, finding{}), "")
	s.want(s.found(s.at(2), traffic{}, 2, finding{inVain: true}), "+* +*")
	s.want(s.found(s.at(60), traffic{}, 3, finding{answered: true, worker: "a", ready: true}), "")
	s.want(s.found(s.at(60), traffic{}, 4, finding{answered: true, worker: "a", ready: true}), "")
	s.want(s.found(s.at(61), traffic{}, 5, finding{answered: true, worker: "b", ready: false}), "")
	s.want(s.found(s.at(62), traffic{}, 6, finding{answered: true, worker: "b", ready: true}), "2 of 2 up")
	if a.err != nil {
		t.Error(a.err)
	}
}

// A worker that was seen within half a renewal of 3 s can wait for the next one.
func TestCoreRenewsOnlyWhatWasNotSeenForHalfARenewal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ago   map[string]float64
		calls int
		sent  string
	}{
		{"just seen", map[string]float64{"a": 0}, 0, ""},
		{"a moment less than half a renewal", map[string]float64{"a": 1.499}, 0, ""},
		{"half a renewal", map[string]float64{"a": 1.5}, 0, "+a"},
		{"a whole one", map[string]float64{"a": 3}, 0, "+a"},
		{"each for itself", map[string]float64{"a": 1, "b": 2, "c": 1.4}, 0, "+b"},
		{"calls keep one busy", map[string]float64{"a": 2, "b": 2.5}, 1, "+a"},
		{"calls keep all busy", map[string]float64{"a": 2, "b": 2.5}, 2, ""},
		{"more calls than workers", map[string]float64{"a": 2, "b": 2.5}, 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t, warmConfig{})
			now := map[string]float64{}
			for id, ago := range tt.ago {
				now[id] = 100 - ago
			}
			s.seen(now)
			s.keep(s.at(100), len(tt.ago))
			s.warmCore.start(s.at(100))
			s.want(s.step(s.at(100), traffic{calls: tt.calls, limit: 16}), tt.sent)
		})
	}
}

// What a worker is being asked already it is not asked again.
func TestCoreAsksAWorkerOnce(t *testing.T) {
	s := newStory(t, warmConfig{})
	s.seen(map[string]float64{"a": 0})
	s.keep(s.at(3), 1)
	s.warmCore.start(s.at(3))
	s.want(s.step(s.at(3), traffic{}), "+a")
	s.want(s.step(s.at(6), traffic{}), "")
	s.want(s.found(s.at(6), traffic{}, 1, finding{answered: true, worker: "a", ready: true}), "")
	s.want(s.step(s.at(9), traffic{}), "+a")
}

// Calls take the places of light requests: the oldest are withdrawn.
func TestCoreMakesWayForCalls(t *testing.T) {
	s := newStory(t, warmConfig{onRun: true, n: 2})
	s.lend(s.at(0))
	s.warmCore.start(s.at(0))
	s.want(s.step(s.at(0), traffic{limit: 16}), "+* +* +* +* +* +* list")
	var o orders
	s.trim(2, &o)
	s.want(o, "-1 -2")
	s.want(s.found(s.at(1), traffic{}, 1, finding{answered: true, worker: "a", ready: true}), "")
	if len(s.warmCore.workers) != 0 {
		t.Error("a withdrawn request counts")
	}
	s.leases--
	s.want(s.step(s.at(1), traffic{calls: 6, limit: 16}), "-3 -4 -5 -6 over")
	if s.warmCore.start(s.at(2)) != true {
		t.Error("no other wake begins")
	}
}

// Why a wake is over, or is not.
func TestCoreWants(t *testing.T) {
	now := time.Unix(100_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	scaled := Scaling{LoadBalancing: true, MaxWorkers: 4, RequestsPerWorker: 2}
	for _, tt := range []struct {
		name string
		c    warmCore
		at   traffic
		want int
	}{
		{"nothing", warmCore{}, traffic{}, 0},
		{"asked for", warmCore{asks: []*ask{{n: 2}, {n: 5}, {n: 3}}}, traffic{}, 5},
		{"asked for more than there can be", warmCore{asks: []*ask{{n: 9}}, scaling: scaled}, traffic{}, 4},
		{"kept", warmCore{kept: 3, keptFrom: ago(time.Minute)}, traffic{}, 3},
		{"kept for as long as WarmFor", warmCore{kept: 3, keptFrom: ago(5 * time.Minute)}, traffic{}, 0},
		{"kept, and calls came and are under way", warmCore{kept: 3, keptFrom: ago(time.Minute), lastCall: ago(time.Second)}, traffic{}, 3},
		{"kept, and calls came and went", warmCore{kept: 3, keptFrom: ago(time.Minute), lastCall: ago(5 * time.Second)}, traffic{}, 0},
		{"kept, calls went, jobs are uploading", warmCore{kept: 3, keptFrom: ago(time.Minute), lastCall: ago(5 * time.Second), leases: 1, leased: ago(time.Minute)}, traffic{}, 3},
		{"a job uploads", warmCore{leases: 1, leased: now, config: warmConfig{n: 3}}, traffic{}, 3},
		{"no worker for GiveUp", warmCore{leases: 1, leased: ago(15 * time.Minute), config: warmConfig{n: 3}}, traffic{}, 0},
		{"a worker is up, no call for WarmFor", warmCore{leases: 1, leased: ago(5 * time.Minute), config: warmConfig{n: 3}, workers: map[string]sighting{"a": {now, true}}}, traffic{}, 0},
		{"a worker is up since a moment", warmCore{leases: 1, leased: ago(5 * time.Minute), progress: ago(time.Minute), config: warmConfig{n: 3}, workers: map[string]sighting{"a": {now, true}}}, traffic{}, 3},
		{"the endpoint refuses", warmCore{leases: 1, leased: now, config: warmConfig{n: 3}, failed: ErrNotFound}, traffic{}, 0},
		{"by what is coming", warmCore{leases: 5, leased: now, scaling: scaled}, traffic{limit: 16}, 3},
		{"by what is coming, calls too", warmCore{leases: 3, leased: now, scaling: scaled}, traffic{calls: 2, limit: 16}, 3},
		{"no more than may be in flight", warmCore{leases: 9, leased: now, scaling: scaled}, traffic{limit: 4}, 2},
		{"kept after calls", warmCore{config: warmConfig{keep: time.Minute}, lastCall: ago(59 * time.Second), workers: map[string]sighting{"a": {}, "b": {}}}, traffic{}, 2},
		{"kept after calls for long enough", warmCore{config: warmConfig{keep: time.Minute}, lastCall: ago(time.Minute), workers: map[string]sighting{"a": {}}}, traffic{}, 0},
	} {
		tt.c.policy = DefaultRetryPolicy()
		if got := tt.c.wanted(now, tt.at); got != tt.want {
			t.Errorf("%s: %d workers are wanted, want %d", tt.name, got, tt.want)
		}
	}
}

// What a caller of Warm gets, and when.
func TestCoreSettles(t *testing.T) {
	s := newStory(t, warmConfig{})
	s.failed = nil
	for _, tt := range []struct {
		name    string
		ready   int
		n       int
		most    int
		failed  error
		waited  float64 // seconds
		since   float64 // since a worker last came
		over    bool
		says    string
		isWords error
	}{
		{"all are up", 3, 3, 0, nil, 1, 0, true, "", nil},
		{"more are up", 4, 3, 0, nil, 1, 0, true, "", nil},
		{"some are missing", 2, 3, 0, nil, 119, 119, false, "", nil},
		{"no further one", 2, 3, 0, nil, 120, 120, true, "2 of 3 workers are up: no further one came for 2m0s", ErrNoWorkers},
		{"a further one a moment ago", 2, 3, 0, nil, 300, 1, false, "", nil},
		{"none", 0, 3, 0, nil, 899, 0, false, "", nil},
		{"none for too long", 0, 3, 0, nil, 900, 0, true, "none came for 15m0s", ErrNoWorkers},
		{"as many as there can be", 2, 3, 2, nil, 1, 0, true, "the endpoint's maximum is 2", ErrNoWorkers},
		{"refused for good", 0, 3, 0, ErrNotFound, 1, 0, true, "not found", ErrNotFound},
	} {
		c := newWarmCore(warmConfig{}, DefaultRetryPolicy(), 0)
		c.failed, c.scaling.MaxWorkers = tt.failed, tt.most
		for i := range tt.ready {
			c.sight(fmt.Sprint(i), true, s.at(1000))
		}
		c.progress = s.at(1000 - tt.since)
		up, over, err := c.outcome(s.at(1000), &ask{n: tt.n, begun: s.at(1000 - tt.waited)})
		if up != tt.ready || over != tt.over || !errors.Is(err, tt.isWords) || err != nil && !strings.Contains(err.Error(), tt.says) || err == nil && tt.says != "" {
			t.Errorf("%s: %d, over %v, %v", tt.name, up, over, err)
		}
	}
}

func TestCoreClosed(t *testing.T) {
	s := newStory(t, warmConfig{})
	a := &ask{n: 1, begun: s.at(0)}
	s.join(s.at(0), a)
	s.warmCore.start(s.at(0))
	s.step(s.at(0), traffic{})
	s.closed = true
	s.want(s.step(s.at(1), traffic{}), "-1 -2 0 of 1 up over")
	if !errors.Is(a.err, ErrClosed) || s.warmCore.start(s.at(2)) {
		t.Errorf("%v, and another wake begins", a.err)
	}
}

func TestCoreLearns(t *testing.T) {
	for _, tt := range []struct {
		s    Scaling
		kind error
	}{
		{Scaling{LoadBalancing: true, MaxWorkers: 3}, nil},
		{Scaling{LoadBalancing: true}, ErrNoWorkers},
		{Scaling{MaxWorkers: 3}, ErrBadRequest},
	} {
		s := newStory(t, warmConfig{})
		a := &ask{n: 1, begun: s.at(0)}
		s.join(s.at(0), a)
		o := s.learn(s.at(1), tt.s)
		if !errors.Is(a.err, tt.kind) || slices.Contains(o.settled, a) != (tt.kind != nil) {
			t.Errorf("%+v: %v, %v", tt.s, a.err, o.text())
		}
	}
}

func TestCoreForgetsWorkers(t *testing.T) {
	s := newStory(t, warmConfig{})
	s.seen(map[string]float64{"a": 0, "b": 9})
	s.keep(s.at(10), 1)
	s.warmCore.start(s.at(10))
	s.step(s.at(10), traffic{}) // 2 idle timeouts of 5 s
	if s.up() != 2 {
		t.Error("forgotten too early")
	}
	s.step(s.at(10.001), traffic{})
	if s.up() != 1 || !s.warmCore.workers["b"].ready {
		t.Errorf("known: %v", s.warmCore.workers)
	}
	s.step(s.at(100), traffic{calls: 1})
	if s.up() != 1 {
		t.Error("while calls are under way nobody is forgotten: they keep workers")
	}
}

func TestPressure(t *testing.T) {
	for _, tt := range []struct{ n, perWorker, want int }{{1, 1, 1}, {3, 1, 3}, {1, 4, 2}, {3, 4, 10}, {3, 10, 23}, {2, 2, 3}, {2, 3, 5}} {
		if got := pressure(tt.n, tt.perWorker); got != tt.want {
			t.Errorf("%d workers, %d requests each: %d, want %d", tt.n, tt.perWorker, got, tt.want)
		}
	}
}

// What the control plane and workers say is bounded.
func TestCoreBoundsWhatItIsTold(t *testing.T) {
	for _, perWorker := range []int{math.MaxInt, math.MaxInt / 2, 1 << 40, 5000, 0, -1, math.MinInt} {
		s := newStory(t, warmConfig{})
		s.learn(s.at(0), Scaling{LoadBalancing: true, MaxWorkers: math.MaxInt, RequestsPerWorker: perWorker})
		s.join(s.at(0), &ask{n: 1000, begun: s.at(0)})
		s.warmCore.start(s.at(0))
		for i := range 5 {
			s.step(s.at(float64(10*i)), traffic{limit: 16})
		}
		want := maxPings
		if perWorker <= 0 {
			want = 1000
		}
		if len(s.pings) != want {
			t.Errorf("%d requests a worker: %d light requests, want %d", perWorker, len(s.pings), want)
		}
	}
	if s := newStory(t, warmConfig{}); s.learn(s.at(0), Scaling{LoadBalancing: true, MaxWorkers: -5}).over || !errors.Is(s.failed, ErrNoWorkers) {
		t.Errorf("a maximum of -5: %v", s.failed)
	}
	s := newStory(t, warmConfig{})
	for i := range 5000 {
		s.saw(s.at(0), fmt.Sprint(i))
	}
	s.saw(s.at(0), strings.Repeat("x", 1<<20))
	s.saw(s.at(9), "7")
	if len(s.workers) != 2*maxWarm || s.workers["7"].at != s.at(9) {
		t.Errorf("%d workers are known", len(s.workers))
	}
	s = newStory(t, warmConfig{})
	s.saw(s.at(0), strings.Repeat("x", 1<<20))
	for name := range s.workers {
		if len(name) != maxWorkerName {
			t.Errorf("a name of %d bytes is kept", len(name))
		}
	}
}

// A worker that was silent for longer than any request takes is gone, also while
// calls are under way.
func TestCoreForgetsWorkersDuringCalls(t *testing.T) {
	s := newStory(t, warmConfig{})
	s.seen(map[string]float64{"a": 0})
	s.keep(s.at(340), 1)
	s.warmCore.start(s.at(340))
	s.step(s.at(340), traffic{calls: 1})
	if s.up() != 1 {
		t.Error("forgotten while it may be at work")
	}
	s.step(s.at(340.001), traffic{calls: 1})
	if s.up() != 0 {
		t.Error("remembered for ever")
	}
}
