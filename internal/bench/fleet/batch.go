package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
	"github.com/gpuburst/runpod-go/runpodtest"
)

const (
	speed    = 50 // endpoint seconds in a second
	inFlight = 16
)

// batch is what one batch came to. Times are the endpoint's.
type batch struct {
	makespan time.Duration // to the last result
	attempts float64       // requests at the endpoint for each job that ended well
	refused  int           // of those, by the balancer
	billed   time.Duration // worker time
	done     int
}

func (b batch) String() string {
	return fmt.Sprintf("%d done in %.0f s, %.3f attempts a job, %d refused, %.0f worker seconds", b.done, b.makespan.Seconds(), b.attempts, b.refused, b.billed.Seconds())
}

// way is one way to do a batch.
type way struct {
	name string
	run  func(ctx context.Context, jobs int) (batch, error)
}

func ways() []way {
	all := []way{{"one Client with 16", func(ctx context.Context, jobs int) (batch, error) { return clients(ctx, 1, jobs) }}}
	for _, n := range []int{1, 2, 4, 8} {
		name := fmt.Sprintf("fleet of %d processes", n)
		if n == 1 {
			name = "fleet of 1 process"
		}
		all = append(all, way{name, func(ctx context.Context, jobs int) (batch, error) { return fleetOf(ctx, n, jobs) }})
	}
	return append(all, way{"4 Clients with 16 each", func(ctx context.Context, jobs int) (batch, error) { return clients(ctx, 4, jobs) }})
}

// endpoint starts an endpoint of three workers, none at first, as in the stress
// tests.
func endpoint() (*runpodtest.Server, error) {
	return runpodtest.NewServer(runpodtest.Config{
		Seed: 1, Loopback: true, Speed: speed, MaxWorkers: 3,
		ColdStart: runpodtest.Range(60*time.Second, 100*time.Second), ServiceTime: runpodtest.Range(10*time.Second, 22*time.Second),
		Handler: func(runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":true}`) })
		},
	})
}

// counted makes the batch of a server's account, which it closes.
func counted(srv *runpodtest.Server, began, last time.Time, done int) batch {
	srv.Close()
	s := srv.Stats()
	return batch{makespan: last.Sub(began) * speed, attempts: float64(s.Requests) / float64(max(1, done)), refused: s.Refused, billed: s.Billed(), done: done}
}

func newClient(url, key string) (*runpod.Client, error) {
	return runpod.New(runpod.WithEndpoint(url), runpod.WithAPIKey(key), runpod.WithMaxInFlight(inFlight),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0/speed)))
}

// clients shares the batch out to n Clients beforehand.
func clients(ctx context.Context, n, jobs int) (batch, error) {
	srv, err := endpoint()
	if err != nil {
		return batch{}, err
	}
	defer srv.Close()
	var mu sync.Mutex
	done, last, began := 0, time.Time{}, time.Now()
	var wg sync.WaitGroup
	for i := range n {
		c, err := newClient(srv.EndpointURL, srv.APIKey)
		if err != nil {
			return batch{}, err
		}
		defer c.Close()
		wg.Go(func() {
			for _, err := range c.RunAll(ctx, func(yield func(runpod.Job) bool) {
				for j := i; j < jobs; j += n {
					if !yield(runpod.Job{ID: fmt.Sprint(j), Path: "/do", Idempotent: true}) {
						return
					}
				}
			}) {
				if err == nil {
					mu.Lock()
					done++
					last = time.Now()
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return counted(srv, began, last, done), ctx.Err()
}

// fleetOf does the batch by n processes.
func fleetOf(ctx context.Context, n, jobs int) (batch, error) {
	srv, err := endpoint()
	if err != nil {
		return batch{}, err
	}
	defer srv.Close()
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return batch{}, err
	}
	defer os.RemoveAll(dir)
	engine, err := embedded.Start(filepath.Join(dir, "queue"))
	if err != nil {
		return batch{}, err
	}
	defer engine.Close()
	f, err := fleet.Open(ctx, engine.Conn(), fleet.Config{Name: "bench", InFlight: inFlight})
	if err != nil {
		return batch{}, err
	}
	defer f.Close()
	stop, err := startWorkers(n, order{URL: engine.URL(), Token: engine.Token(), Endpoint: srv.EndpointURL, APIKey: srv.APIKey})
	if err != nil {
		return batch{}, err
	}
	defer stop()
	if err := joined(ctx, f, n); err != nil {
		return batch{}, err
	}
	began, last, done := time.Now(), time.Time{}, 0
	if _, err := f.Submit(ctx, nil, func(yield func(fleet.Spec) bool) {
		for j := range jobs {
			if !yield(fleet.Spec{ID: fmt.Sprint(j), Path: "/do", Idempotent: true}) {
				return
			}
		}
	}); err != nil {
		return batch{}, err
	}
	for r, err := range f.Results(ctx) {
		if r.ID == "" {
			return batch{}, err
		}
		if err == nil {
			done++
			last = time.Now()
		}
	}
	stop()
	return counted(srv, began, last, done), nil
}

// joined waits until all processes work.
func joined(ctx context.Context, f *fleet.Fleet, n int) error {
	for {
		st, err := f.Status(ctx)
		if err != nil || len(st.Machines) == n {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func medians(of []batch) batch {
	return batch{
		makespan: median(of, func(b batch) time.Duration { return b.makespan }),
		attempts: median(of, func(b batch) float64 { return b.attempts }),
		refused:  median(of, func(b batch) int { return b.refused }),
		billed:   median(of, func(b batch) time.Duration { return b.billed }),
		done:     median(of, func(b batch) int { return b.done }),
	}
}

func median[T any, N int | float64 | time.Duration](of []T, figure func(T) N) N {
	var all []N
	for _, one := range of {
		all = append(all, figure(one))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
