package runpodtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// workerHeader names the worker that served a request, and in a request asks
// for one.
const workerHeader = "X-Runpod-Worker-Id"

// writeJSON answers with a status and a JSON value.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// problem is the answer shape of the service's edge.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, "application/problem+json", problem{status, http.StatusText(status), detail})
}

func writeError(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, "application/json", map[string]string{"error": reason})
}

// writeText answers as the network in front of the service does.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// perform sends what the action answers, or resets the connection.
func (a Action) perform(w http.ResponseWriter, conn *servedConn) {
	if a.status < http.StatusOK {
		abort(conn)
	}
	for i := 0; i+1 < len(a.header); i += 2 {
		w.Header().Set(a.header[i], a.header[i+1])
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", contentType(a.body))
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

func contentType(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case len(body) > 0 && body[0] == '<':
		return "application/xml"
	}
	return "text/plain; charset=utf-8"
}

// abort resets the connection and ends the handler it is called from.
func abort(conn *servedConn) {
	if conn != nil {
		conn.reset()
	}
	panic(http.ErrAbortHandler)
}

// sleep waits for d or until the context ends, and reports which it was.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// shapedReply lets only some bytes of an answer's body pass, or lets them pass
// slowly. It belongs to one handler at a time.
type shapedReply struct {
	http.ResponseWriter
	ctx   context.Context // ends when the client has left
	conn  *servedConn
	act   Action
	speed float64
	left  int64
}

// shape wraps w if the action is about the answer's body.
func (a Action) shape(w http.ResponseWriter, ctx context.Context, conn *servedConn, speed float64) http.ResponseWriter {
	if a.at != whileReply {
		return w
	}
	return &shapedReply{ResponseWriter: w, ctx: ctx, conn: conn, act: a, speed: speed, left: a.bytes}
}

// Unwrap lets http.ResponseController find Flush and Hijack.
func (s *shapedReply) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *shapedReply) Write(p []byte) (int, error) {
	pass := min(int64(len(p)), s.left)
	s.left -= pass
	n, err := s.send(p[:pass])
	if err != nil || n == len(p) {
		return n, err
	}
	http.NewResponseController(s.ResponseWriter).Flush()
	switch s.act.end {
	case endStalled:
		<-s.ctx.Done()
	case endTruncated:
		s.conn.Close()
		panic(http.ErrAbortHandler)
	}
	abort(s.conn)
	return n, nil
}

// send writes p, in slices of a quarter of a second if there is a rate.
func (s *shapedReply) send(p []byte) (n int, err error) {
	if s.act.rate == 0 {
		return s.ResponseWriter.Write(p)
	}
	slice := int(max(s.act.rate/4, 1))
	for n < len(p) && err == nil {
		part := p[n:min(n+slice, len(p))]
		pause := time.Duration(float64(len(part)) / float64(s.act.rate) / s.speed * float64(time.Second))
		if !sleep(s.ctx, pause) {
			return n, s.ctx.Err()
		}
		var m int
		m, err = s.ResponseWriter.Write(part)
		n += m
		http.NewResponseController(s.ResponseWriter).Flush()
	}
	return n, err
}

// ReadFrom hides the inner writer's own, which would get round Write.
func (s *shapedReply) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}
