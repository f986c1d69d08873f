package runpod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEvent is the most that one event may have. No answer of the service is
// larger (Runpod docs: 30 MB).
const maxEvent = maxBody

// Event is one server-sent event (WHATWG HTML, section 9.2).
type Event struct {
	Type  string        // "message" if the stream names none
	Data  string        // its lines, joined by line feeds
	ID    string        // the last id in the stream so far; "" if there was none
	Retry time.Duration // how long the stream asks a client to wait before it reconnects; 0 if it does not ask
}

// Events reads an answer's server-sent events as they arrive, one at a time: a
// slow loop slows the stream down and fills no memory. The answer may come from
// [Client.Do], from a client on [Client.Transport], or from elsewhere. The loop
// closes its body, however it ends, so an answer can be ranged over once.
//
// If there is an error, the last round has it and no event. It is an *Error if
// the answer is not an event stream, if the stream breaks off, or if an event is
// larger than 30 MB ([ErrTooLarge]). A stream that ends inside an event also
// matches [io.ErrUnexpectedEOF], and that event is left out; but if the answer's
// length or its last chunk says that it is all there, a missing empty line at its
// end is forgiven. An answer without a type, or of text/plain, is read if it
// begins like a stream of events. The request is not
// sent again, because events have been handed over: send it again yourself, with
// Event.ID if the worker supports that.
func Events(resp *http.Response) iter.Seq2[Event, error] { return readEvents(resp, maxEvent) }

func readEvents(resp *http.Response, limit int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if resp == nil || resp.Body == nil {
			yield(Event{}, refuse("read events", "resp", "it is nil, or has no body"))
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusNoContent {
			return
		}
		s := &eventStream{r: bufio.NewReader(resp.Body), limit: limit, complete: endsComplete(resp)}
		if err := checkEventStream(resp, s.r); err != nil {
			yield(Event{}, err)
			return
		}
		for {
			event, err := s.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Event{}, streamBroke(resp, s.count, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// endsComplete reports whether the end of an answer's body says that it is all
// there. One that ends with its connection may have been cut off.
func endsComplete(resp *http.Response) bool {
	return resp.ContentLength > 0 || slices.Contains(resp.TransferEncoding, "chunked")
}

// checkEventStream refuses answers that are something else: most often an
// error in JSON. If the type says nothing, what is in the body decides.
func checkEventStream(resp *http.Response, r *bufio.Reader) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode/100 != 2:
	case kind == "text/event-stream", (kind == "" || kind == "text/plain") && beginsWithField(r):
		return nil
	}
	body := peekBody(contextOf(resp), struct {
		io.Reader
		io.Closer
	}{r, resp.Body}, peekTime)
	defer body.Close()
	head := body.beginning(resp.Header.Get("Content-Encoding"))
	e := responseError(resp)
	e.Body = head
	if body, ok := resp.Body.(*attemptBody); ok {
		e.Body = body.a.ep.secrets.Head(head, peekLimit)
	}
	e.Err = fmt.Errorf("not a stream of events: content type %q", kind)
	if resp.StatusCode/100 == 2 {
		e.Advice = "read the body itself; if it has events, set the answer's Content-Type to text/event-stream"
	}
	return e
}

// beginsWithField reports whether a stream begins as one of events does.
func beginsWithField(r *bufio.Reader) bool {
	for n := 1; ; n++ {
		begins, err := r.Peek(n)
		begins = bytes.TrimPrefix(begins, []byte("\ufeff"))
		may := false
		for _, field := range []string{"data:", "event:", "id:", "retry:", ":"} {
			switch {
			case bytes.HasPrefix(begins, []byte(field)):
				return true
			case strings.HasPrefix(field, string(begins)), strings.HasPrefix("\ufeff", string(begins)):
				may = true
			}
		}
		if err != nil || !may {
			return false
		}
	}
}

// streamBroke is the error of a stream that ended early.
func streamBroke(resp *http.Response, count int, err error) error {
	if e, ok := errors.AsType[*Error](err); ok { // the Client's own body has said so
		return e
	}
	e := responseError(resp)
	e.MayHaveRun = true
	e.Err = fmt.Errorf("the stream broke off after %s: %w", plural(count, "event"), err)
	return e
}

// contextOf is the context of the request behind an answer.
func contextOf(resp *http.Response) context.Context {
	if resp.Request == nil {
		return context.Background()
	}
	return resp.Request.Context()
}

func responseError(resp *http.Response) *Error {
	e := &Error{Op: "read events", Status: resp.StatusCode, WorkerID: workerOf(resp, nil)}
	if req := resp.Request; req != nil && req.URL != nil {
		e.Op = operationName(req.Method, req.URL.Path)
	}
	return e
}

// eventStream reads events from a stream of bytes. Lines end with CR LF, LF or
// CR; a line that ends with CR is there at once, not when the next byte is.
type eventStream struct {
	r        *bufio.Reader
	limit    int    // of an event, in bytes
	complete bool   // the stream's end says that it is all there
	line     []byte // the current one, its memory reused
	afterCR  bool   // a line feed that comes next belongs to the line before
	lines    int
	count    int // events given

	event Event
	data  []byte
}

// next reads up to the end of the next event. At the stream's own end the error
// is io.EOF.
func (s *eventStream) next() (Event, error) {
	for {
		if err := s.readLine(); err != nil {
			if err == io.EOF {
				return s.end()
			}
			return Event{}, err
		}
		if len(s.line) > 0 {
			s.field()
			continue
		}
		if event, ok := s.dispatch(); ok {
			s.count++
			return event, nil
		}
	}
}

// end is the end of the stream. Without data that waits for its empty line it is
// a clean one: comments, ids and the like are no event. With data, the stream
// broke off, unless it says that it is all there and lacks the empty line alone.
func (s *eventStream) end() (Event, error) {
	const field = "data"
	name, _, _ := bytes.Cut(s.line, []byte(":"))
	cut := len(name) > 0 && strings.HasPrefix(field, string(name)) // in a line of data
	switch {
	case cut, len(s.data) > 0 && !s.complete:
		return Event{}, io.ErrUnexpectedEOF
	case len(s.data) == 0:
		return Event{}, io.EOF
	}
	event, _ := s.dispatch()
	s.count++
	return event, nil
}

// readLine reads a line, without its end.
func (s *eventStream) readLine() error {
	s.line = s.line[:0]
	for {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		buf, _ := s.r.Peek(s.r.Buffered())
		if s.afterCR && buf[0] == '\n' {
			s.r.Discard(1)
			buf = buf[1:]
		}
		s.afterCR = false
		end := bytes.IndexAny(buf, "\r\n")
		if end < 0 {
			end = len(buf)
		}
		if len(s.line)+len(s.data)+end > s.limit {
			return fmt.Errorf("an event has over %d bytes: %w", s.limit, ErrTooLarge)
		}
		s.line = append(s.line, buf[:end]...)
		if end < len(buf) {
			s.afterCR = buf[end] == '\r'
			s.r.Discard(end + 1)
			break
		}
		s.r.Discard(end)
	}
	if s.lines++; s.lines == 1 {
		s.line = bytes.TrimPrefix(s.line, []byte("\ufeff"))
	}
	return nil
}

// field takes a line in. Unknown fields and comments mean nothing.
func (s *eventStream) field() {
	name, value, _ := bytes.Cut(s.line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		s.data = append(append(s.data, value...), '\n')
	case "event":
		s.event.Type = string(value)
	case "id":
		if !bytes.Contains(value, []byte{0}) {
			s.event.ID = string(value)
		}
	case "retry":
		digits := strings.Trim(string(value), "0123456789") == ""
		if ms, err := strconv.ParseInt(string(value), 10, 32); err == nil && digits {
			s.event.Retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// dispatch ends an event at an empty line. One without data is none.
func (s *eventStream) dispatch() (Event, bool) {
	event, whole := s.event, len(s.data) > 0
	if whole {
		event.Data = string(s.data[:len(s.data)-1])
	}
	if event.Type == "" {
		event.Type = "message"
	}
	s.event.Type, s.data = "", s.data[:0]
	return event, whole
}
