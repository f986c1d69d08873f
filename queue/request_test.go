package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		big := strings.Repeat("x", maxRun)
		for field, r := range map[string]Request{
			"Request.Input":            {},
			"Request.Webhook":          {Input: 1, Webhook: "example.org"},
			"Request.ExecutionTimeout": {Input: 1, ExecutionTimeout: 5 * time.Second},
			"Request.TTL":              {Input: 1, TTL: time.Second},
			"Request.Wait":             {Input: 1, Wait: 6 * time.Minute},
		} {
			_, err := Run[greeting](t.Context(), q, r)
			if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != field || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := Run[greeting](t.Context(), q, Request{Input: big}); !errors.Is(err, runpod.ErrTooLarge) {
			t.Errorf("10 MB and more: %v", err)
		}
		if _, err := Open[greeting](q, "").Status(t.Context()); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("no id: %v", err)
		}
		if calls, _ := srv.JobCalls(); len(calls) != 0 {
			t.Errorf("sent: %v", calls)
		}
		if _, err := RunSync[greeting](t.Context(), q, Request{Input: big}); err != nil {
			t.Errorf("10 MB for RunSync: %v", err)
		}
	})
}

// Inputs that JSON has not, or that would arrive as something else, are refused
// by name; what is encoded already goes as it is.
func TestInputs(t *testing.T) {
	var none *greeting
	for _, tt := range []struct {
		in         any
		sent, says string
	}{
		{map[string]any{"seed": 1}, `{"input":{"seed":1}}`, ""},
		{json.RawMessage(`{"seed":1}`), `{"input":{"seed":1}}`, ""},
		{[]byte(`{"seed":1}`), `{"input":{"seed":1}}`, ""},
		{struct{}{}, `{"input":{}}`, ""},
		{math.NaN(), "", "NaN"},
		{map[string]any{"x": math.Inf(1)}, "", "+Inf"},
		{make(chan int), "", "chan int"},
		{strings.NewReader("{}"), "", "*strings.Reader"},
		{bytes.NewBufferString("{}"), "", "*bytes.Buffer"},
		{[]byte("{seed}"), "", "not JSON"},
		{json.RawMessage(nil), "", "not JSON"},
		{nil, "", "nil"},
		{none, "", "nil"},
		{[]byte("null"), "", "nil"},
	} {
		r := Request{Input: tt.in}
		data, err := r.encode("POST /run", maxRun)
		if tt.says == "" {
			if err != nil || string(data) != tt.sent {
				t.Errorf("%T: %s, %v", tt.in, data, err)
			}
			continue
		}
		if e := problem(t, err); e.Field != "Request.Input" || !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%T: %v", tt.in, err)
		}
	}
}

// One set of limits: the service's own words are "10MiB".
func TestLimitsOfSize(t *testing.T) {
	var got int64
	q := served(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"id":"j","status":"COMPLETED","output":1}`)
	})
	of := func(size int) Request { // whose JSON has so many bytes
		return Request{Input: strings.Repeat("x", size-len(`{"input":""}`))}
	}
	run := func(r Request) error { _, err := Run[any](t.Context(), q, r); return err }
	sync := func(r Request) error { _, err := RunSync[any](t.Context(), q, r); return err }
	batch := func(r Request) error { _, err := NewBatch[any](t.Context(), q, r); return err }
	for _, tt := range []struct {
		name string
		size int
		send func(Request) error
		ok   bool
	}{
		{"10.2 MB by /run", 10_200_000, run, true},
		{"10 MiB by /run", 10 << 20, run, true},
		{"more than that by /run", 10<<20 + 1, run, false},
		{"20 MiB by /runsync", 20 << 20, sync, true},
		{"more than that by /runsync", 20<<20 + 1, sync, false},
		{"10 MiB in a batch, which has a bracket around it", 10 << 20, batch, false},
	} {
		got = 0
		err := tt.send(of(tt.size))
		if tt.ok && (err != nil || got < int64(tt.size)) {
			t.Errorf("%s: %d bytes arrived, %v", tt.name, got, err)
		}
		if !tt.ok && (!errors.Is(err, runpod.ErrTooLarge) || got > 0) {
			t.Errorf("%s: %d bytes arrived, %v", tt.name, got, err)
		}
	}
}
