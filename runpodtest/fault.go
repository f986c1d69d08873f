package runpodtest

import (
	"net/http"
	"strings"
	"sync"
)

// Service is one of the services that a Server imitates.
type Service uint8

// The services.
const (
	OnEndpoint Service = iota // the load-balancing endpoint
	OnS3                      // the volume's S3 gateway
	OnControl                 // the control plane
	OnJobs                    // the job API; its connections are the endpoint's
)

// Always is the Fault.Times of a rule that fires for ever.
const Always = -1

// Fault is something that goes wrong for the requests it matches. Fields left
// zero match everything.
type Fault struct {
	On     Service // the service it happens to
	Method string  // the HTTP method
	// Path is a pattern in which * stands for any run of characters, slashes
	// included. It is held against the URL's path; on S3, against the object's
	// key.
	Path string
	// Query is the name of a query parameter that must be there: "uploads",
	// "partNumber" and "uploadId" tell S3's multipart calls apart.
	Query string
	// Match has the last word, if set. It must not read the body.
	Match func(*http.Request) bool

	Skip  int    // so many matching requests pass first
	Times int    // how often it fires; zero means once, Always for ever
	Do    Action // what happens
}

// Rule is a Fault in force, as Server.Fault returns it. Its methods are safe for concurrent use.
type Rule struct {
	fault   Fault
	list    *faultList
	skipped int
	fired   int
	removed bool
}

// Fired returns how often the rule has fired.
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
