package queue

import (
	"errors"
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
		if strings.Contains(log.String(), srv.APIKey) {
			t.Error("the log shows the key")
		}
	}, runpod.WithLogger(log.logger()))
}
