package queue

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		fault    *runpodtest.Fault
		parts    int
		kind     error
		lost     bool
	}{
		{name: "to its end", in: "stream", parts: 5},
		{name: "of a job that fails", in: "stream and fail", parts: 5, kind: ErrFailed},
		{name: "of a job without parts", in: "x"},
		{name: "an answer refused with 503", in: "stream", parts: 5,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Times: 3, Do: runpodtest.Answer(503, "")}},
		{name: "an answer lost with its parts", in: "stream", parts: 0, lost: true,
			fault: &runpodtest.Fault{On: runpodtest.OnJobs, Path: "*/stream/*", Skip: 3, Do: runpodtest.ResetAfterWork()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := jobEndpoint()
			cfg.ServiceTime = runpodtest.Fixed(200 * time.Second)
			inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, q *Client) {
				if tt.fault != nil {
					srv.Fault(*tt.fault)
				}
				job := runJob(t, q, tt.in)
				n := 0
				var end error
				for part, err := range Stream[string](t.Context(), q, job.ID) {
					if end = err; err == nil && part != fmt.Sprint("part ", n) {
						t.Errorf("got %q", part)
					}
					if err == nil {
						n++
					}
				}
				if n != tt.parts || !errors.Is(end, tt.kind) && !tt.lost {
					t.Errorf("%d parts, then %v", n, end)
				}
				if calls, _ := srv.JobCalls(); calls["stream"] > 90 { // 275 s, at last every 5 s
					t.Errorf("asked %d times", calls["stream"])
				}
				if e, _ := errors.AsType[*runpod.Error](end); tt.lost && (e == nil || !e.MayHaveRun || e.JobID != job.ID) {
					t.Errorf("parts may be lost, and the error is %v", end)
				}
			})
		})
	}
}

// An answer to /stream that is none may have had parts: the stream ends with an
// error that says so. What the state alone is asked for may fail for a moment.
func TestStreamAnsweredWithoutAReport(t *testing.T) {
	for body, parts := range map[string]int{page: 1, `{"id":"j"}`: 1, `{"stream":"odd"}`: 1} {
		asked := 0
		q := served(t, func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 {
				body := `{"status":"IN_PROGRESS","stream":[{"output":"part 0"}]}`
				io.WriteString(w, body)
				return
			}
			io.WriteString(w, body)
		})
		n, last := 0, error(nil)
		for _, err := range Stream[string](t.Context(), q, "j") {
			if last = err; err == nil {
				n++
			}
		}
		if e := problem(t, last); n != parts || !e.MayHaveRun || e.JobID != "j" || !strings.Contains(e.Advice, "parts") {
			t.Errorf("%s: %d parts, %v", body, n, last)
		}
	}
	looks := 0
	q := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/stream/"): // as the docs show it, the parts alone
			io.WriteString(w, "[]")
		case looks < 5:
			looks++
			w.WriteHeader(500)
		default:
			io.WriteString(w, `{"status":"COMPLETED"}`)
		}
	})
	for _, err := range Stream[string](t.Context(), q, "j") {
		t.Error(err)
	}
	if looks != 5 {
		t.Errorf("%d looks failed", looks)
	}
}

// Breaking out of the loop ends the stream: nothing more is asked for.
func TestStreamThatIsLeft(t *testing.T) {
	asked := 0
	q := served(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.WriteString(w, `{"status":"IN_PROGRESS","stream":[{"output":"a"},{"output":"b"},{"output":3}]}`)
	})
	for part, err := range Stream[string](t.Context(), q, "j") {
		if part != "a" || err != nil {
			t.Errorf("%q, %v", part, err)
		}
		break
	}
	var got []string
	for part, err := range Stream[string](t.Context(), q, "j") {
		if got = append(got, part); err != nil && problem(t, err).JobID != "j" {
			t.Error(err)
		}
	}
	if strings.Join(got, "|") != "a|b|" || asked != 2 {
		t.Errorf("%q, asked %d times", got, asked)
	}
}
