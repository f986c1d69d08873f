package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// A service that echoes what it was sent puts no secret into an error.
func TestErrorsShowNoSecret(t *testing.T) {
	log := new(logs)
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Times: runpodtest.Always, Do: runpodtest.Answer(400, "bad: hush-hush "+srv.APIKey)})
		r := Request{Input: 1, S3: &S3{AccessID: "i", AccessSecret: "hush-hush"}}
		_, err1 := Run[any](t.Context(), q, r)
		_, err2 := RunSync[any](t.Context(), q, r)
		_, err3 := NewBatch[any](t.Context(), q, r)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !errors.Is(err, runpod.ErrBadRequest) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), srv.APIKey) {
				t.Errorf("got %v", err)
			}
		}
		_, err := Open[any](q, "j").Status(t.Context())
		if text := log.String() + fmt.Sprint(err); strings.Contains(text, srv.APIKey) || strings.Contains(text, "hush") || !strings.Contains(text, "[redacted]") {
			t.Errorf("shown: %s", text)
		}
	}, runpod.WithLogger(log.logger()))
}

// A worker that reports its settings puts no secret into a Failure, nor into the
// error about an answer that is no report.
func TestFailuresShowNoSecret(t *testing.T) {
	r := Request{Input: 1, S3: &S3{AccessID: "i", AccessSecret: "hush-hush"}}
	for _, body := range []string{
		`{"id":"j","status":"FAILED","error":"cannot log in with hush-hush"}`,
		`{"id":"j","status":"FAILED","error":{"error_type":"hush-hush","error_message":"hush-hush","error_traceback":"hush-hush"}}`,
		`{"error":"hush-hush"}`, `hush-hush`, `{"id":"j","status":"COMPLETED","output":"hush-hush"}`,
	} {
		q := answering(t, 200, body)
		result, err := RunSync[int](t.Context(), q, r)
		if text := fmt.Sprintf("%v %+v %+v", err, result, result.Failure); err == nil || strings.Contains(text, "hush") {
			t.Errorf("%s: %s", body, text)
		}
		failure, ok := errors.AsType[*Failure](err)
		if ok && strings.Contains(failure.Traceback+failure.Type+failure.Message, "hush") {
			t.Errorf("%s: %+v", body, failure)
		}
	}
	q := answering(t, 200, `{"id":"j","status":"COMPLETED","output":"hush-hush"}`)
	if result, err := RunSync[string](t.Context(), q, r); err != nil || result.Output != "hush-hush" {
		t.Errorf("an output is the caller's, and stays as it is: %+v, %v", result, err)
	}
	s := newSecrets(nil)
	for i := range 10 * maxSecrets {
		s.add(Request{S3: &S3{AccessSecret: fmt.Sprint("secret ", i)}}, r, r)
	}
	if n := len(s.list()); n != maxSecrets {
		t.Errorf("%d are remembered", n)
	}
}
