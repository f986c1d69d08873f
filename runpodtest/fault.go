package runpodtest

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Service is one of the server's listeners.
type Service uint8

const (
	OnEndpoint Service = iota // the load-balancing endpoint
	OnS3                      // the volume's S3 gateway
	OnControl                 // the control plane
	OnJobs                    // the job API; its connections are the endpoint's
)

// Always as Fault.Times makes a standing rule.
const Always = -1

// Fault is something that goes wrong for the requests it matches. Fields left
// zero match everything.
type Fault struct {
	On     Service
	Method string
	// Path is a pattern in which * stands for any run of characters, slashes
	// included. It is held against the URL's path; on S3, against the object's
	// key.
	Path string
	// Query is the name of a query parameter that must be there: "uploads",
	// "partNumber" and "uploadId" tell S3's multipart calls apart.
	Query string
	// Match has the last word, if set. It must not read the body.
	Match func(*http.Request) bool

	Skip  int // so many matching requests pass first
	Times int // how often it fires; zero means once, Always for ever
	Do    Action
}

// Rule is a Fault that was set. Its methods are safe for concurrent use.
type Rule struct {
	fault   Fault
	list    *faultList
	skipped int
	fired   int
	removed bool
}

// Fired is how often the rule has fired.
func (r *Rule) Fired() int {
	r.list.mu.Lock()
	defer r.list.mu.Unlock()
	return r.fired
}

// Remove takes the rule away; what it has begun goes on.
func (r *Rule) Remove() {
	r.list.mu.Lock()
	defer r.list.mu.Unlock()
	r.removed = true
	r.list.sweep()
}

// Fault sets a fault. For each request the first rule that matches fires, in
// the order they were set, and no other; a rule whose Times are used up makes
// way for the next. Faults come before everything, authentication included.
func (s *Server) Fault(f Fault) *Rule { return s.faults.add(f) }

// faultList holds the rules in force, oldest first.
type faultList struct {
	mu    sync.Mutex
	rules []*Rule
}

func (l *faultList) add(f Fault) *Rule {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	r := &Rule{fault: f, list: l}
	l.rules = append(l.rules, r)
	return r
}

// sweep drops the rules that are done. The caller holds the lock.
func (l *faultList) sweep() {
	kept := l.rules[:0]
	for _, r := range l.rules {
		if !r.removed && (r.fault.Times == Always || r.fired < r.fault.Times) {
			kept = append(kept, r)
		}
	}
	clear(l.rules[len(kept):])
	l.rules = kept
}

// forRequest fires the first rule for a request; path is what patterns see.
func (l *faultList) forRequest(on Service, r *http.Request, path string) Action {
	return l.fire(func(f *Fault) bool {
		return f.On == on && f.Do.at != atConnect && f.matches(r, path)
	})
}

// forConnection fires the first rule for a new connection.
func (l *faultList) forConnection(on Service) Action {
	return l.fire(func(f *Fault) bool { return f.On == on && f.Do.at == atConnect })
}

func (l *faultList) fire(matches func(*Fault) bool) Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rules {
		if !matches(&r.fault) {
			continue
		}
		if r.skipped < r.fault.Skip {
			r.skipped++
			continue
		}
		r.fired++
		do := r.fault.Do
		l.sweep()
		return do
	}
	return Action{}
}

func (f *Fault) matches(r *http.Request, path string) bool {
	return (f.Method == "" || f.Method == r.Method) &&
		(f.Path == "" || globMatch(f.Path, path)) &&
		(f.Query == "" || r.URL.Query().Has(f.Query)) &&
		(f.Match == nil || f.Match(r))
}

// globMatch reports whether s is pattern, with * for any run of characters.
func globMatch(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	for _, mid := range parts[1 : len(parts)-1] {
		if ok {
			_, s, ok = strings.Cut(s, mid)
		}
	}
	return ok && strings.HasSuffix(s, parts[len(parts)-1])
}

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

// Action is what a Fault does; the functions that return one say what there is.
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

// Later is the same action, d of the service's time later.
func (a Action) Later(d time.Duration) Action {
	a.delay += d
	return a
}
