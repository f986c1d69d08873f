package runpodtest

import (
	"context"
	"io"
	"net/http"
	"time"
)

// stage is when in a request's life an Action comes in.
type stage uint8

const (
	atNothing  stage = iota
	atConnect        // when the connection is made
	atArrival        // when the header has come, the body is unread
	atRead           // when the whole request has come
	atWorker         // instead of the worker's program, on a worker
	afterWork        // when the worker (or the gateway) has done its work
	whileReply       // while the answer's body goes out
)

// Action is what a Fault does. Answer, ResetReply, Delay and the other functions
// that return one make it. It is a value and safe to share.
type Action struct {
	at     stage
	delay  time.Duration
	status int // 0: no answer, a reset
	header []string
	body   string
	bytes  int64 // whileReply: how much of the body passes
	end    ending
	rate   int64 // whileReply: bytes a second
}

// ending is what happens to an answer once its bytes have passed.
type ending uint8

const (
	endReset ending = iota
	endTruncated
	endStalled
)

// Answer answers instead of the service, before the request's body is read:
// an answer of the balancer (no worker id) or of the gateway. header is pairs of
// name and value, such as "Retry-After", "2". A status below 200 is no answer:
// the connection is reset.
func Answer(status int, body string, header ...string) Action {
	return Action{at: atArrival, status: status, body: body, header: header}
}

// WorkerAnswer lets a worker take the request and answer this instead of what
// its program would: with the worker's id.
func WorkerAnswer(status int, body string, header ...string) Action {
	return Action{at: atWorker, status: status, body: body, header: header}
}

// AnswerAfterWork lets the work be done and answers this instead of its result,
// without a worker id: a 524 on an upload that was in fact completed.
func AnswerAfterWork(status int, body string, header ...string) Action {
	return Action{at: afterWork, status: status, body: body, header: header}
}

// RefuseConnection refuses a new connection. Over loopback, where the kernel has
// accepted it already, it is reset instead. Method and path do not apply.
func RefuseConnection() Action { return Action{at: atConnect, status: 1} }

// ResetConnection resets a new connection before anything can be written to it
// (over loopback: as soon as it is accepted). Method and path do not apply.
func ResetConnection() Action { return Action{at: atConnect} }

// ResetBeforeRead resets the connection when the request's header has come. A
// client still sending a long body sees it while writing.
func ResetBeforeRead() Action { return Action{at: atArrival} }

// ResetAfterRead resets the connection when the whole request has come, before
// a worker gets it.
func ResetAfterRead() Action { return Action{at: atRead} }

// ResetAfterWork lets the work be done, then resets the connection instead of
// answering.
func ResetAfterWork() Action { return Action{at: afterWork} }

// ResetReply resets the connection after n bytes of the answer's body.
func ResetReply(n int64) Action { return Action{at: whileReply, bytes: n, end: endReset} }

// TruncateReply closes the connection in good order after n bytes of the
// answer's body.
func TruncateReply(n int64) Action { return Action{at: whileReply, bytes: n, end: endTruncated} }

// StallReply sends n bytes of the answer's body, then nothing more until the
// client leaves.
func StallReply(n int64) Action { return Action{at: whileReply, bytes: n, end: endStalled} }

// SlowReply sends the answer's body at so many bytes a second.
func SlowReply(bytesPerSecond int64) Action {
	return Action{at: whileReply, rate: max(bytesPerSecond, 1), bytes: 1 << 62}
}

// Delay holds the request up for d of the service's time, then lets it go on.
func Delay(d time.Duration) Action { return Action{}.Later(d) }

// Later returns the same action, d of the service's time later.
func (a Action) Later(d time.Duration) Action {
	a.delay += d
	return a
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
