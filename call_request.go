package runpod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/internal/redact"
)

// CallOption changes one call. Options are given to [Client.Call], or by
// [WithCallOptions] to [Client.Do] and to clients on [Client.Transport].
type CallOption func(*callOptions)

type callOptions struct {
	idempotent  bool
	decided     bool // the caller has said whether it is
	anyWorker   bool
	light       bool   // it takes no place in flight and waits for no pace
	route       string // for observers; "": the path
	job         string // likewise: the job that the call is part of
	priority    int
	tell        func(jobState)             // how far the call is; nil: nobody wants to know
	startWithin time.Duration              // 0: there is no bound
	header      http.Header                // to be set; nil: nothing is
	refused     func(op string) error      // why the options make no sense; nil: they do
	secrets     []string                   // which no error and no log line may show
	pin         string                     // the worker that the request is for, as the header says it; "": any
	sticky      string                     // the key by which a Group chooses; "": none
	elsewhere   func(sent, cold bool) bool // reports whether the call ends so that another endpoint takes it; nil: nobody asks
	beforeSend  func()                     // called before each attempt; nil: nobody asks for it
	afterAnswer func(worker string)        // called with the worker that gave the final answer; nil: likewise
}

// optionsFor returns what the options say of a request with this method.
func optionsFor(op, method string, opts []CallOption) (callOptions, error) {
	if len(opts) == 0 { // without what the options would need memory for
		return callOptions{idempotent: isIdempotent(method)}, nil
	}
	o := callOptions{idempotent: isIdempotent(method)}
	for i, opt := range opts {
		if opt == nil {
			return o, refuse(op, fmt.Sprintf("option %d", i), "it is nil")
		}
		opt(&o)
	}
	if o.refused != nil {
		return o, o.refused(op)
	}
	return o, nil
}

// fail notes that an option makes no sense. The first one counts.
func (o *callOptions) fail(option string, err error) {
	if o.refused == nil {
		o.refused = func(op string) error { return refuse(op, option, "%w", err) }
	}
}

// Idempotent marks a call that may run twice without harm. It is sent again
// also if the attempt before it may have run: after a 524, a 502 that names a
// worker, a lost connection. Mark every call whose result depends on its input
// alone. GET, HEAD, OPTIONS, PUT and DELETE are idempotent by themselves (RFC
// 9110, section 9.2.2).
func Idempotent() CallOption { return repeats(true) }

// NotIdempotent marks a call that must not run twice although its method says
// that it may: a GET with an effect, a PUT that counts. It is sent again only
// if the attempt before it cannot have run. Of Idempotent and NotIdempotent the
// last one given counts.
func NotIdempotent() CallOption { return repeats(false) }

func repeats(may bool) CallOption {
	return func(o *callOptions) { o.idempotent, o.decided = may, true }
}

// Secret names values that no error and no log line of the call may show although
// the server may echo them: a password in the request's body, for instance. The
// Client's own keys need not be named.
func Secret(values ...string) CallOption {
	return func(o *callOptions) {
		for _, v := range values {
			if v != "" {
				o.secrets = append(o.secrets, v)
			}
		}
	}
}

// AnyWorker lets a request that is pinned to a worker, by a [Session] or by the
// header X-Runpod-Worker-Id (Runpod docs, worker affinity), go to any other
// worker if its own one is gone, or busy for longer than the balancer waits.
func AnyWorker() CallOption { return func(o *callOptions) { o.anyWorker = true } }

// Route names the call's route in [CallInfo], such as "/v1/items/{id}", so that
// calls whose paths have ids in them can be counted together. Without it the path
// is the route.
func Route(pattern string) CallOption { return func(o *callOptions) { o.route = pattern } }

// partOf names the job that a call is part of.
func partOf(job string) CallOption { return func(o *callOptions) { o.job = job } }

// watched has a job's watcher told how far the call is.
func watched(tell func(jobState)) CallOption { return func(o *callOptions) { o.tell = tell } }

// light makes a call one of the light requests that keep a worker: they cost it
// nothing, and must not wait behind calls that keep it busy.
func light() CallOption { return func(o *callOptions) { o.light = true } }

// elsewhere has a function asked whether another endpoint takes a call that cannot
// have run: before it is sent, and when it would be sent again, because there was
// no worker or for another reason.
func elsewhere(f func(sent, cold bool) bool) CallOption {
	return func(o *callOptions) { o.elsewhere = f }
}

// afterAnswer has a function called with the worker that gave the final answer.
func afterAnswer(f func(worker string)) CallOption {
	return func(o *callOptions) { o.afterAnswer = f }
}

// beforeSend has a function called before each attempt of a call is sent.
func beforeSend(f func()) CallOption { return func(o *callOptions) { o.beforeSend = f } }

type callOptionsKey struct{}

// WithCallOptions returns a context that carries options for the requests of
// [Client.Do] and of clients on [Client.Transport]. They replace options that
// ctx carries already.
func WithCallOptions(ctx context.Context, opts ...CallOption) context.Context {
	return context.WithValue(ctx, callOptionsKey{}, opts)
}

// callOptionsIn returns the options that a context carries.
func callOptionsIn(ctx context.Context) []CallOption {
	opts, _ := ctx.Value(callOptionsKey{}).([]CallOption)
	return opts
}

// target is where an endpoint is and the key that it is called with. It makes
// requests to it.
type target struct {
	base   *url.URL    // nil: not known
	bearer []string    // the Authorization header
	extra  http.Header // what requests have besides, unless they say otherwise
}

// newRequest builds a request with a JSON body, or none, from its parts.
func (t *target) newRequest(method, path string, body []byte) (*http.Request, error) {
	ref, err := parsePath(path)
	if err != nil {
		return nil, refuse(operationName(method, path), "path", "%w", err)
	}
	if err := checkPath(t.base, ref.Path); err != nil {
		return nil, refuse(operationName(method, path), "path", "%w", err)
	}
	if !isToken(method) {
		return nil, refuse(operationName(method, path), "method", "%q is not an HTTP method", method)
	}
	header := make(http.Header, 4+len(t.extra))
	maps.Copy(header, t.extra)
	header["Authorization"] = t.bearer
	if body != nil && header["Content-Type"] == nil {
		header["Content-Type"] = []string{"application/json"}
	}
	return &http.Request{
		Method: method, URL: t.resolve(ref), Host: t.base.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
	}, nil
}

// resolve puts a path below the endpoint's base URL.
func (t *target) resolve(ref *url.URL) *url.URL {
	u := *t.base
	u.Path = strings.TrimSuffix(t.base.Path, "/") + "/" + strings.TrimPrefix(ref.Path, "/")
	u.RawPath = ""
	if ref.RawPath != "" {
		u.RawPath = strings.TrimSuffix(t.base.EscapedPath(), "/") + "/" + strings.TrimPrefix(ref.RawPath, "/")
	}
	u.RawQuery = escapeQuery(ref.RawQuery)
	return &u
}

// adopt turns a copy of a caller's request, but for its body, into one to the
// endpoint. A caller's own Authorization stays, that of somebody else's HTTP
// client does not.
func (t *target) adopt(op string, req *http.Request, foreign bool) error {
	switch u := req.URL; {
	case u == nil:
		return refuse(op, "req.URL", "it is nil")
	case u.Host == "" && u.Scheme == "" && u.Path == "":
		return refuse(op, "req.URL", "its path is empty: want one on the endpoint, such as /api/v1/tryon, or / for its root")
	case u.Host == "" && u.Scheme == "":
		if err := checkPath(t.base, u.Path); err != nil {
			return refuse(op, "req.URL", "%w", err)
		}
		req.URL = t.resolve(u)
	case !sameOrigin(u, t.base):
		return refuse(op, "req.URL", "its host is not the endpoint's, %s://%s: the API key goes nowhere else", t.base.Scheme, t.base.Host)
	case req.Host != "" && !strings.EqualFold(req.Host, t.base.Host) && !strings.EqualFold(req.Host, req.URL.Host):
		return refuse(op, "req.Host", "it is not the endpoint's host, %s", t.base.Host)
	}
	if query := escapeQuery(req.URL.RawQuery); query != req.URL.RawQuery {
		own := *req.URL
		own.RawQuery = query
		req.URL = &own
	}
	if err := checkHead(op, req); err != nil {
		return err
	}
	req.Host = t.base.Host
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	req.Header = t.headerOf(req.Header, foreign)
	return nil
}

// headerOf returns what is sent for a request's own header, which stays as it
// is: a copy, or itself if that is what is sent. Nobody changes what it returns,
// and the values are shared.
func (t *target) headerOf(own http.Header, foreign bool) http.Header {
	auth := own["Authorization"]
	if len(t.extra) == 0 && own["Accept-Encoding"] == nil && len(auth) > 0 && (!foreign || slices.Equal(auth, t.bearer)) {
		return own // as often
	}
	h := make(http.Header, len(own)+len(t.extra)+1)
	maps.Copy(h, t.extra)
	maps.Copy(h, own)
	if accepts := strings.Join(own["Accept-Encoding"], ","); accepts != "" {
		h["Accept-Encoding"] = []string{readable(accepts)}
	}
	if len(own["Authorization"]) == 0 || foreign {
		h["Authorization"] = t.bearer
	}
	return h
}

// readable keeps of an Accept-Encoding what errors can be judged in: in br and
// zstd, a cold start's refusal could not be told from another one.
func readable(accepts string) string {
	var kept []string
	for coding := range strings.SplitSeq(accepts, ",") {
		name, _, _ := strings.Cut(coding, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip", "deflate", "identity":
			kept = append(kept, strings.TrimSpace(coding))
		}
	}
	if len(kept) == 0 {
		return "identity"
	}
	return strings.Join(kept, ", ")
}

// withoutSecrets returns a header without the fields that have a secret in them:
// the same one if none has.
func withoutSecrets(h http.Header, secrets *redact.Secrets) http.Header {
	clean := h
	for name, values := range h {
		if slices.ContainsFunc(values, secrets.In) {
			if len(clean) == len(h) {
				clean = maps.Clone(h)
			}
			delete(clean, name)
		}
	}
	return clean
}

// withHeader is a copy of a header with one field set. The copy shares the
// values, which nobody changes.
func withHeader(h http.Header, name string, values []string) http.Header {
	own := make(http.Header, len(h)+1)
	maps.Copy(own, h)
	own[name] = values
	return own
}

// checkHead refuses what net/http would refuse to send, over and over.
func checkHead(op string, req *http.Request) error {
	if req.Method != "" && !isToken(req.Method) {
		return refuse(op, "req.Method", "%q is not an HTTP method", req.Method)
	}
	for name, values := range req.Header {
		if !isToken(name) {
			return refuse(op, "req.Header", "%q is not a header's name", name)
		}
		if slices.ContainsFunc(values, hasControl) {
			return refuse(op, "req.Header", "%s has a control character in its value", name)
		}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func isIdempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2), as methods are.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(marks, r) {
			return false
		}
	}
	return s != ""
}

// escapeQuery escapes what must not stand in a request's line, spaces above all.
// What is escaped already stays as it is.
func escapeQuery(query string) string {
	if !strings.ContainsFunc(query, func(r rune) bool { return r >= 0x7f || wrongInQuery(byte(r)) }) {
		return query // as nearly always
	}
	var b strings.Builder
	for i := range len(query) {
		if wrongInQuery(query[i]) {
			fmt.Fprintf(&b, "%%%02X", query[i])
		} else {
			b.WriteByte(query[i])
		}
	}
	return b.String()
}

func wrongInQuery(b byte) bool {
	return b <= ' ' || b >= 0x7f || strings.IndexByte("\"<>\\^`{|}", b) >= 0
}

// parsePath reads a path on the endpoint, with or without a query.
func parsePath(path string) (*url.URL, error) {
	ref, err := url.Parse(path)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL path")
	case path == "" || path[0] == '?':
		return nil, errors.New("it is empty: want a path on the endpoint, such as /api/v1/tryon, or / for its root")
	case ref.Scheme != "" || ref.Host != "" || ref.User != nil || ref.Opaque != "":
		return nil, errors.New("want a path on the endpoint, such as /api/v1/tryon, not a whole URL")
	case ref.Fragment != "":
		return nil, errors.New("a fragment (#...) is never sent: escape it as %23")
	}
	return ref, nil
}

// operationName names a request in errors and logs: without its query, which
// may hold what nobody should read there.
func operationName(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	return method + " " + path
}
