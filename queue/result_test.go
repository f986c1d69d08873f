package queue

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestOutputOfAnotherType(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		job, _ := Run[[]int](t.Context(), q, Request{Input: "x"})
		if _, err := job.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "[]int") || !strings.Contains(err.Error(), `{"Hello":"x"}`) {
			t.Errorf("got %v", err)
		}
		raw, err := Open[json.RawMessage](q, job.ID).Status(t.Context())
		if err != nil || string(raw.Output) != `{"Hello":"x"}` {
			t.Errorf("%s, %v", raw.Output, err)
		}
	})
}

// While a job goes on, what its worker has reported stands where the output will
// be. It is progress, whatever type the output has.
func TestProgressBeforeOutput(t *testing.T) {
	answer := `{"id":"j","status":"IN_PROGRESS","output":"step 3 of 9"}`
	q := served(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) })
	job := Open[greeting](q, "j")
	result, err := job.Status(t.Context())
	if err != nil || string(result.Progress) != `"step 3 of 9"` || result.Output != (greeting{}) {
		t.Errorf("%+v, %v", result, err)
	}
	answer = `{"id":"j","status":"IN_QUEUE"}`
	if result, err := job.Status(t.Context()); err != nil || result.Progress != nil {
		t.Errorf("%+v, %v", result, err)
	}
	answer = `{"id":"j","status":"COMPLETED","output":{"Hello":"world"}}`
	if result, err := job.Status(t.Context()); err != nil || result.Progress != nil || result.Output.Hello != "world" {
		t.Errorf("%+v, %v", result, err)
	}
}

// A job that has completed without an output says so, unless the caller's type
// can.
func TestCompletedWithoutOutput(t *testing.T) {
	for _, body := range []string{`{"id":"j","status":"COMPLETED"}`, `{"id":"j","status":"COMPLETED","output":null}`, `{"id":"j","status":"COMPLETED","output":NaN}`} {
		q := answering(t, 200, body)
		result, err := Open[greeting](q, "j").Wait(t.Context())
		if !errors.Is(err, ErrNoOutput) || result.State != StateCompleted || problem(t, err).JobID != "j" {
			t.Errorf("a struct: %+v, %v", result, err)
		}
		if _, err := RunSync[string](t.Context(), q, Request{Input: 1}); !errors.Is(err, ErrNoOutput) {
			t.Errorf("a string: %v", err)
		}
		_, err1 := Open[any](q, "j").Status(t.Context())
		_, err2 := Open[*greeting](q, "j").Status(t.Context())
		_, err3 := Open[json.RawMessage](q, "j").Status(t.Context())
		_, err4 := Open[struct{}](q, "j").Status(t.Context())
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Errorf("types that can show it: %v", err)
		}
	}
}

// An output beside a failure is decoded if it can be, and hides no failure.
func TestOutputOfAFailedJob(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"j","status":"FAILED","error":"boom","output":{"Hello":"half"}}`: "half",
		`{"id":"j","status":"FAILED","error":"boom","output":"half"}`:           "",
		`{"id":"j","status":"FAILED","error":"boom"}`:                           "",
	} {
		job := Open[greeting](answering(t, 200, body), "j")
		result, err := job.Wait(t.Context())
		if !errors.Is(err, ErrFailed) || result.Output.Hello != want || result.Failure.Message != "boom" {
			t.Errorf("%s: %+v, %v", body, result, err)
		}
		if result, err := job.Status(t.Context()); err != nil || result.Output.Hello != want {
			t.Errorf("%s: %+v, %v", body, result, err)
		}
	}
}
