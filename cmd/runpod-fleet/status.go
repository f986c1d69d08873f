package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gpuburst/runpod-go/fleet"
)

func status(ctx context.Context, c *command, args []string) error {
	asJSON := c.flags.Bool("json", false, "print it as JSON")
	listen := c.flags.String("http", "", "address for a page that refreshes itself, such as 127.0.0.1:8080, until interrupted")
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error {
		if *listen != "" {
			return servePage(ctx, c.stdout, f, *listen)
		}
		st, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(c.stdout).Encode(st)
		}
		return printStatus(c.stdout, st, time.Now())
	})
}

// printStatus prints it as text. Names come from the queue and are quoted where
// they are odd.
func printStatus(w io.Writer, st fleet.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "fleet\t%s\n", st.Name)
	fmt.Fprintf(t, "jobs\t%d: %d done, %d failed, %d running, %d waiting\n", st.Jobs, st.Done, st.Failed, len(st.Running), st.Waiting)
	fmt.Fprintf(t, "limit\t%s\n", limitText(st))
	fmt.Fprintf(t, "endpoint\t%s, %d workers seen\n", st.Endpoint, len(st.Workers))
	for _, m := range st.Machines {
		fmt.Fprintf(t, "machine\t%s\t%d slots\t%d done\t%d failed\tfor %s\n", shown(m.Name), m.Slots, m.Done, m.Failed, age(now, m.Since))
	}
	for _, r := range st.Running {
		lost := ""
		if r.Lost {
			lost = "its machine is gone"
		}
		fmt.Fprintf(t, "running\t%s\ton %s\tfor %s\t%s\n", shown(r.ID), shown(r.Machine), age(now, r.Since), lost)
	}
	return t.Flush()
}

func limitText(st fleet.Status) string {
	switch {
	case st.InFlight == 0:
		return "0 calls: the fleet is drained"
	case st.Room < st.InFlight:
		return fmt.Sprintf("%d calls, of which the endpoint takes %d", st.InFlight, st.Room)
	}
	return fmt.Sprintf("%d calls", st.InFlight)
}

func shown(s string) string {
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` || s == "" || strings.ContainsRune(s, ' ') {
		return q
	}
	return s
}

func age(now, since time.Time) time.Duration { return max(0, now.Sub(since)).Round(time.Second) }

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"limit": limitText}).Parse(pageText))

// view is what the page shows.
type view struct {
	fleet.Status
	Now   time.Time
	Error string
}

// Age is how long something has been going on.
func (v view) Age(since time.Time) string { return age(v.Now, since).String() }

// Share is a number of jobs as a part of all, in per cent.
func (v view) Share(n any) string {
	var of float64
	switch n := n.(type) {
	case uint64:
		of = float64(n)
	case int:
		of = float64(n)
	}
	return fmt.Sprintf("%.2f", 100*of/float64(max(1, v.Jobs)))
}

func pageHandler(f *fleet.Fleet) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		v := view{Now: time.Now()}
		var err error
		if v.Status, err = f.Status(r.Context()); err != nil {
			v.Error = err.Error()
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
		w.Header().Set("Cache-Control", "no-store")
		_ = page.Execute(w, v) // the reader has gone
	})
}

// servePage serves the page until ctx ends.
func servePage(ctx context.Context, out io.Writer, f *fleet.Fleet, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-http: %w", err)
	}
	srv := &http.Server{Handler: pageHandler(f), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	fmt.Fprintf(out, "http://%s/ shows the fleet %s; Ctrl-C ends\n", l.Addr(), f.Name())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	err = srv.Shutdown(end)
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
