package main

import (
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
		waited := r.Ended - r.Waiting
		if r.Worker != "" {
			waited = r.Started - r.Waiting
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s %s\n", r.Number, short(r.Arrived), short(waited),
			short(r.Ended-r.Arrived), r.Status, r.Outcome, r.Worker, r.Method, r.Path)
	}
	fmt.Fprintln(t, "\nworker\tasked\tready\tstopped\tserved\tstarting\tbusy\tidle\tend")
	for _, k := range srv.Workers() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", k.ID, short(k.Asked), short(k.Ready),
			short(k.Stopped), k.Served, short(k.Starting), short(k.Busy), short(k.Idle), k.End)
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

func short(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

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
