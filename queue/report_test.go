package queue

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Fields come as workers in many languages write them. What nobody asks for
// fails no report.
func TestReportFieldsAsTheyCome(t *testing.T) {
	for in, want := range map[string]report{
		`{"id":"j","status":"COMPLETED","delayTime":10,"executionTime":1.5,"retries":2,"workerId":"w"}`: {ID: "j", State: "COMPLETED", Delay: 10, Took: 1.5, Retries: 2, WorkerID: "w"},
		`{"status":"IN_QUEUE","delayTime":"10","retries":"2"}`:                                          {State: "IN_QUEUE", Delay: 10, Retries: 2},
		`{"status":"IN_QUEUE","delayTime":NaN,"executionTime":-Infinity}`:                               {State: "IN_QUEUE"},
		`{"status":"IN_QUEUE","delayTime":"soon","executionTime":{},"retries":[1],"workerId":null}`:     {State: "IN_QUEUE"},
		`{"status":"IN_QUEUE","delayTime":-5,"retries":1e400}`:                                          {State: "IN_QUEUE"},
		`{"status":"IN_QUEUE","delayTime":1e300}`:                                                       {State: "IN_QUEUE", Delay: 1e15},
		`{"status":"IN_QUEUE","id":7,"workerId":12}`:                                                    {ID: "7", State: "IN_QUEUE", WorkerID: "12"},
		`{"status":"IN_QUEUE","id":null,"workerId":{"name":"w"}}`:                                       {State: "IN_QUEUE"},
		"\ufeff" + `{"status":"IN_QUEUE","id":"j"}`:                                                     {ID: "j", State: "IN_QUEUE"},
		` {"status":"IN_QUEUE"} `:                                                                       {State: "IN_QUEUE"},
		`{"status":"PAUSED"}`:                                                                           {State: "PAUSED"},
	} {
		var got report
		if err := got.read(&call{path: "/status/j"}, []byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if got.ID != want.ID || got.State != want.State || got.Delay != want.Delay || got.Took != want.Took || got.Retries != want.Retries || got.WorkerID != want.WorkerID {
			t.Errorf("%s: %+v", in, got)
		}
	}
	if d := number(1e15).milliseconds(); d < 0 || d > 200*365*24*time.Hour {
		t.Errorf("a time beyond all bounds is %v", d)
	}
}

// What counts as a report, for which call.
func TestWhatCountsAsAReport(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		ok         bool
		says       string
	}{
		{"/status/j", `{"status":"IN_QUEUE"}`, true, ""},
		{"/status/j", `{"id":"j"}`, false, ""},
		{"/status/j", `{}`, false, ""},
		{"/status/j", ``, false, ""},
		{"/status/j", `null`, false, ""},
		{"/status/j", `[]`, false, ""},
		{"/status/j", `[{"output":1}]`, false, ""},
		{"/status/j", page, false, ""},
		{"/status/j", `{"status":200}`, false, ""},
		{"/status/j", `{"status":"error","error":"no GPU"}`, false, "no GPU"},
		{"/status/j", `{"status":"ok"}`, false, ""},
		{"/status/j", `{"status":"FAILED"`, false, ""},
		{"/run", `{"id":"j"}`, true, ""},
		{"/run", `{"error":"insufficient funds"}`, false, "insufficient funds"},
		{"/run", `{"status":"IN_QUEUE"}`, true, ""},
		{"/runsync?wait=1000", `{"id":"j"}`, true, ""},
		{"/runsync", `{"error":{"message":"no GPU"}}`, false, "no GPU"},
		{"/stream/j", `[]`, true, ""},
		{"/stream/j", `{"stream":[]}`, true, ""},
		{"/stream/j", `{"id":"j"}`, false, ""},
		{"/stream/j", page, false, ""},
	} {
		var r report
		err := r.read(&call{path: tt.path}, []byte(tt.body))
		if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %s: %v", tt.path, tt.body, err)
		}
	}
}

// FuzzReport: whatever comes, reading it ends with a report or an error, and
// times and counts are within bounds.
func FuzzReport(f *testing.F) {
	for _, seed := range []string{
		`{"id":"j","status":"COMPLETED","delayTime":"10","output":{"a":NaN},"error":"","retries":1}`,
		`{"status":"FAILED","error":"{\"error_type\":\"E\",\"error_message\":\"m\"}"}`, `[{"output":1}]`, "\ufeff{}", page, `{"delayTime":1e999}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/run", "/status/j", "/stream/j"} {
			c := call{path: path, id: "j"}
			var r report
			if r.read(&c, []byte(body)) != nil {
				continue
			}
			result, _ := ending[json.RawMessage](&c, &r)
			if result.Delay < 0 || result.Execution < 0 || result.Retries < 0 || result.State.Final() && result.Progress != nil {
				t.Errorf("%+v", result)
			}
		}
	})
}
