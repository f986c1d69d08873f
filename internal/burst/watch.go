package burst

import (
	"context"
	"net"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// clock is the endpoint's time since the run began.
type clock struct {
	start time.Time
	speed float64
}

func (c clock) now() Seconds { return c.at(time.Now()) }

func (c clock) at(t time.Time) Seconds { return Seconds(t.Sub(c.start).Seconds() * c.speed) }

// wall is how long so many of the endpoint's seconds last.
func (c clock) wall(s Seconds) time.Duration {
	return time.Duration(float64(s) / c.speed * float64(time.Second))
}

// sleep waits in the endpoint's time, and reports false if the context ended first.
func (c clock) sleep(ctx context.Context, s Seconds) bool {
	t := time.NewTimer(c.wall(s))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dials records the lives of connections.
type dials struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	s3    string // the volume's host and port
	clock clock

	mu    sync.Mutex
	conns []*Conn
}

func (d *dials) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	rec := &Conn{To: "endpoint", Opened: d.clock.now()}
	if addr == d.s3 {
		rec.To = "s3"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, rec)
	return &watchedConn{Conn: c, closed: sync.OnceFunc(func() { d.end(rec) })}, nil
}

func (d *dials) end(rec *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec.Closed = d.clock.now()
}

// flush hands the records over. Connections that are still open end now.
func (d *dials) flush(r *Recorder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		if c.Closed == 0 {
			c.Closed = d.clock.now()
		}
		one := *c
		r.add(line{Conn: &one})
	}
}

type watchedConn struct {
	net.Conn
	closed func()
}

func (c *watchedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// job is one job under way: what its client's callbacks and connections show.
type job struct {
	work  Work
	clock clock

	mu  sync.Mutex
	rec Job
}

// watch returns a context in which the job notes when its first upload has a
// connection.
func (j *job) watch(ctx context.Context, s3 string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(hostPort string) {
		if hostPort == s3 {
			j.mark(func(r *Job) *Seconds { return &r.Sent })
		}
	}})
}

// mark notes a moment, the first time it comes.
func (j *job) mark(moment func(*Job) *Seconds) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if m := moment(&j.rec); *m == 0 {
		*m = j.clock.now()
	}
}

func (j *job) uploaded() { j.mark(func(r *Job) *Seconds { return &r.Uploaded }) }

func (j *job) answered(answer []byte) {
	j.mark(func(r *Job) *Seconds { return &r.Answered })
	took := j.work.took(answer)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rec.Work = took
}

// hostPort is a URL's address as connections are dialled to.
func hostPort(rawURL string) string {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	host, _, _ := strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return host + map[string]string{"http": ":80", "https": ":443"}[scheme]
}

// syncSet is a set of names, safe for concurrent use.
type syncSet struct {
	mu    sync.Mutex
	names map[string]bool
}

// add reports whether the name is new.
func (s *syncSet) add(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] {
		return false
	}
	if s.names == nil {
		s.names = make(map[string]bool)
	}
	s.names[name] = true
	return true
}
