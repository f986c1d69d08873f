package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// toxin is what a connection does to the bytes on it.
type toxin struct {
	latency  time.Duration // before a request, and so once for each
	rate     int           // bytes a second, each way
	cutSent  int           // reset after so many bytes sent; 0: never
	cutRead  int           // reset after so many bytes received
	deadFrom int           // half-open: after so many bytes sent nothing arrives any more, either way
}

// toxicConn is a connection with a toxin in it.
type toxicConn struct {
	net.Conn
	toxin
	sent, read int
	asked      bool // a request is under way
	closed     chan struct{}
	close      func() error
}

func newToxicConn(c net.Conn, x toxin) *toxicConn {
	t := &toxicConn{Conn: c, toxin: x, closed: make(chan struct{})}
	t.close = sync.OnceValue(func() error { close(t.closed); return t.Conn.Close() })
	return t
}

func (c *toxicConn) Close() error { return c.close() }

func (c *toxicConn) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.closed:
	}
}

func (c *toxicConn) reset(op string) error {
	c.Close()
	return &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET}
}

func (c *toxicConn) Write(p []byte) (int, error) {
	if !c.asked && c.latency > 0 {
		c.pause(c.latency)
	}
	c.asked = true
	if c.rate > 0 {
		c.pause(time.Duration(len(p)) * time.Second / time.Duration(c.rate))
	}
	if c.cutSent > 0 && c.sent+len(p) > c.cutSent {
		c.Conn.Write(p[:c.cutSent-c.sent])
		c.sent = c.cutSent
		return 0, c.reset("write")
	}
	c.sent += len(p)
	if c.deadFrom > 0 && c.sent > c.deadFrom {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *toxicConn) Read(p []byte) (int, error) {
	if c.cutRead > 0 && c.read >= c.cutRead {
		return 0, c.reset("read")
	}
	if c.cutRead > 0 {
		p = p[:min(len(p), c.cutRead-c.read)]
	}
	n, err := c.Conn.Read(p)
	if c.deadFrom > 0 && c.sent > c.deadFrom {
		<-c.closed
		return 0, net.ErrClosed
	}
	c.read += n
	c.asked = false
	if c.rate > 0 {
		c.pause(time.Duration(n) * time.Second / time.Duration(c.rate))
	}
	return n, err
}

// Nothing is lost, nothing doubled, and nothing hangs past its time, whatever
// the network does.
func TestToxic(t *testing.T) {
	random := func(r *rand.Rand, most int) int { return 1 + r.IntN(most) }
	for _, c := range []struct {
		name  string
		toxin func(r *rand.Rand) toxin
		share float64 // of the connections
		most  time.Duration
	}{
		{"reset in the headers of a request", func(r *rand.Rand) toxin { return toxin{cutSent: random(r, 300)} }, 0.5, 5 * time.Minute},
		{"reset in the body of a request", func(r *rand.Rand) toxin { return toxin{cutSent: random(r, 2*testPart)} }, 0.6, 5 * time.Minute},
		{"reset in the headers of an answer", func(r *rand.Rand) toxin { return toxin{cutRead: random(r, 200)} }, 0.5, 5 * time.Minute},
		{"reset in the body of an answer", func(r *rand.Rand) toxin { return toxin{cutRead: random(r, 3*testPart)} }, 0.6, 5 * time.Minute},
		{"half-open", func(r *rand.Rand) toxin { return toxin{deadFrom: random(r, 2*testPart)} }, 0.3, 20 * time.Minute},
		{"40 ms more a request", func(*rand.Rand) toxin { return toxin{latency: 40 * time.Millisecond} }, 1, time.Minute},
		{"64 KB a second", func(*rand.Rand) toxin { return toxin{rate: 64 << 10} }, 1, 2 * time.Minute},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, seed %d", c.name, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				var mu sync.Mutex
				inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
					cl := newClient(t, srv, smallParts, WithS3Conns(4), WithDialContext(func(ctx context.Context, network, addr string) (net.Conn, error) {
						conn, err := srv.DialContext(ctx, network, addr)
						mu.Lock()
						defer mu.Unlock()
						if err != nil || r.Float64() >= c.share {
							return conn, err
						}
						return newToxicConn(conn, c.toxin(r)), nil
					}))
					smallBuffers(cl, 4)
					start := time.Now()
					if err := errors.Join(throughToxins(t, cl)...); err != nil {
						t.Error(err)
					}
					took := time.Since(start)
					if took > c.most {
						t.Errorf("it took %s", took)
					}
					if got := remains(t, srv, "."); len(got) != 6 { // parts of unfinished uploads would be among them
						t.Errorf("the volume holds %v", got)
					}
					t.Logf("%d requests on %d connections in %s", cl.Stats().S3Attempts, cl.Stats().S3ConnsOpened, took.Round(time.Millisecond))
				})
			})
		}
	}
}

// throughToxins uploads in every way, and brings everything back.
func throughToxins(t *testing.T, c *Client) []error {
	data := content(4*testPart + 321)
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			in := []Input{Bytes("b", data), Bytes("b", data[:20_000]), Reader("s", -1, onlyForward(data))}[i%3]
			want := data
			if i%3 == 1 {
				want = data[:20_000]
			}
			key := fmt.Sprint("k", i)
			obj, err := c.Upload(t.Context(), key, in)
			if err == nil && obj.Size != int64(len(want)) {
				err = fmt.Errorf("uploaded as %+v", obj)
			}
			path := filepath.Join(t.TempDir(), key)
			if err == nil {
				_, err = c.DownloadFile(t.Context(), key, path)
			}
			if got, _ := os.ReadFile(path); err == nil && !bytes.Equal(got, want) {
				err = errors.New("came back otherwise")
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errs
}
