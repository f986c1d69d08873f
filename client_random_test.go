package runpod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/gpuburst/runpod-go/runpodtest"
)

const (
	randomCallers    = 8
	randomOperations = 2000
)

// TestCallersThatMisbehave lets 8 goroutines do 2,000 operations drawn at random
// on shared Clients, whose contexts end early, whose functions panic, exit and
// fail, and which are closed at any time. The bubble sees that no goroutine is
// left, this test that no place and no connection is.
func TestCallersThatMisbehave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newCrowd(t, runpodtest.Config{}, 1).run()
	})
}

// TestCallersThatMisbehaveOverSockets does so over TCP.
func TestCallersThatMisbehaveOverSockets(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	crowd := newCrowd(t, runpodtest.Config{Loopback: true, Speed: 100}, 2)
	crowd.run()
	crowd.srv.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		left := goroutinesOfOurs()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left, such as\n%s", len(left), left[0])
		}
		<-time.After(10 * time.Millisecond)
	}
}

// goroutinesOfOurs are the stacks of all goroutines but this one in which the
// package has a part.
func goroutinesOfOurs() []string {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	all := strings.Split(string(stacks), "\n\n")[1:]
	return slices.DeleteFunc(all, func(s string) bool {
		return !strings.Contains(s, "runpod-go") || strings.Contains(s, "testing.tRunner")
	})
}

// crowd is a number of callers on one service.
type crowd struct {
	t      *testing.T
	srv    *runpodtest.Server
	dir    string
	real   time.Duration // what a second of the service takes
	client atomic.Pointer[Client]
	conns  atomic.Int64 // open now
	calm   atomic.Bool  // nobody misbehaves any more

	mu      sync.Mutex
	clients []*Client
	dice    *rand.Rand // of functions that no caller owns
	done    map[string]int
}

func newCrowd(t *testing.T, cfg runpodtest.Config, seed uint64) *crowd {
	cfg.Seed, cfg.MinWorkers, cfg.MaxWorkers = seed, 1, 4
	cfg.ColdStart = runpodtest.Range(time.Second, 5*time.Second)
	cfg.ServiceTime = runpodtest.Range(50*time.Millisecond, 2*time.Second)
	c := &crowd{t: t, srv: newServer(t, cfg), dir: t.TempDir(), real: time.Second, dice: rand.New(rand.NewPCG(seed, 99)), done: map[string]int{}}
	if cfg.Speed > 0 {
		c.real = time.Duration(float64(time.Second) / cfg.Speed)
	}
	c.client.Store(c.newClient())
	return c
}

func (c *crowd) newClient() *Client {
	own := newClient(c.t, c.srv, WithMaxInFlight(6), WithS3Conns(3), WithResumeDir(c.t.TempDir()),
		WithS3CredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			err := c.spoil(c.dice, 100)
			return aws.Credentials{AccessKeyID: c.srv.AccessKeyID, SecretAccessKey: c.srv.SecretAccessKey}, err
		})),
		WithRetryPolicy(DefaultRetryPolicy().Scaled(c.real.Seconds())),
		WithDialContext(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c.spoil(c.dice, 100)
			conn, err := c.srv.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			c.conns.Add(1)
			return &countedClose{Conn: conn, closed: sync.OnceFunc(func() { c.conns.Add(-1) })}, nil
		}),
		WithObserver(Observer{
			AttemptStart: func(ctx context.Context, _ AttemptInfo) context.Context { c.spoil(c.dice, 30); return ctx },
			AttemptEnd:   func(context.Context, AttemptInfo, Attempt) { c.spoil(c.dice, 30) },
		}),
		WithClassifier(func(Observation) (Verdict, bool) { c.spoil(c.dice, 60); return 0, false }),
	)
	smallBuffers(own, 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, own)
	return own
}

type countedClose struct {
	net.Conn
	closed func()
}

func (c *countedClose) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

var errOnPurpose = errors.New("on purpose")

// spoil panics, exits or fails once in so many times.
func (c *crowd) spoil(r *rand.Rand, once int) error {
	c.mu.Lock()
	hit, how := r.IntN(once) == 0, r.IntN(3)
	c.mu.Unlock()
	if !hit || c.calm.Load() {
		return nil
	}
	switch how {
	case 0:
		panic("on purpose")
	case 1:
		runtime.Goexit()
	}
	return errOnPurpose
}

func (c *crowd) run() {
	var callers sync.WaitGroup
	for i := range uint64(randomCallers) {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(i, 7))
			for range randomOperations / randomCallers {
				c.operate(r)
			}
		})
	}
	callers.Wait()
	c.calm.Store(true)
	c.checkLast(c.client.Load())
	for _, own := range c.clients {
		own.Close()
		c.checkNothingHeld(own)
	}
	c.srv.Close()
	for range 1000 {
		if c.conns.Load() == 0 {
			break
		}
		<-time.After(c.real)
	}
	if n := c.conns.Load(); n != 0 {
		c.t.Errorf("%d connections are left", n)
	}
	c.t.Logf("%d clients; %v", len(c.clients), c.done)
}

// checkLast sees that the Client that is still open works as if nothing had
// been.
func (c *crowd) checkLast(own *Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	for r, err := range own.RunAll(ctx, tryonlessJobs(20)) {
		if err != nil {
			c.t.Errorf("afterwards: %s: %v", r.JobID, err)
		}
	}
	for range 5 {
		if _, err := own.Upload(ctx, "last", Bytes("last", make([]byte, 5*testPart))); err != nil {
			c.t.Errorf("afterwards: %v", err)
		}
	}
}

func (c *crowd) checkNothingHeld(own *Client) {
	if st := own.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		c.t.Errorf("in flight: %d, waiting: %d", st.InFlight, st.Waiting)
	}
	if held, _, waiting := own.volume.gw.pool.Counts(); held != 0 || waiting != 0 {
		c.t.Errorf("S3 places: %d held, %d waited for", held, waiting)
	}
	if held, _, waiting := own.volume.uploads.sums.hashing.Counts(); held != 0 || waiting != 0 {
		c.t.Errorf("checksums: %d held, %d waited for", held, waiting)
	}
	if busy := len(own.volume.uploads.resume.busy); busy != 0 {
		c.t.Errorf("%d uploads are claimed", busy)
	}
	if free, _ := own.volume.uploads.buffers.Counts(); free != own.volume.uploads.buffers.Blocks() {
		c.t.Errorf("buffers: %d of %d came back", free, own.volume.uploads.buffers.Blocks())
	}
}

// operate does one operation, on a goroutine that it may end.
func (c *crowd) operate(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.ExpFloat64()*float64(5*c.real)))
	defer cancel()
	if r.IntN(10) == 0 {
		ctx = context.Background()
	}
	c.trouble(r)
	op := randomOps[r.IntN(len(randomOps))]
	var one sync.WaitGroup
	one.Go(func() {
		defer func() { recover() }()
		op.do(c, ctx, r, c.client.Load())
	})
	one.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[op.name]++
}

// trouble has the service misbehave too, once in a while.
func (c *crowd) trouble(r *rand.Rand) {
	if r.IntN(8) > 0 {
		return
	}
	kinds := []runpodtest.Action{
		runpodtest.ResetBeforeRead(), runpodtest.ResetAfterRead(), runpodtest.ResetReply(10), runpodtest.Answer(503, "busy"),
		runpodtest.TruncateReply(5), runpodtest.Delay(time.Second),
	}
	on := runpodtest.OnS3
	if r.IntN(2) == 0 {
		on, kinds = runpodtest.OnEndpoint, append(kinds, runpodtest.Answer(400, "no workers available"))
	}
	c.srv.Fault(runpodtest.Fault{On: on, Do: kinds[r.IntN(len(kinds))]})
}

// randomOps are what callers do. Panics and exits end the operation as they
// would end a handler.
var randomOps = []struct {
	name string
	do   func(c *crowd, ctx context.Context, r *rand.Rand, own *Client)
}{
	{"call", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		outs := []any{nil, new(any), new([]byte), &spoiledWriter{c, r}, new(func())}
		own.Call(ctx, "POST", "/x", map[string]int{"a": 1}, outs[r.IntN(len(outs))])
	}},
	{"do", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		req, _ := http.NewRequestWithContext(ctx, "PUT", own.ep.base.String()+"/x", nil)
		switch r.IntN(3) {
		case 0:
			req.Body = &spoiledReader{c, r, bytes.NewReader(make([]byte, 1000))}
		case 1:
			req.ContentLength, req.Body = 1000, &spoiledReader{c, r, bytes.NewReader(make([]byte, 1000))}
			req.GetBody = func() (io.ReadCloser, error) {
				return &spoiledReader{c, r, bytes.NewReader(make([]byte, 1000))}, c.spoil(r, 10)
			}
		}
		send := []func(*http.Request) (*http.Response, error){own.Do, own.Transport().RoundTrip, own.HTTPClient().Do}[r.IntN(3)]
		resp, err := send(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		io.CopyN(&spoiledWriter{c, r}, resp.Body, int64(r.IntN(300)))
	}},
	{"session", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		s := own.Session(Strict(), OrAnyWorker())
		defer s.End()
		for range 3 {
			s.Call(ctx, "GET", "/x", nil, nil)
			c.spoil(r, 10)
		}
	}},
	{"upload", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		own.Upload(ctx, "k"+strconv.Itoa(r.IntN(5)), c.input(r))
	}},
	{"download", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		key := "k" + strconv.Itoa(r.IntN(5))
		if r.IntN(2) == 0 {
			own.DownloadFile(ctx, key, filepath.Join(c.dir, key))
			return
		}
		own.Download(ctx, key, &spoiledWriter{c, r})
	}},
	{"list", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		for range own.List(ctx, "k") {
			c.spoil(r, 10)
		}
	}},
	{"delete", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		own.Delete(ctx, "k"+strconv.Itoa(r.IntN(5)))
	}},
	{"run", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) { own.Run(ctx, c.job(r)) }},
	{"run all", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		n := r.IntN(12)
		var mu sync.Mutex
		jobs := func(yield func(Job) bool) {
			for range n {
				mu.Lock()
				job := c.job(r)
				mu.Unlock()
				if c.spoil(c.dice, 100) != nil || !yield(job) {
					return
				}
			}
		}
		for range own.RunAll(ctx, jobs) {
			switch {
			case c.spoil(c.dice, 20) != nil:
				return
			case c.roll(100):
				c.replace(own)
			}
		}
	}},
	{"warm", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) { own.Warm(ctx, 1+r.IntN(3)) }},
	{"stats", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) { own.Stats(); own.Progress() }},
	{"close", func(c *crowd, ctx context.Context, r *rand.Rand, own *Client) {
		if r.IntN(5) == 0 {
			c.replace(own)
		}
	}},
}

// replace closes a Client, after the others have got another one.
func (c *crowd) replace(own *Client) {
	if c.client.CompareAndSwap(own, c.newClient()) {
		own.Close()
	}
}

func (c *crowd) roll(once int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dice.IntN(once) == 0
}

// input is small or in parts, from memory or a stream, of known size or not.
func (c *crowd) input(r *rand.Rand) Input {
	data := make([]byte, []int{0, 10, 5000, 3*testPart + 5}[r.IntN(4)])
	if r.IntN(2) == 0 {
		return Bytes("b", data)
	}
	size := []int64{-1, int64(len(data))}[r.IntN(2)]
	return Reader("r", size, func(context.Context) (io.ReadCloser, error) {
		if err := c.spoil(c.dice, 15); err != nil {
			return nil, err
		}
		return &spoiledReader{c, c.dice, bytes.NewReader(data)}, nil
	})
}

func (c *crowd) job(r *rand.Rand) Job {
	job := Job{Path: "/x", KeepInputs: r.IntN(3) == 0, Idempotent: r.IntN(2) == 0}
	for range r.IntN(3) {
		job.Inputs = append(job.Inputs, JobInput{Input: c.input(r)})
	}
	job.Body = func([]Object) (any, error) { return "x", c.spoil(c.dice, 10) }
	job.OnState = func(JobProgress) { c.spoil(c.dice, 100) }
	job.Options = []CallOption{Priority(r.IntN(3)), StartWithin(c.real)}
	if r.IntN(3) == 0 {
		job.Output = func(*Response) (string, error) { return "k" + strconv.Itoa(r.IntN(5)), c.spoil(c.dice, 10) }
		job.SaveTo = filepath.Join(c.dir, "out")
	}
	return job
}

// spoiledWriter and spoiledReader misbehave once in a while.
type spoiledWriter struct {
	c *crowd
	r *rand.Rand
}

func (w *spoiledWriter) Write(p []byte) (int, error) { return len(p), w.c.spoil(w.r, 20) }

type spoiledReader struct {
	c *crowd
	r *rand.Rand
	io.Reader
}

func (b *spoiledReader) Read(p []byte) (int, error) {
	if err := b.c.spoil(b.r, 50); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func (b *spoiledReader) Close() error { return b.c.spoil(b.r, 50) }
