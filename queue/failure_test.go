package queue

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestFailureForms(t *testing.T) {
	for in, want := range map[string]Failure{
		`"out of memory"`: {Message: "out of memory"},
		`"{\"error_type\":\"<class 'ValueError'>\",\"error_message\":\"bad seed\",\"error_traceback\":\"line 1\"}"`: {"<class 'ValueError'>", "bad seed", "line 1"},
		`{"error_type":"E","error_message":"m"}`: {Type: "E", Message: "m"},
		`"{not json"`:                            {Message: "{not json"},
		`{"other":1}`:                            {Message: `{"other":1}`},
		`42`:                                     {Message: "42"},
	} {
		var report report
		if err := json.Unmarshal([]byte(`{"error":`+in+`}`), &report); err != nil || *report.Failure != want {
			t.Errorf("%s: %+v, %v", in, report.Failure, err)
		}
	}
}

// An "error" that says nothing is no failure.
func TestEmptyErrorIsNoFailure(t *testing.T) {
	for _, in := range []string{`""`, `null`, `{}`, `[]`, `false`, `"null"`} {
		q := answering(t, 200, `{"id":"j","status":"COMPLETED","output":{"Hello":"world"},"error":`+in+`}`)
		if result, err := Open[greeting](q, "j").Wait(t.Context()); err != nil || result.Failure != nil {
			t.Errorf("%s: %+v, %v", in, result, err)
		}
		q = answering(t, 200, `{"id":"j","status":"FAILED","error":`+in+`}`)
		_, err := Open[greeting](q, "j").Wait(t.Context())
		if _, ok := errors.AsType[*Failure](err); ok || !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// A worker's report is a stranger's text: an error shows a line of it, and the
// Failure has all.
func TestFailureTextIsShownOnOneLine(t *testing.T) {
	long := "line 1\nline 2\x1b[31m" + strings.Repeat("x", 1<<20)
	body, _ := json.Marshal(map[string]any{"id": "j", "status": "FAILED", "error": long})
	_, err := Open[any](answering(t, 200, string(body)), "j").Wait(t.Context())
	failure, ok := errors.AsType[*Failure](err)
	if !ok || failure.Message != long {
		t.Error("the Failure has lost some of it")
	}
	if text := err.Error(); len(text) > 2<<10 || strings.ContainsAny(text, "\n\x1b") {
		t.Errorf("%d bytes: %.200q", len(text), text)
	}
}
