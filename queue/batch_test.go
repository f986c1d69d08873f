package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestBatch(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime, cfg.Concurrency = runpodtest.Fixed(time.Second), 8
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
		var requests []Request
		for i := range 250 {
			in := any(fmt.Sprint("item ", i))
			if i == 100 {
				in = "fail"
			}
			requests = append(requests, Request{Input: in})
		}
		b, err := NewBatch[greeting](t.Context(), q, requests[:200]...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Wait(t.Context()); !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "Finalize") {
			t.Errorf("waiting for a draft: %v", err)
		}
		if err := errors.Join(b.Add(t.Context(), requests[200:]...), b.Finalize(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(t.Context(), requests[0]); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("adding to a finalized batch: %v", err)
		}
		st, err := b.Wait(t.Context())
		if err != nil || st.Total != 250 || st.Completed != 249 || st.Failed != 1 || !st.Done() || st.Created().IsZero() {
			t.Errorf("%+v, %v", st, err)
		}
		seen := map[string]bool{}
		failed := 0
		for result, err := range b.Results(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if result.State == StateFailed && result.Failure.Message == "CUDA out of memory" {
				failed++
				continue
			}
			seen[result.Output.Hello] = true
		}
		if len(seen) != 249 || failed != 1 {
			t.Errorf("%d results, %d failed", len(seen), failed)
		}
	})
}

func TestBatchLimitsAndCancel(t *testing.T) {
	inBubble(t, jobEndpoint(), func(t *testing.T, srv *runpodtest.Server, q *Client) {
		many := slices.Repeat([]Request{{Input: 1}}, maxBatch+1)
		if _, err := NewBatch[greeting](t.Context(), q, many...); !errors.Is(err, runpod.ErrBadRequest) || problem(t, err).Field != "requests" {
			t.Errorf("5,001 requests: %v", err)
		}
		_, err := NewBatch[greeting](t.Context(), q, Request{Input: 1}, Request{})
		if e, ok := errors.AsType[*runpod.Error](err); !ok || e.Field != "requests[1].Request.Input" {
			t.Errorf("got %v", err)
		}
		large := Request{Input: strings.Repeat("x", 4<<20)} // two fit into a call
		b, err := NewBatch[greeting](t.Context(), q, large, large, large, large, large)
		if err != nil {
			t.Fatal(err)
		}
		if calls, _ := srv.JobCalls(); calls["batch"] != 3 {
			t.Errorf("5 x 4 MiB took %d calls", calls["batch"])
		}
		if st, err := b.Status(t.Context()); err != nil || st.Total != 5 || st.State != BatchDraft {
			t.Errorf("%+v, %v", st, err)
		}
		if err := errors.Join(b.Finalize(t.Context()), b.Cancel(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := b.Wait(t.Context()); !errors.Is(err, ErrCancelled) {
			t.Errorf("got %v", err)
		}
		if _, err := NewBatch[greeting](t.Context(), q, many[1:]...); err != nil {
			t.Errorf("5,000 requests: %v", err)
		}
		if _, err := OpenBatch[greeting](q, "none").Status(t.Context()); !errors.Is(err, runpod.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// A draft can be changed until it is finalized.
func TestBatchRemove(t *testing.T) {
	cfg := jobEndpoint()
	cfg.ServiceTime = runpodtest.Fixed(time.Second)
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
		b, err := NewBatch[greeting](t.Context(), q, Request{Input: "keep"}, Request{Input: "drop"}, Request{Input: "lost"})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for r, err := range b.Results(t.Context()) {
			if err != nil || r.State != StateInQueue {
				t.Fatalf("%+v, %v", r, err)
			}
			ids = append(ids, r.ID)
		}
		if err := b.Remove(t.Context(), ids[1]); err != nil {
			t.Error(err)
		}
		if err := b.Remove(t.Context(), ids[1]); !errors.Is(err, runpod.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/requests/*", Do: runpodtest.ResetAfterWork()})
		if err := b.Remove(t.Context(), ids[2]); err != nil {
			t.Errorf("removed by an attempt whose answer was lost: %v", err)
		}
		if err := b.Remove(t.Context(), ""); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("no id: %v", err)
		}
		if err := b.Finalize(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), ids[0]); !errors.Is(err, runpod.ErrBadRequest) {
			t.Errorf("from a finalized batch: %v", err)
		}
		if st, err := b.Wait(t.Context()); err != nil || st.Total != 1 || st.Completed != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := Open[greeting](q, ids[1]).Status(t.Context()); !errors.Is(err, ErrExpired) {
			t.Errorf("the removed request is still there: %v", err)
		}
	})
}

// One job's odd output is that job's error; the others follow.
func TestBatchResultsGoOn(t *testing.T) {
	q := answering(t, 200, `{"hasMore":false,"requests":[
		{"id":"a","status":"COMPLETED","output":{"Hello":"a"}},
		{"id":"b","status":"COMPLETED","output":[1,2]},
		{"id":"c","status":"COMPLETED","delayTime":"7","output":{"Hello":NaN}},
		{"id":"d","status":"FAILED","error":{"error_type":"E","error_message":"m"}},
		{"id":"e","status":"COMPLETED"},
		{"id":"f","status":"COMPLETED","output":{"Hello":"f"}}]}`)
	var good, bad []string
	for result, err := range OpenBatch[greeting](q, "batch").Results(t.Context()) {
		if err != nil {
			if e := problem(t, err); e.JobID != result.ID {
				t.Errorf("%s: %v", result.ID, err)
			}
			bad = append(bad, result.ID)
			continue
		}
		good = append(good, result.ID)
	}
	if strings.Join(good, "") != "acdf" || strings.Join(bad, "") != "be" {
		t.Errorf("good %v, bad %v", good, bad)
	}
}

// A batch may take hours, in which answers that say nothing of it come and go.
func TestBatchWaitLivesThroughAnswersThatAreNoReports(t *testing.T) {
	cfg := jobEndpoint()
	for name, do := range map[string]runpodtest.Action{
		"500": runpodtest.Answer(500, ""), "HTML": runpodtest.Answer(200, page), "no state": runpodtest.Answer(200, `{"id":"b","requestTotal":"1"}`),
	} {
		inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
			b, err := NewBatch[greeting](t.Context(), q, Request{Input: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Finalize(t.Context()); err != nil {
				t.Fatal(err)
			}
			rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/batch/*", Skip: 1, Times: 3, Do: do})
			if st, err := b.Wait(t.Context()); err != nil || !st.Done() || rule.Fired() != 3 {
				t.Errorf("%s: %+v, %v, %d", name, st, err, rule.Fired())
			}
			srv.Fault(runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/batch/*", Times: runpodtest.Always, Do: do})
			start := time.Now()
			if _, err := b.Wait(t.Context()); err == nil || problem(t, err).JobID != b.ID || time.Since(start) > 10*time.Minute {
				t.Errorf("%s for ever: %v after %v", name, err, time.Since(start))
			}
		})
	}
}

// An answer that lists no jobs at all is not the end of a batch.
func TestBatchResultsThatAreNone(t *testing.T) {
	for _, body := range []string{`{}`, `{"hasMore":true}`, `{"requests":null}`} {
		rounds := 0
		for _, err := range OpenBatch[any](answering(t, 200, body), "b").Results(t.Context()) {
			if rounds++; err == nil {
				t.Errorf("%s: no error", body)
			}
		}
		if rounds != 1 {
			t.Errorf("%s: %d rounds", body, rounds)
		}
	}
}
