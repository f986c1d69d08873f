package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// printAccount prints what happened, for people. Times are the service's.
func printAccount(w io.Writer, srv *runpodtest.Server) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nrequest\tarrived\twaited\ttotal\tstatus\toutcome\tworker\tcall")
	for _, r := range srv.Requests() {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s %s\n", r.Number, short(r.Arrived), waited(r),
			between(r.Arrived, r.Ended), r.Status, r.Outcome, r.Worker, r.Method, r.Path)
	}
	fmt.Fprintln(t, "\nworker\tasked\tready\tstopped\tserved\tstarting\tbusy\tidle\tend")
	for _, k := range srv.Workers() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", k.ID, short(k.Asked), when(k.Ready),
			when(k.Stopped), k.Served, short(k.Starting), short(k.Busy), short(k.Idle), k.End)
	}
	t.Flush()
	printTotals(w, srv.Stats())
}

func printTotals(w io.Writer, s runpodtest.Stats) {
	fmt.Fprintf(w, "\n%d requests: %d succeeded, %d refused; at most %d waited, %d were in flight\n",
		s.Requests, s.Succeeded, s.Refused, s.PeakWaiting, s.PeakInFlight)
	fmt.Fprintf(w, "%d workers started, at most %d at once; billed %s: %s starting, %s busy, %s idle\n",
		s.WorkersStarted, s.PeakWorkers, short(s.Billed()), short(s.Starting), short(s.Busy), short(s.Idle))
	fmt.Fprintf(w, "connections: %d to the endpoint, at most %d at once; %d to S3, at most %d; %d S3 requests\n",
		s.EndpointConns.Opened, s.EndpointConns.Peak, s.S3Conns.Opened, s.S3Conns.Peak, s.S3Requests)
}

// waited is how long a request waited for a worker; one that was turned away or
// left before that did not wait.
func waited(r runpodtest.Request) string {
	switch {
	case r.Waiting == 0:
		return "-"
	case r.Worker != "":
		return between(r.Waiting, r.Started)
	}
	return between(r.Waiting, r.Ended)
}

// between is the time from one moment to another, "-" if that has not come.
func between(from, to time.Duration) string {
	if to == 0 {
		return "-"
	}
	return short(to - from)
}

// when is a moment, "-" if it has not come. A worker that was warm from the start
// was ready at 0s.
func when(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return short(d)
}

func short(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// printEnd prints what happened: for people, or as one JSON object.
func (s *simulator) printEnd() {
	if s.opts.json {
		st := s.srv.Stats()
		end := ended{Kind: "totals", Totals: &st}
		if s.proxy != nil {
			end.Passed, end.Refused = s.proxy.Counts()
		}
		json.NewEncoder(s.stdout).Encode(end)
		return
	}
	printAccount(s.stdout, s.srv)
	if s.proxy != nil {
		s.proxy.printCounts(s.stdout)
	}
}

// ended is the object that -json prints at the end.
type ended struct {
	Kind    string            `json:"kind"` // "totals"
	Totals  *runpodtest.Stats `json:"totals"`
	Passed  map[string]int    `json:"proxy_passed,omitempty"`  // requests for each host
	Refused map[string]int    `json:"proxy_refused,omitempty"` // attempts at other hosts
}

// writeAccount writes the account as JSON lines to a file, if one is named.
func writeAccount(srv *runpodtest.Server, name string) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(srv.WriteAccount(f), f.Close())
}
