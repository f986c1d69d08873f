package queue

import (
	"context"
	"errors"
	"testing"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestStats(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/run", Times: 1, Do: runpodtest.Answer(502, "")})
		job := runJob(t, q, "fail")
		job.Wait(t.Context(), LongPoll())
		Open[greeting](q, "nobody").Status(t.Context())
		s := q.Stats()
		if s.Calls != 4 || s.CallsFailed != 1 || s.Attempts != 5 || s.Troubles != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Without a Client, or with a zero value, every call is an error that says so.
func TestZeroValues(t *testing.T) {
	var job Handle[any]
	var batch Batch[any]
	for _, q := range []*Client{nil, new(Client)} {
		_, err1 := Run[any](t.Context(), q, Request{Input: 1})
		_, err2 := RunSync[any](t.Context(), q, Request{Input: 1})
		_, err3 := q.Health(t.Context())
		_, err4 := q.PurgeQueue(t.Context())
		_, err5 := NewBatch[any](t.Context(), q, Request{Input: 1})
		_, err6 := Open[any](q, "j").Wait(t.Context(), LongPoll())
		errs := []error{err1, err2, err3, err4, err5, err6}
		for _, err := range Stream[any](t.Context(), q, "j") {
			errs = append(errs, err)
		}
		for _, j := range []*Handle[any]{nil, &job, Open[any](q, "j")} {
			_, err1 := j.Status(t.Context())
			_, err2 := j.Wait(t.Context())
			errs = append(errs, err1, err2, j.Cancel(t.Context()), j.Retry(t.Context()))
		}
		for _, b := range []*Batch[any]{nil, &batch, OpenBatch[any](q, "b")} {
			_, err1 := b.Status(t.Context())
			_, err2 := b.Wait(t.Context())
			errs = append(errs, err1, err2, b.Cancel(t.Context()), b.Finalize(t.Context()), b.Remove(t.Context(), "r"), b.Add(t.Context(), Request{Input: 1}))
			for _, err := range b.Results(t.Context()) {
				errs = append(errs, err)
			}
		}
		for i, err := range errs {
			if e := problem(t, err); e.Field != "queue.Client" || !errors.Is(err, runpod.ErrBadRequest) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if q.Stats() != (runpod.Stats{}) || q.Close() != nil {
			t.Error("a Client that was not made has done something")
		}
	}
	q := answering(t, 200, `{"id":"j","status":"COMPLETED","output":1}`)
	if _, err := Open[any](q, "j").Wait(t.Context(), nil); problem(t, err).Field != "option 0" {
		t.Errorf("a nil option: %v", err)
	}
	var noContext context.Context
	_, err1 := Run[any](noContext, q, Request{Input: 1})
	_, err2 := Open[any](q, "j").Wait(noContext, LongPoll())
	_, err3 := q.Health(noContext)
	for _, err := range []error{err1, err2, err3} {
		if problem(t, err).Field != "ctx" {
			t.Errorf("a nil context: %v", err)
		}
	}
	var failure *Failure
	if (&Failure{}).Error() != "" || failure.from(nil) != nil {
		t.Error("a Failure of nothing says something")
	}
}
