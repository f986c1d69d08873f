package runpod

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// What is counted is what is there, whatever was sent twice on the way.
func TestProgress(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		smallBuffers(c, 4)
		data := content(5*testPart + 99)
		size := int64(len(data))
		one, all := new(Progress), new(Progress)
		ctx := WithProgress(t.Context(), all)
		expect := func(what string, p *Progress, want Transferred) {
			t.Helper()
			if got := p.Now(); got != want {
				t.Errorf("%s: got %+v, want %+v", what, got, want)
			}
		}
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Skip: 1, Times: 2, Do: runpodtest.ResetAfterRead()})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Skip: 2, Times: 2, Do: runpodtest.AnswerAfterWork(502, "")})
		if _, err := c.Upload(WithProgress(t.Context(), one), "one", Bytes("b", data)); err != nil {
			t.Fatal(err)
		}
		expect("one upload", one, Transferred{1, 1, size, size})
		for key, in := range map[string]Input{"again": Bytes("b", data), "stream": Reader("s", -1, onlyForward(data)), "small": Bytes("s", data[:9])} {
			if _, err := c.Upload(ctx, key, in); err != nil {
				t.Fatal(err)
			}
		}
		expect("all of them", all, Transferred{3, 3, 2*size + 9, 2*size + 9})

		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Times: 2, Do: runpodtest.ResetReply(1000)})
		down := new(Progress)
		ctx = WithProgress(t.Context(), down)
		if _, err := c.DownloadFile(ctx, "one", filepath.Join(t.TempDir(), "f")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Download(ctx, "small", io.Discard); err != nil {
			t.Fatal(err)
		}
		expect("downloads", down, Transferred{2, 2, size + 9, size + 9})
		if got, want := c.Progress(), (Transferred{6, 6, 4*size + 18, 4*size + 18}); got != want {
			t.Errorf("the Client's: %+v, want %+v", got, want)
		}
		bad := new(Progress)
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: runpodtest.Always, Do: runpodtest.Answer(507, "").Later(time.Second)})
		c.Upload(WithProgress(t.Context(), bad), "bad", Bytes("b", data[:9]))
		expect("a failed one", bad, Transferred{1, 0, 9, 0})
	}, smallParts, WithS3Conns(3))
}

func BenchmarkProgress(b *testing.B) {
	t := &tally{meter: meter{new(Progress), new(Progress)}}
	b.ReportAllocs()
	for b.Loop() {
		t.sent(32 << 10)
	}
}
