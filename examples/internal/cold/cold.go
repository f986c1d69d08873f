// Package cold is what the examples of other people's clients have in common: a
// simulated endpoint that is scaled to zero, and a table of what they met there.
package cold

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The endpoint's times, of the service's own. Its first worker is there later
// than the balancer lets a request wait, so the first request is refused.
const (
	NoGPU     = time.Minute
	ColdStart = 75 * time.Second
	QueueWait = 2 * time.Minute
	// IdleTimeout is above the service's 5 s: at many times its speed that is too
	// short for a machine with other work.
	IdleTimeout = 20 * time.Second
)

// Endpoint is a simulated endpoint without workers, and a Client for it.
type Endpoint struct {
	*runpodtest.Server
	Client *runpod.Client
	Speed  float64
	gpu    *time.Timer
	start  time.Time
}

// Start makes an endpoint with this program on its workers, whose time runs so
// much faster.
func Start(speed float64, program http.Handler) (*Endpoint, error) {
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed: speed, MaxWorkers: runpodtest.NoWorkers, QueueWait: QueueWait, ColdStart: runpodtest.Fixed(ColdStart),
		IdleTimeout: IdleTimeout, Concurrency: 8, SocketsIdle: true,
		Handler: func(runpodtest.Worker) http.Handler { return program },
	})
	if err != nil {
		return nil, err
	}
	client, err := runpod.New(
		runpod.WithEndpoint(srv.EndpointURL),
		runpod.WithAPIKey(srv.APIKey),
		runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1/speed)),
	)
	if err != nil {
		srv.Close()
		return nil, err
	}
	e := &Endpoint{Server: srv, Client: client, Speed: speed, start: time.Now()}
	e.gpu = time.AfterFunc(e.Real(NoGPU), func() { srv.SetWorkers(0, 3) })
	return e, nil
}

// Close ends the Client and the endpoint.
func (e *Endpoint) Close() {
	e.gpu.Stop()
	e.Client.Close()
	e.Server.Close()
}

// Real is how long one of the service's durations takes here.
func (e *Endpoint) Real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / e.Speed)
}

// Plain is an HTTP client as it comes, on the endpoint's network.
func (e *Endpoint) Plain() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: e.DialContext}}
}

// Elapsed is the endpoint's time since it was started.
func (e *Endpoint) Elapsed() time.Duration {
	return time.Duration(float64(time.Since(e.start)) * e.Speed)
}

// Case is one way of asking the endpoint, with an HTTP client that it is given.
type Case struct {
	Name string
	Ask  func(e *Endpoint, hc *http.Client) (answer string, err error)
}

// Compare runs every case twice on endpoints of its own, with a plain HTTP
// client and with the Client's, writes what came of it, and fails where the
// Client's did.
func Compare(w io.Writer, speed float64, program http.Handler, cases ...Case) error {
	fmt.Fprintf(w, "A simulated endpoint, %g times as fast as the service: scaled to zero, no GPU free\n"+
		"for %v, then a cold start of %v; a request waits at most %v, an idle worker\n"+
		"stays for %v.\n\n", speed, NoGPU, ColdStart, QueueWait, IdleTimeout)
	failed := 0
	for _, c := range cases {
		fmt.Fprintln(w, c.Name)
		for _, ours := range []bool{false, true} {
			err := run(w, speed, program, c, ours)
			if err != nil && ours {
				failed++
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d failed with the transport", failed, len(cases))
	}
	return nil
}

func run(w io.Writer, speed float64, program http.Handler, c Case, ours bool) error {
	e, err := Start(speed, program)
	if err != nil {
		return err
	}
	defer e.Close()
	name, hc := "without", e.Plain()
	if ours {
		name, hc = "with", e.Client.HTTPClient()
	}
	answer, err := c.Ask(e, hc)
	hc.CloseIdleConnections()
	took := e.Elapsed().Round(time.Second)
	if err != nil {
		fmt.Fprintf(w, "  %-8s FAILED after %v, %d sent: %s\n", name, took, e.Stats().Requests, oneLine(err.Error()))
		return err
	}
	fmt.Fprintf(w, "  %-8s answered after %v, %d sent: %s\n", name, took, e.Stats().Requests, oneLine(answer))
	return nil
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 160 {
		s = s[:160] + "..."
	}
	return s
}
