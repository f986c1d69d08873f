package bench

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestTraceTmp(t *testing.T) {
	for _, sc := range scenarios() {
		if sc.name != *onlyFlag {
			continue
		}
		for _, c := range append(clients(), variants()...) {
			if !pick(*whoFlag, c.String(), false) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				r, err := simulate(newPlan(&sc, 1), c, t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				f := measure(r)
				fmt.Printf("%s attempts %d makespan %.0f bound %.0f\n", c, f.attempts, f.makespan, f.bound)
				step := 10 * time.Second
				for at := time.Duration(0); at.Seconds() < f.lastReturn; at += step {
					n, ref, inf, work := 0, 0, 0, 0
					for _, q := range r.requests {
						if q.Arrived >= at && q.Arrived < at+step {
							n++
							if q.Outcome == "refused" && q.Ended-q.Arrived < time.Second {
								ref++
							}
						}
						if q.Arrived <= at && q.Ended > at {
							inf++
							if q.Worker != "" && q.Started <= at {
								work++
							}
						}
					}
					fmt.Printf("t=%4.0f sent %3d refused at once %3d  in flight %3d working %3d\n", at.Seconds(), n, ref, inf, work)
				}
				for _, w := range r.workers {
					fmt.Printf("worker %d asked %.0f ready %.0f stopped %.0f %s served %d idle %.0f\n", w.Number, w.Asked.Seconds(), w.Ready.Seconds(), w.Stopped.Seconds(), w.End, w.Served, w.Idle.Seconds())
				}
			})
		}
	}
}
