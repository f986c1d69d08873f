package queue

import (
	"encoding/json"
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
