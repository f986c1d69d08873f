package queue

import (
	"context"
	"iter"
	"time"

	"github.com/gpuburst/runpod-go"
)

// Stream returns the parts of a job's output as its worker hands them out, and
// ends when the job has ended. The last round has the error, if there is one:
// see [Handle.Wait].
//
// The service hands each part to one reader only. If an answer with parts is
// lost on its way, so are they, and the stream ends with an error that has
// MayHaveRun. A part that is not of type Part ends the stream too: if parts
// differ, use [encoding/json.RawMessage]. A slow loop makes Stream ask less
// often.
func Stream[Part any](ctx context.Context, q *Client, id string) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		s := newStreaming(job{q.inside(), id})
		for !s.over {
			parts, err := s.next(ctx)
			for i := 0; err == nil && i < len(parts); i++ {
				var got Part
				if err = decode(&s.call, &report{Output: parts[i].Output}, &got); err == nil && !yield(got, nil) {
					return
				}
			}
			if err != nil {
				var none Part
				yield(none, err)
				return
			}
		}
	}
}

// streaming is one Stream of a job.
type streaming struct {
	job
	call   call
	streak streak
	begun  bool
	looks  int   // in a row that brought no parts
	last   State // the last one that is known
	over   bool  // there is nothing more to come
}

func newStreaming(j job) *streaming {
	s := &streaming{job: j, call: j.get("stream")}
	s.call.opts = []runpod.CallOption{runpod.NotIdempotent()} // what an answer had is gone with it
	return s
}

// next returns the parts that nobody has had yet, none perhaps, after the pause
// that is due.
func (s *streaming) next(ctx context.Context) ([]part, error) {
	if err := s.check(ctx, &s.call); err != nil {
		return nil, err
	}
	if s.begun && !s.last.Final() {
		if err := s.api.pause(ctx, &s.call, s.looks); err != nil {
			return nil, err
		}
	}
	s.begun = true
	s.looks++
	asked := time.Now()
	news, err := s.news(ctx)
	switch {
	case lostParts(err):
		return nil, err
	case err != nil:
		return nil, s.streak.ends(err, asked, time.Now(), s.api.policy.GiveUp)
	}
	s.streak, s.last = streak{}, news.state()
	if len(news.Parts) > 0 {
		s.looks = 0
		return news.Parts, nil
	}
	s.over = s.last.Final()
	return nil, news.failed(&s.call)
}

// news asks for what has come since it was last asked for, and for the job's
// state if the answer has neither parts nor that.
func (s *streaming) news(ctx context.Context) (report, error) {
	news, err := s.report(ctx, s.call)
	if err == nil && !news.state().named() && len(news.Parts) == 0 {
		return s.report(ctx, s.get("status"))
	}
	return news, err
}
