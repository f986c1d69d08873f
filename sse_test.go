package runpod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// eventsFrom is an answer with these events.
func eventsFrom(body io.Reader) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, Body: io.NopCloser(body)}
}

func collect(resp *http.Response) (events []Event, err error) {
	for event, e := range Events(resp) {
		if e != nil {
			return events, e
		}
		events = append(events, event)
	}
	return events, nil
}

// The rules of the WHATWG specification, section 9.2.6, and its examples.
func TestStreamOfEvents(t *testing.T) {
	message := func(data string) Event { return Event{Type: "message", Data: data} }
	for _, tt := range []struct {
		name, in string
		want     []Event
		broken   bool
	}{
		{name: "empty", in: ""},
		{name: "one", in: "data: x\n\n", want: []Event{message("x")}},
		{name: "several lines", in: "data: YHOO\ndata: +2\ndata: 10\n\n", want: []Event{message("YHOO\n+2\n10")}},
		{name: "comments, ids, no space", in: ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
			want: []Event{{Type: "message", Data: "first event", ID: "1"}, message("second event"), message(" third event")}},
		{name: "empty data", in: "data\n\ndata\ndata\n\n", want: []Event{message(""), message("\n")}},
		{name: "space after the colon", in: "data:test\n\ndata: test\n\n", want: []Event{message("test"), message("test")}},
		{name: "CR LF", in: "event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", want: []Event{{Type: "a", Data: "1"}, message("2")}},
		{name: "CR", in: "data: 1\rdata: 2\r\rdata: 3\r\r", want: []Event{message("1\n2"), message("3")}},
		{name: "mixed ends", in: "data: 1\r\ndata: 2\rdata: 3\n\r\n", want: []Event{message("1\n2\n3")}},
		{name: "byte order mark", in: "\ufeffdata: 1\n\n\ufeffdata: 2\n\n", want: []Event{message("1")}},
		{name: "unknown fields", in: "data: 1\nfoo: bar\ndatum: 2\n\n", want: []Event{message("1")}},
		{name: "no data is no event", in: "event: ping\n\ndata: 1\n\n", want: []Event{message("1")}},
		{name: "id stays, type does not", in: "id: 7\nevent: a\ndata: 1\n\ndata: 2\n\n", want: []Event{{Type: "a", Data: "1", ID: "7"}, {Type: "message", Data: "2", ID: "7"}}},
		{name: "id with NUL is ignored", in: "id: 7\nid: 8\x00\ndata: 1\n\n", want: []Event{{Type: "message", Data: "1", ID: "7"}}},
		{name: "retry", in: "retry: 2500\ndata: 1\n\nretry: soon\ndata: 2\n\nretry: -1\ndata: 3\n\n",
			want: []Event{{"message", "1", "", 2500 * time.Millisecond}, {"message", "2", "", 2500 * time.Millisecond}, {"message", "3", "", 2500 * time.Millisecond}}},
		{name: "comment at the end", in: "data: 1\n\n: bye\n", want: []Event{message("1")}},
		{name: "ends before the empty line", in: "data: 1\n\ndata: 2\n", want: []Event{message("1")}, broken: true},
		{name: "ends within a line", in: "data: 1\n\ndata: 2", want: []Event{message("1")}, broken: true},
		{name: "ends within a field's name", in: "data: 1\n\nda", want: []Event{message("1")}, broken: true},
		{name: "ends within an event without data", in: "data: 1\n\nevent: done\n", want: []Event{message("1")}},
		{name: "a comment at the end, without its line's", in: "data: 1\n\n: bye", want: []Event{message("1")}},
		{name: "an id at the end", in: "data: 1\n\nid: 7\n", want: []Event{message("1")}},
		{name: "an id at the end, without its line's", in: "data: 1\n\nid: 7", want: []Event{message("1")}},
		{name: "a time to wait at the end", in: "data: 1\n\nretry: 3000", want: []Event{message("1")}},
		{name: "ends within a line of data after whole ones", in: "data: 1\ndata: 2", broken: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, body := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := collect(eventsFrom(body))
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				if errors.Is(err, io.ErrUnexpectedEOF) != tt.broken || (err != nil) != tt.broken {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

// However a stream is cut into pieces, its events are the same.
func FuzzStreamOfEvents(f *testing.F) {
	f.Add([]byte("\ufeffid: 1\r\nevent: a\rdata: x\n\ndata"))
	f.Add([]byte(": c\n\r\r\ndata\ndata:\x00\r\n\r"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err1 := collect(eventsFrom(bytes.NewReader(in)))
		pieces, err2 := collect(eventsFrom(iotest.OneByteReader(bytes.NewReader(in))))
		if fmt.Sprint(whole) != fmt.Sprint(pieces) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%q: %q (%v) in one piece, %q (%v) in many", in, whole, err1, pieces, err2)
		}
	})
}

func TestStreamRefusesWhatIsNone(t *testing.T) {
	closed := &trackedBody{Reader: strings.NewReader(`{"error":"no workers available"}`)}
	_, err := collect(&http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: closed})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != 400 || !strings.Contains(err.Error(), "no workers available") || !strings.Contains(err.Error(), "not a stream") {
		t.Errorf("got %v", err)
	}
	if !closed.closed.Load() {
		t.Error("the body was not closed")
	}
	if events, err := collect(&http.Response{StatusCode: 204, Body: http.NoBody}); len(events) != 0 || err != nil {
		t.Errorf("no content: %v, %v", events, err)
	}
}

// An event without end costs a bounded amount of memory, then is an error.
func TestStreamLimitsAnEvent(t *testing.T) {
	endless := func(prefix, rest string) io.Reader {
		return io.MultiReader(strings.NewReader(prefix), &repeat{text: rest})
	}
	for name, body := range map[string]io.Reader{
		"one line": endless("data: ", strings.Repeat("x", 4096)), "many lines": endless("", strings.Repeat("data: x\n", 512)),
	} {
		var end error
		for _, err := range readEvents(eventsFrom(body), 1<<20) {
			end = err
		}
		if !errors.Is(end, ErrTooLarge) {
			t.Errorf("%s: %v", name, end)
		}
	}
}

// repeat gives its text again and again.
type repeat struct{ text string }

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.text), nil }

func TestStreamClosesItsBody(t *testing.T) {
	body := &trackedBody{Reader: strings.NewReader("data: 1\n\ndata: 2\n\n")}
	resp := eventsFrom(body)
	resp.Body = body
	for range Events(resp) {
		break
	}
	if !body.closed.Load() {
		t.Error("breaking out of the loop left the body open")
	}
}

// A stream from a worker, over the Client: through a cold start, event by
// event, and then broken in different ways.
func TestStreamFromAWorker(t *testing.T) {
	cfg := program(runpodtest.Config{ColdStart: runpodtest.Fixed(150 * time.Second)}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 4 {
			fmt.Fprintf(w, "id: %d\ndata: token %d\n\n", i, i)
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
		}
	})
	for _, tt := range []struct {
		name string
		do   runpodtest.Action
		want int
		is   error
	}{
		{name: "whole", want: 4},
		{name: "ended in good order within an event", do: runpodtest.TruncateReply(30), want: 1, is: io.ErrUnexpectedEOF},
		{name: "reset", do: runpodtest.ResetReply(45), want: 2, is: syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
				if tt.is != nil {
					srv.Fault(runpodtest.Fault{Skip: 1, Do: tt.do}) // the first attempt is refused
				}
				resp, err := c.HTTPClient().Post(srv.EndpointURL+"/v1/chat", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				var last time.Time
				n := 0
				for event, err := range Events(resp) {
					if err != nil {
						e, ok := errors.AsType[*Error](err)
						if tt.is == nil || !errors.Is(err, tt.is) || !ok || e.WorkerID == "" || !strings.Contains(err.Error(), "broke off") {
							t.Errorf("ended with %v", err)
						}
						tt.is = nil
						continue
					}
					if want := fmt.Sprint("token ", n); event.Data != want || event.ID != fmt.Sprint(n) {
						t.Errorf("got %+v", event)
					}
					if now := time.Now(); n > 0 && now.Sub(last) != time.Second {
						t.Errorf("event %d came %v after the one before", n, now.Sub(last))
					}
					last = time.Now()
					n++
				}
				if n != tt.want || tt.is != nil {
					t.Errorf("%d events, want %d; error still wanted: %v", n, tt.want, tt.is)
				}
			})
		})
	}
}

// The caller's context ends a stream that stands still, and Close does.
func TestStreamEndsWithItsContext(t *testing.T) {
	cfg := program(runpodtest.Config{MinWorkers: 1}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		resp, err := c.HTTPClient().Get(srv.EndpointURL + "/x")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { c.Close() })
		if events, err := collect(resp); len(events) != 1 || !errors.Is(err, ErrClosed) {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

// A reader that takes its time holds the worker back: what the worker has
// written ahead does not pile up here.
func TestStreamHasBackpressure(t *testing.T) {
	const chunk, chunks = 64 << 10, 400 // 25 MB
	cfg := program(runpodtest.Config{MinWorkers: 1}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		line := "data: " + strings.Repeat("x", chunk) + "\n\n"
		for range chunks {
			io.WriteString(w, line)
		}
	})
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		resp, err := c.HTTPClient().Get(srv.EndpointURL + "/x")
		if err != nil {
			t.Fatal(err)
		}
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before, n := heap(), 0
		for _, err := range Events(resp) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 10 {
				time.Sleep(time.Minute)
				if more := heap() - before; more > 4<<20 {
					t.Errorf("a slow reader of 25 MB costs %d bytes of memory", more)
				}
			}
		}
		if n != chunks {
			t.Errorf("%d of %d events", n, chunks)
		}
	})
}

// A stream whose end says that it is all there lacks nothing but an empty line.
// One that is cut off has an incomplete event.
func TestStreamOneEmptyLineShort(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		chunked  bool
		want     int
		broken   bool
	}{
		{"in chunks", "data: 1\n\ndata: 2\n", true, 2, false},
		{"with a length", "data: 1\n\ndata: 2\n", false, 2, false},
		{"cut within a line", "data: 1\n\ndata: 2", true, 1, true},
		{"complete", "data: 1\n\ndata: 2\n\n", true, 2, false},
	} {
		withServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			if !tt.chunked {
				w.Header().Set("Content-Length", fmt.Sprint(len(tt.in)))
			}
			io.WriteString(w, tt.in[:5])
			http.NewResponseController(w).Flush()
			io.WriteString(w, tt.in[5:])
		}, func(t *testing.T, c *Client) {
			resp, err := c.HTTPClient().Get("/x")
			if err != nil {
				t.Fatal(err)
			}
			if events, err := collect(resp); len(events) != tt.want || errors.Is(err, io.ErrUnexpectedEOF) != tt.broken || (err != nil) != tt.broken {
				t.Errorf("%s: %v, %v", tt.name, events, err)
			}
		})
	}
}

// Events under a type that does not say so are read; anything else is refused
// with the way to read it.
func TestStreamWithoutItsType(t *testing.T) {
	for _, kind := range []string{"", "text/plain", "text/plain; charset=utf-8"} {
		for in, events := range map[string]bool{
			"data: 1\n\n": true, "event: a\ndata: 1\n\n": true, ": hello\n\ndata: 1\n\n": true, "\ufeffid: 1\ndata: 1\n\n": true, "retry: 1\ndata:1\n\n": true,
			"dat": false, "": false, "hello": false, `{"data": 1}`: false, "evening": false, "\ufeffhello": false,
		} {
			resp := eventsFrom(iotest.OneByteReader(strings.NewReader(in)))
			resp.Header = http.Header{}
			if kind != "" {
				resp.Header.Set("Content-Type", kind)
			}
			got, err := collect(resp)
			if events && (err != nil || len(got) != 1) || !events && (err == nil || !strings.Contains(err.Error(), "set the answer's Content-Type")) {
				t.Errorf("%q, %q: %v, %v", kind, in, got, err)
			}
		}
	}
}
