package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// traceStep is the time that one line of a trace stands for.
const traceStep = 10 * time.Second

// trace writes what one run looked like from the endpoint, over time.
func (r *run) trace(w io.Writer, c client) {
	fmt.Fprintf(w, "\n%s: %s, seed %d\n%8s%8s%20s%12s%10s\n", r.plan.sc.name, c, r.plan.seed, "t (s)", "sent", "refused at once", "in flight", "working")
	end := time.Duration(0)
	for _, q := range r.requests {
		end = max(end, q.Ended)
	}
	for at := time.Duration(0); at < end; at += traceStep {
		var sent, refused, inFlight, working int
		for _, q := range r.requests {
			if q.Arrived >= at && q.Arrived < at+traceStep {
				sent++
				if q.Outcome == runpodtest.OutcomeRefused && q.Ended-q.Arrived < time.Second {
					refused++
				}
			}
			if q.Arrived <= at && q.Ended > at {
				inFlight++
				if q.Worker != "" && q.Started <= at {
					working++
				}
			}
		}
		fmt.Fprintf(w, "%8.0f%8d%20d%12d%10d\n", at.Seconds(), sent, refused, inFlight, working)
	}
	for _, l := range r.workers {
		fmt.Fprintf(w, "worker %d: asked for at %.0f, ready at %.0f, stopped at %.0f (%s), served %d, idle for %.0f s\n",
			l.Number, l.Asked.Seconds(), l.Ready.Seconds(), l.Stopped.Seconds(), l.End, l.Served, l.Idle.Seconds())
	}
}
