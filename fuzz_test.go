package runpod

import (
	"errors"
	"testing"
	"time"
)

// FuzzClassify: no answer, however odd, may break the table.
func FuzzClassify(f *testing.F) {
	f.Add(400, "", `{"error":"no workers available"}`, int64(120e9), int64(-1), false, false, true)
	f.Add(400, "w1", `{"detail":[{"msg":1}]}`, int64(0), int64(0), true, false, false)
	f.Add(0, "", "", int64(1), int64(-1), false, true, false)
	f.Add(524, "w", "\xff{", int64(330e9), int64(1<<62), true, false, true)
	f.Fuzz(func(t *testing.T, status int, worker, body string, elapsed, retryAfter int64, idempotent, sent, seen bool) {
		p := DefaultRetryPolicy()
		o := Observation{
			Status: status, WorkerID: worker, Body: []byte(body), Elapsed: time.Duration(elapsed),
			RetryAfter: time.Duration(retryAfter), Idempotent: idempotent, IDsSeen: seen,
		}
		if status == 0 {
			o.Err, o.Sent = errors.New("lost"), sent
		}
		d := p.classify(o)
		if d.reason == "" || int(d.verdict) >= len(verdictNames) {
			t.Fatalf("%+v: %+v", o, d)
		}
		if d.verdict.retries() && d.mayHaveRun && !idempotent {
			t.Fatalf("%+v is sent again although it may have run", o)
		}
		if status >= 200 && status < 400 && d.verdict != VerdictDeliver {
			t.Fatalf("%+v is not delivered", o)
		}
		for _, random := range []float64{0, 0.999} {
			if delay := p.backoff(int(uint8(status)), max(o.Elapsed, 0), o.RetryAfter, random); delay < 0 || delay > p.MaxRetryAfter+p.Jitter {
				t.Fatalf("%+v: delay %s", o, delay)
			}
		}
	})
}
