package runpodtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// answer is the ResponseWriter a worker's program writes to. It names the
// worker, keeps to the body limit, and can be taken from the program, which may
// go on after the balancer has given up on it.
type answer struct {
	w        http.ResponseWriter
	conn     *servedConn
	id       string // "": not named
	limit    int64
	life     context.Context // of the worker: a dead one says nothing more
	onHijack func()

	header http.Header // the program's; copied when it is sent
	status int
	bytes  int64

	mu       sync.Mutex
	cond     *sync.Cond
	inUse    bool // the program is writing
	taken    bool
	sent     bool
	hijacked bool
}

// errTaken is what a program's write meets when the balancer has answered.
var errTaken = errors.New("the request has ended without this worker")

func newAnswer(w http.ResponseWriter, conn *servedConn, cfg *Config, by *worker) *answer {
	a := &answer{w: w, conn: conn, limit: cfg.BodyLimit, life: by.Context, header: http.Header{}}
	if !cfg.OmitWorkerID {
		a.id = by.ID
	}
	a.cond = sync.NewCond(&a.mu)
	return a
}

func (a *answer) Header() http.Header { return a.header }

// begin claims the connection for one write; end gives it back.
func (a *answer) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken || a.hijacked || a.life.Err() != nil {
		return false
	}
	a.inUse = true
	return true
}

func (a *answer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inUse = false
	a.cond.Broadcast()
}

// takeOver ends the program's use of the connection and reports whether the
// answer has begun. A write that the client does not read is cut off.
func (a *answer) takeOver() (begun bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = true
	if a.inUse || a.hijacked {
		a.conn.reset()
	}
	for a.inUse {
		a.cond.Wait()
	}
	return a.sent
}

func (a *answer) isHijacked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hijacked
}

// WriteHeader sends the program's header and the worker's name.
func (a *answer) WriteHeader(status int) {
	if a.begin() {
		defer a.end()
		a.writeHeader(status)
	}
}

func (a *answer) writeHeader(status int) {
	if a.status != 0 {
		return
	}
	if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil && n > a.limit {
		panic(http.ErrAbortHandler) // nothing is sent: the balancer answers 502
	}
	h := a.w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	h.Del(workerHeader)
	if a.id != "" {
		h.Set(workerHeader, a.id)
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.status = status
		a.mu.Lock()
		a.sent = true
		a.mu.Unlock()
	}
	a.w.WriteHeader(status)
}

// Write sends a part of the body.
func (a *answer) Write(p []byte) (int, error) {
	if !a.begin() {
		return 0, errTaken
	}
	defer a.end()
	a.writeHeader(http.StatusOK)
	if a.bytes += int64(len(p)); a.bytes > a.limit {
		panic(http.ErrAbortHandler) // cut: too late for a status (inferred)
	}
	return a.w.Write(p)
}

// ReadFrom keeps io.Copy on Write, which counts.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{a}, r)
}

// FlushError sends what is buffered, for streams and server-sent events.
func (a *answer) FlushError() error {
	if !a.begin() {
		return errTaken
	}
	defer a.end()
	a.writeHeader(http.StatusOK)
	return http.NewResponseController(a.w).Flush()
}

// Flush is FlushError for http.Flusher.
func (a *answer) Flush() { a.FlushError() }

// Hijack hands the connection to the program, for WebSockets.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !a.begin() {
		return nil, nil, errTaken
	}
	conn, rw, err := a.hijack()
	a.end()
	if err == nil && a.onHijack != nil {
		a.onHijack()
	}
	return conn, rw, err
}

func (a *answer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.id != "" { // for a program that sends the header by itself from here on
		a.header.Set(workerHeader, a.id)
	}
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hijacked, a.sent = true, true
	a.status = http.StatusSwitchingProtocols
	return conn, rw, nil
}

// finish sends the header of an answer without a body, and reports whether the
// program has answered at all: it has not if it died first.
func (a *answer) finish() bool {
	if a.begin() {
		defer a.end()
		a.writeHeader(http.StatusOK)
	}
	return a.status != 0
}
