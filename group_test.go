package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// pair is a group of two simulated endpoints.
type pair struct {
	*testing.T
	srv   [2]*runpodtest.Server
	group *Group
	ran   *[2]map[string]int // how often each job's request was carried out, by endpoint
}

// inPair runs a test in virtual time with two endpoints.
func inPair(t *testing.T, first, second runpodtest.Config, f func(p *pair), opts ...GroupOption) {
	t.Helper()
	known := func(srv *runpodtest.Server) []Option { return []Option{WithControl(knownWorkers{srv})} }
	inPairWith(t, first, second, known, f, opts...)
}

// inPairWith is inPair with other options of the clients than a control plane.
func inPairWith(t *testing.T, first, second runpodtest.Config, of func(*runpodtest.Server) []Option, f func(p *pair), opts ...GroupOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t, ran: &[2]map[string]int{{}, {}}}
		var mu sync.Mutex
		clients := make([]*Client, 2)
		for i, cfg := range []runpodtest.Config{first, second} {
			if cfg.Handler == nil {
				cfg.Handler = func(runpodtest.Worker) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						mu.Lock()
						defer mu.Unlock()
						p.ran[i][string(body)]++
						fmt.Fprintf(w, `"endpoint %d"`, i)
					})
				}
			}
			cfg.ServiceTime = runpodtest.Fixed(10 * time.Second)
			p.srv[i] = newServer(t, cfg)
			clients[i] = newClient(t, p.srv[i], of(p.srv[i])...)
		}
		var err error
		if p.group, err = NewGroup(clients, opts...); err != nil {
			t.Fatal(err)
		}
		defer p.group.Close()
		f(p)
	})
}

// knownWorkers is a control plane that knows the workers of a simulated endpoint.
type knownWorkers struct{ srv *runpodtest.Server }

func (l knownWorkers) Scaling(context.Context) (Scaling, error) {
	least, most := l.srv.WorkerBounds()
	return Scaling{EndpointID: "twin", LoadBalancing: true, MinWorkers: least, MaxWorkers: most, RequestsPerWorker: 4}, nil
}

func (l knownWorkers) Workers(context.Context) ([]WorkerState, error) {
	var list []WorkerState
	for _, w := range l.srv.Workers() {
		if w.Stopped == 0 {
			list = append(list, WorkerState{ID: w.ID, Status: map[bool]WorkerStatus{true: WorkerIdle, false: WorkerInitializing}[w.Ready > 0 || w.Asked == 0]})
		}
	}
	return list, nil
}

func (l knownWorkers) SetMinWorkers(context.Context, int) (Scaling, error) {
	return Scaling{}, errors.New("not here")
}

// burst runs n jobs, each with an input, and returns how long that took. All must
// succeed, and none may have run twice.
func (p *pair) burst(n int) time.Duration {
	p.Helper()
	start := time.Now()
	done := 0
	for r, err := range p.group.RunAll(p.Context(), func(yield func(Job) bool) {
		for i := range n {
			if !yield(Job{ID: fmt.Sprint("job-", i), Path: "/x", Inputs: []JobInput{{Input: Bytes("a", fmt.Append(nil, i))}},
				Body: func(in []Object) (any, error) { return in[0].ETag, nil }}) {
				return
			}
		}
	}) {
		if err != nil {
			p.Errorf("%s: %v", r.JobID, err)
			continue
		}
		done++
	}
	if done != n {
		p.Errorf("%d of %d jobs", done, n)
	}
	for job, times := range p.ran[0] {
		if times+p.ran[1][job] > 1 {
			p.Errorf("%s ran %d times", job, times+p.ran[1][job])
		}
	}
	for i, srv := range p.srv {
		if left := inputsLeft(p.T, srv); len(left) > 0 {
			p.Errorf("endpoint %d: inputs are left: %v", i, left)
		}
	}
	return time.Since(start)
}

func (p *pair) ranAt(i int) (n int) {
	for _, times := range p.ran[i] {
		n += times
	}
	return n
}

// The first has no GPU: what it refuses goes to the second, with its inputs.
func TestGroupWithoutAGPUAtTheFirst(t *testing.T) {
	none := runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}
	second := runpodtest.Config{ColdStart: runpodtest.Fixed(30 * time.Second), MaxWorkers: 3}
	inPair(t, none, second, func(p *pair) {
		took := p.burst(30)
		// One refusal, a cold start and ten rounds of 10 s, with the queue's delay.
		if most := 2*time.Minute + 30*time.Second + 110*time.Second + 15*time.Second; took > most {
			p.Errorf("it took %v, at most %v would do", took, most)
		}
		if p.ranAt(1) != 30 {
			p.Errorf("%d ran at the second", p.ranAt(1))
		}
	})
}

// Both have warm workers: all of them work.
func TestGroupUsesTheWorkersOfBoth(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 3, MaxWorkers: 3, IdleTimeout: time.Hour}
	inPair(t, cfg, cfg, func(p *pair) {
		p.burst(6) // they are known after this
		p.ran[0], p.ran[1] = map[string]int{}, map[string]int{}
		took := p.burst(60)
		if bound := 60 / 6 * 10 * time.Second; took > bound+bound*10/100 {
			p.Errorf("it took %v, the bound of the 6 workers is %v", took, bound)
		}
		if p.ranAt(0) < 25 || p.ranAt(1) < 25 {
			p.Errorf("%d at the first, %d at the second", p.ranAt(0), p.ranAt(1))
		}
	})
}

// Both are cold: the first suffices, and the second is not started.
func TestGroupIsThrifty(t *testing.T) {
	cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute), MaxWorkers: 3}
	inPair(t, cfg, cfg, func(p *pair) {
		p.burst(20)
		if n := p.srv[1].Stats().WorkersStarted; n != 0 {
			p.Errorf("%d workers were started at the second", n)
		}
	})
}

// Eager wakes the second at once, and lets it go when the first has a worker.
func TestGroupEager(t *testing.T) {
	slow := runpodtest.Config{ColdStart: runpodtest.Fixed(4 * time.Minute)}
	quick := runpodtest.Config{ColdStart: runpodtest.Fixed(20 * time.Second)}
	inPair(t, slow, quick, func(p *pair) {
		var wg sync.WaitGroup
		wg.Go(func() { p.burst(1) })
		time.Sleep(time.Minute)
		if n := p.srv[1].Stats().WorkersStarted; n == 0 {
			p.Error("no worker was woken at the second")
		}
		wg.Wait()
	}, Eager(1))
}

// Eager wakes the second for every burst that finds the first cold.
func TestGroupEagerAgain(t *testing.T) {
	slow := runpodtest.Config{ColdStart: runpodtest.Fixed(90 * time.Second)}
	quick := runpodtest.Config{ColdStart: runpodtest.Fixed(200 * time.Second)}
	inPair(t, slow, quick, func(p *pair) {
		for n := 1; n <= 3; n++ {
			p.burst(1)
			time.Sleep(20 * time.Minute) // all workers idle out
			if got := p.srv[1].Stats().WorkersStarted; got != n {
				p.Errorf("%d workers were started at the second after %d bursts", got, n)
			}
			p.ran[0], p.ran[1] = map[string]int{}, map[string]int{}
		}
	}, Eager(1))
}

// The first dies in the middle: what was not yet sent there goes to the second.
func TestGroupWhenTheFirstDies(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 3, MaxWorkers: 3}
	inPair(t, cfg, cfg, func(p *pair) {
		p.srv[0].Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(502, "bad gateway")})
		p.burst(20)
		if p.ranAt(0) != 0 || p.ranAt(1) != 20 {
			p.Errorf("%d at the first, %d at the second", p.ranAt(0), p.ranAt(1))
		}
	})
}

// An endpoint that is wrong for good is set aside, with one log line and a warning
// of Ready, and the group fails only if all are.
func TestGroupSetsAside(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1}
	inPair(t, cfg, cfg, func(p *pair) {
		wrong := p.srv[0].Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(401, `{"detail":"invalid api key"}`)})
		p.burst(5)
		if n := p.srv[0].Stats().Requests; n != 1 && n > 5 {
			p.Errorf("%d requests went to the first", n)
		}
		ready, err := p.group.Ready(p.Context())
		if err != nil || len(ready) != 2 || !strings.Contains(strings.Join(ready[0].Warnings, " "), "set aside") {
			p.Errorf("%+v, %v", ready, err)
		}
		also := p.srv[1].Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.Answer(401, "")})
		if _, err := p.group.Call(p.Context(), "POST", "/x", nil, nil); !errors.Is(err, ErrUnauthorized) {
			p.Errorf("all are wrong: %v", err)
		}
		wrong.Remove()
		also.Remove()
		time.Sleep(20 * time.Minute) // they are tried again
		p.ran[0], p.ran[1] = map[string]int{}, map[string]int{}
		p.burst(5)
	})
}

// A request that may have run is not sent to a second endpoint, unless it is
// idempotent.
func TestGroupSendsNothingTwice(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 1}
	inPair(t, cfg, cfg, func(p *pair) {
		p.srv[0].Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.AnswerAfterWork(524, "")})
		_, err := p.group.Call(p.Context(), "POST", "/x", "once", nil)
		if e, ok := errors.AsType[*Error](err); !ok || !e.MayHaveRun || p.ranAt(1) != 0 {
			p.Errorf("%v; %d ran at the second", err, p.ranAt(1))
		}
		var out string
		if _, err := p.group.Call(p.Context(), "POST", "/x", "twice", &out, Idempotent()); err != nil || out != "endpoint 1" {
			p.Errorf("idempotent: %q, %v", out, err)
		}
	})
}

// A call that makes every endpoint fail ends, though others succeed all the while
// and the endpoints are well.
func TestGroupEndsWhatFailsEverywhere(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 2}
	inPair(t, cfg, cfg, func(p *pair) {
		for _, srv := range p.srv {
			srv.Fault(runpodtest.Fault{Path: "/poison", Times: runpodtest.Always, Do: runpodtest.AnswerAfterWork(524, "")})
		}
		ctx, cancel := context.WithCancel(p.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					p.group.Call(ctx, "POST", "/x", nil, nil)
				}
			})
		}
		start := time.Now()
		_, err := p.group.Call(ctx, "POST", "/poison", nil, nil, Idempotent())
		if took := time.Since(start); err == nil || took > 2*15*time.Minute {
			p.Errorf("after %v: %v", took, err)
		}
		cancel()
		wg.Wait()
	})
}

// The first gets its GPUs back while the second is busy: it is used again.
func TestGroupReturnsToTheFirst(t *testing.T) {
	none := runpodtest.Config{MaxWorkers: runpodtest.NoWorkers, ColdStart: runpodtest.Fixed(30 * time.Second)}
	second := runpodtest.Config{ColdStart: runpodtest.Fixed(30 * time.Second), MaxWorkers: 1}
	blind := func(*runpodtest.Server) []Option { return nil }
	inPairWith(t, none, second, blind, func(p *pair) {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			time.Sleep(5 * time.Minute)
			p.srv[0].SetWorkers(0, 3)
		})
		p.burst(200) // 2000 s for the second alone
		if n := p.ranAt(0); n < 50 {
			p.Errorf("%d ran at the first", n)
		}
	})
}

// A control plane that never answers holds up no job for long.
func TestGroupWithAControlPlaneThatHangs(t *testing.T) {
	hangs := func(srv *runpodtest.Server) []Option {
		return []Option{WithControl(hangingPlane{knownWorkers{srv}})}
	}
	cfg := runpodtest.Config{MinWorkers: 2}
	inPairWith(t, cfg, cfg, hangs, func(p *pair) {
		if took := p.burst(2); took > 25*time.Second {
			p.Errorf("two jobs of 10 s took %v", took)
		}
	})
}

type hangingPlane struct{ knownWorkers }

func (hangingPlane) Scaling(ctx context.Context) (Scaling, error) {
	<-ctx.Done()
	return Scaling{}, ctx.Err()
}

// Calls with a key stay together, and stay.
func TestGroupSticky(t *testing.T) {
	cfg := runpodtest.Config{MinWorkers: 3}
	inPair(t, cfg, cfg, func(p *pair) {
		for _, key := range []string{"a", "b"} {
			var where []string
			for range 4 {
				var out string
				if _, err := p.group.Call(p.Context(), "POST", "/x", nil, &out, Sticky(key)); err != nil {
					p.Fatal(err)
				}
				where = append(where, out)
			}
			if where[0] != where[3] || where[1] != where[2] || where[0] != where[1] {
				p.Errorf("%s went to %v", key, where)
			}
		}
	}, Weights(1, 1))
}

// Other people's clients go through the group too.
func TestGroupHTTPClient(t *testing.T) {
	inPair(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, runpodtest.Config{MinWorkers: 1}, func(p *pair) {
		resp, err := p.group.HTTPClient().Post("/x", "application/json", strings.NewReader(`"hello"`))
		if err != nil {
			p.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `"endpoint 1"` {
			p.Errorf("%q, %v", body, err)
		}
		if _, err := p.group.HTTPClient().Get("http://elsewhere.test/"); err == nil {
			p.Error("a whole URL was taken")
		}
	})
}

// Nothing is left over, whatever is cancelled and closed when.
func TestGroupCancelsAndCloses(t *testing.T) {
	for seed := range uint64(40) {
		cfg := runpodtest.Config{ColdStart: runpodtest.Fixed(40 * time.Second), MaxWorkers: 2, Seed: seed + 1}
		inPair(t, cfg, cfg, func(p *pair) {
			random := rand.New(rand.NewPCG(seed, 1))
			var wg sync.WaitGroup
			for range 20 {
				ctx, cancel := context.WithTimeout(p.Context(), time.Duration(random.IntN(300))*time.Second)
				wg.Go(func() {
					defer cancel()
					p.group.Run(ctx, Job{Path: "/x", Inputs: []JobInput{{Input: Bytes("a", []byte("a"))}}})
				})
			}
			time.Sleep(time.Duration(random.IntN(200)) * time.Second)
			if err := p.group.Close(); err != nil {
				p.Error(err)
			}
			wg.Wait()
			if _, err := p.group.Run(p.Context(), Job{Path: "/x"}); !errors.Is(err, ErrClosed) {
				p.Errorf("after Close: %v", err)
			}
		}, Eager(int(seed%2)))
	}
}

// What the sequence does that is no error, the loop does too, once the jobs that
// were read have ended; what a job's function does fails that job alone.
func TestGroupRunAllOutlivesItsJobs(t *testing.T) {
	for how, f := range map[string]func(){"panics": func() { panic("at the disco") }, "exits": runtime.Goexit} {
		inPair(t, runpodtest.Config{MinWorkers: 1}, runpodtest.Config{MinWorkers: 1}, func(p *pair) {
			jobs := func(yield func(Job) bool) {
				for i := range 4 {
					yield(Job{Path: "/x", Body: func([]Object) (any, error) {
						if i == 2 {
							f()
						}
						return i, nil
					}})
				}
				f()
			}
			var failed []string
			reported, after := 0, false
			var got any
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { got = recover() }()
				for r, err := range p.group.RunAll(p.Context(), jobs) {
					reported++
					if e, ok := errors.AsType[*Error](err); ok {
						failed = append(failed, r.JobID+" "+e.JobID)
					}
				}
				after = true
			})
			wg.Wait()
			if reported != 4 || after || len(failed) != 1 || failed[0] != "2 2" || strings.Contains(fmt.Sprint(got), "at the disco") != (how == "panics") {
				p.Errorf("%s: %d reported, %q failed, went on: %t, recovered %.40q", how, reported, failed, after, fmt.Sprint(got))
			}
			for _, m := range p.group.members {
				if m.busy != 0 {
					p.Errorf("%s: %s is counted as having %d jobs", how, m.name, m.busy)
				}
			}
		})
	}
}

// The loop may close the Group.
func TestGroupCloseWithinRunAll(t *testing.T) {
	inPair(t, runpodtest.Config{MinWorkers: 2}, runpodtest.Config{MinWorkers: 2}, func(p *pair) {
		closed, after := false, 0
		for _, err := range p.group.RunAll(p.Context(), func(yield func(Job) bool) {
			for yield(Job{Path: "/x"}) {
			}
		}) {
			switch {
			case !closed:
				if closed = true; err != nil {
					p.Fatal(err)
				}
				p.group.Close()
			case errors.Is(err, ErrClosed):
				after++
			case err != nil:
				p.Error(err)
			}
		}
		if !closed || after == 0 {
			p.Errorf("closed: %t, %d jobs after that", closed, after)
		}
	})
}

// Shutdown lets what is in flight end, also what moves; and no longer than its
// context.
func TestGroupShutdown(t *testing.T) {
	second := runpodtest.Config{ColdStart: runpodtest.Fixed(30 * time.Second), MaxWorkers: 3}
	blind := func(*runpodtest.Server) []Option { return nil }
	for _, patience := range []time.Duration{time.Hour, time.Minute} {
		inPairWith(t, runpodtest.Config{MaxWorkers: runpodtest.NoWorkers}, second, blind, func(p *pair) {
			errs := make(chan error, 5)
			for range 5 {
				go func() {
					_, err := p.group.Run(p.Context(), Job{Path: "/x", Inputs: []JobInput{{Input: Bytes("a", []byte("a"))}}})
					errs <- err
				}()
			}
			time.Sleep(10 * time.Second)
			start := time.Now()
			ctx, cancel := context.WithTimeout(p.Context(), patience)
			defer cancel()
			err := p.group.Shutdown(ctx)
			patient := patience == time.Hour
			if (err == nil) != patient || time.Since(start) > min(patience, 4*time.Minute) {
				p.Errorf("within %v: after %v: %v", patience, time.Since(start), err)
			}
			for range 5 {
				if err := <-errs; (err == nil) != patient || err != nil && !errors.Is(err, ErrClosed) {
					p.Errorf("within %v: %v", patience, err)
				}
			}
			if _, err := p.group.Call(p.Context(), "POST", "/x", nil, nil); !errors.Is(err, ErrClosed) {
				p.Errorf("after Shutdown: %v", err)
			}
		})
	}
}

func TestGroupsAreRefused(t *testing.T) {
	c, err := New(WithAPIKey("k"), WithEndpoint("abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, make := range map[string]func() (*Group, error){
		"none":            func() (*Group, error) { return NewGroup(nil) },
		"a nil Client":    func() (*Group, error) { return NewGroup([]*Client{nil}) },
		"a zero Client":   func() (*Group, error) { return NewGroup([]*Client{{}}) },
		"a nil option":    func() (*Group, error) { return NewGroup([]*Client{c}, nil) },
		"too few weights": func() (*Group, error) { return NewGroup([]*Client{c}, Weights(1, 2)) },
		"a weight of 0":   func() (*Group, error) { return NewGroup([]*Client{c}, Weights(0)) },
		"Eager below 0":   func() (*Group, error) { return NewGroup([]*Client{c}, Eager(-1)) },
	} {
		if g, err := make(); err == nil || g != nil {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
	var zero Group
	if _, err := zero.Run(t.Context(), Job{Path: "/x"}); !errors.Is(err, ErrBadRequest) {
		t.Errorf("a zero Group: %v", err)
	}
	if err := zero.Close(); err != nil {
		t.Error(err)
	}
}
