package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go"
)

// form tells how a client was set up.
type form string

const (
	asShipped  form = "as shipped"
	configured form = "configured" // as well as its options allow
	ours       form = "defaults"   // the library: the same in every scenario
	endless    form = "no limit"   // retries without telling errors apart
)

// client is one row of the table.
type client struct {
	name string
	form form
	// open makes a client for one run, and the function that closes it.
	open func(s site) (caller, func())
}

func (c client) String() string { return c.name + ", " + string(c.form) }

// clients is every client of the comparison. The library is the last.
func clients() []client {
	all := []client{
		{"net/http", asShipped, plain},
		{"docs' advice", asShipped, advised},
		{"docs' advice", configured, advisedConfigured},
	}
	all = append(all, peers()...)
	return append(all,
		client{"every 400 at once", endless, blind},
		client{"runpod-go", ours, library})
}

// variants is the library with its admission set otherwise, to see what that is
// worth.
func variants() []client {
	with := func(m runpod.Admission) func(site) (caller, func()) {
		return func(s site) (caller, func()) { return throughLibrary(s, runpod.WithAdmission(m)) }
	}
	return []client{
		{"runpod-go", "fixed limit", with(runpod.AdmissionFixed)},
		{"runpod-go", "no limit", with(runpod.AdmissionOff)},
	}
}

// library is package runpod. The one thing it is told is how many calls its
// caller makes at once.
func library(s site) (caller, func()) { return throughLibrary(s) }

func throughLibrary(s site, options ...runpod.Option) (caller, func()) {
	c, err := runpod.New(append(options,
		runpod.WithAPIKey(s.key), runpod.WithEndpoint(s.url), runpod.WithDialContext(s.dial),
		runpod.WithHTTPTransport(&http.Transport{}), runpod.WithMaxInFlight(s.atOnce))...)
	if err != nil {
		panic(err)
	}
	var opts []runpod.CallOption
	if s.idempotent {
		opts = append(opts, runpod.Idempotent())
	}
	return func(ctx context.Context, path string, body []byte) (report, error) {
		resp, err := c.Call(ctx, http.MethodPost, path, body, nil, opts...)
		var rep report
		var attempts []runpod.Attempt
		if resp != nil {
			attempts = resp.Attempts
		}
		if e, ok := errors.AsType[*runpod.Error](err); ok {
			rep.mayHaveRun, rep.noWorkers = e.MayHaveRun, errors.Is(err, runpod.ErrNoWorkers)
			attempts = e.Attempts
		}
		for _, a := range attempts {
			if a.Delay > 0 {
				end := a.Start.Add(a.Duration)
				rep.pauses = append(rep.pauses, span{end, end.Add(a.Delay)})
			}
		}
		return rep, err
	}, func() { c.Close() }
}

// answer is what one attempt brought.
type answer struct {
	status   int
	workerID string
	body     []byte
	took     time.Duration
	header   http.Header
}

// err is nil for a success.
func (a *answer) err() error {
	if a.status >= 200 && a.status < 300 {
		return nil
	}
	return fmt.Errorf("status %d: %s", a.status, a.body)
}

// sender makes single attempts over a transport of its own.
type sender struct {
	site
	transport *http.Transport
	client    *http.Client
}

func newSender(s site) *sender {
	t := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: s.atOnce}
	return &sender{site: s, transport: t, client: &http.Client{Transport: t}}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

func (s *sender) request(ctx context.Context, path string, body []byte) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	return req
}

// once sends a request once and reads the answer whole.
func (s *sender) once(ctx context.Context, path string, body []byte) (*answer, error) {
	start := time.Now()
	resp, err := s.client.Do(s.request(ctx, path, body))
	if err != nil {
		return nil, err
	}
	return readAnswer(resp, start)
}

func readAnswer(resp *http.Response, start time.Time) (*answer, error) {
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id"), data, time.Since(start), resp.Header}, err
}

// plain is net/http and nothing else.
func plain(s site) (caller, func()) {
	sd := newSender(s)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		a, err := sd.once(ctx, path, body)
		if err != nil {
			return report{}, err
		}
		return report{}, a.err()
	}, sd.close
}

// advised does what Runpod's docs advise: three tries, 5 to 10 s apart, whatever
// went wrong.
func advised(s site) (caller, func()) {
	return retrying(s, 3, func(int) time.Duration { return 5*time.Second + jitter(5*time.Second) },
		func(*answer, error) bool { return true })
}

// advisedConfigured spaces its tries as the docs advise, until patience ends,
// and tells a cold start from other errors.
func advisedConfigured(s site) (caller, func()) {
	return retrying(s, 0, func(int) time.Duration { return 5*time.Second + jitter(5*time.Second) }, s.worthRetrying)
}

// blindPause stands between two tries of the client that retries every 400 at
// once. Without any, a balancer that refuses at once would be asked as fast as
// the machine can.
const blindPause = 250 * time.Millisecond

// blind sends again at once whatever was answered 400, and errors.
func blind(s site) (caller, func()) {
	return retrying(s, 0, func(int) time.Duration { return blindPause },
		func(a *answer, err error) bool {
			return err != nil || a.status == http.StatusBadRequest || a.status >= 500
		})
}

func jitter(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d)) }

// retrying makes a client by hand: tries at most (0: as many as the context
// allows), so long a pause after the n-th, while again says so.
func retrying(s site, tries int, pause func(n int) time.Duration, again func(*answer, error) bool) (caller, func()) {
	sd := newSender(s)
	return func(ctx context.Context, path string, body []byte) (report, error) {
		for n := 1; ; n++ {
			a, err := sd.once(ctx, path, body)
			if err == nil && a.err() == nil {
				return report{}, nil
			}
			if n == tries || !again(a, err) || !sleep(ctx, pause(n)) {
				if err == nil {
					err = a.err()
				}
				return report{}, err
			}
		}
	}, sd.close
}

// worthRetrying is the predicate that every configured client is given where it
// can take one. It knows all that is known of the service: a 400 is the
// balancer's if it names no worker and has a known body or took the balancer's
// two minutes; what a worker may have run is repeated only where that is allowed.
func (s site) worthRetrying(a *answer, err error) bool {
	if err != nil {
		return s.idempotent && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	switch a.status {
	case http.StatusBadRequest:
		return a.workerID == "" && (knownRefusal(a.body) || a.took > 118*time.Second && a.took < 130*time.Second)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return a.status >= 500 && (a.workerID == "" || s.idempotent)
}

func knownRefusal(body []byte) bool {
	text := string(body)
	return strings.Contains(text, "no workers available") || strings.Contains(text, "timed out waiting for worker")
}

// tookHeader carries an attempt's duration to predicates that see only a
// response.
const tookHeader = "X-Bench-Took"

// stopwatch is a transport that notes in the answer how long it took.
type stopwatch struct{ *http.Transport }

func (t stopwatch) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.Transport.RoundTrip(req)
	if err == nil {
		resp.Header.Set(tookHeader, strconv.FormatInt(int64(time.Since(start)), 10))
	}
	return resp, err
}

// peek reads an answer that came through a stopwatch, and puts its body back.
func peek(resp *http.Response) *answer {
	took, _ := strconv.ParseInt(resp.Header.Get(tookHeader), 10, 64)
	data, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return &answer{resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id"), data, time.Duration(took), resp.Header}
}
