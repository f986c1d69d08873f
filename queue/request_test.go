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
	if maxRun != 10<<20 || maxRunSync != 20<<20 || maxBatchBody != 10<<20 {
		t.Errorf("%d, %d and %d", maxRun, maxRunSync, maxBatchBody)
	}
	of := func(size int) Request { // whose JSON has so many bytes
		return Request{Input: strings.Repeat("x", size-len(`{"input":""}`))}
	}
	for size, fits := range map[int]bool{999: true, 1000: true, 1001: false} {
		r := of(size)
		data, err := r.encode("POST /run", 1000)
		if fits && (err != nil || len(data) != size) || !fits && (!errors.Is(err, runpod.ErrTooLarge) || problem(t, err).Field != "Request.Input") {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
	var got int64
	q := served(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"id":"j","status":"IN_QUEUE"}`)
	})
	if _, err := Run[any](t.Context(), q, of(10_200_000)); err != nil || got != 10_200_000 {
		t.Errorf("10.2 MB by /run: %d bytes arrived, %v", got, err)
	}
}

// Times are refused before they are sent where the service would refuse them.
func TestBoundsOfTimes(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		r     Request
		field string
	}{
		{Request{TTL: 10 * time.Second}, ""}, {Request{TTL: week}, ""},
		{Request{TTL: 10*time.Second - 1}, "Request.TTL"}, {Request{TTL: week + 1}, "Request.TTL"}, {Request{TTL: -1}, "Request.TTL"},
		{Request{ExecutionTimeout: 5001 * time.Millisecond}, ""},
		{Request{ExecutionTimeout: 5*time.Second + 1}, "Request.ExecutionTimeout"}, {Request{ExecutionTimeout: -1}, "Request.ExecutionTimeout"},
		{Request{Wait: time.Second}, ""}, {Request{Wait: 5 * time.Minute}, ""},
		{Request{Wait: time.Second - 1}, "Request.Wait"}, {Request{Wait: 5*time.Minute + 1}, "Request.Wait"}, {Request{Wait: -1}, "Request.Wait"},
		{Request{Webhook: "https://example.org/hook"}, ""},
		{Request{Webhook: "ftp://example.org"}, "Request.Webhook"}, {Request{Webhook: "https://"}, "Request.Webhook"}, {Request{Webhook: "://"}, "Request.Webhook"},
	} {
		tt.r.Input = 1
		_, err := tt.r.encode("POST /run", maxRun)
		if e, _ := errors.AsType[*runpod.Error](err); (e != nil) != (tt.field != "") || e != nil && e.Field != tt.field {
			t.Errorf("%+v: %v", tt.r, err)
		}
	}
}
