package runpod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Transfers and the requests they take are seen, each within what it belongs to.
func TestTransfersAreObserved(t *testing.T) {
	type key struct{}
	var mu sync.Mutex
	var got []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf(format, args...))
	}
	observer := WithObserver(Observer{
		TransferStart: func(ctx context.Context, info TransferInfo) context.Context {
			return context.WithValue(ctx, key{}, info.Operation+" "+info.Key)
		},
		TransferEnd: func(ctx context.Context, info TransferInfo) {
			note("%v: %d bytes, %d parts, %d requests, failed %v", ctx.Value(key{}), info.Bytes, info.Parts, info.Attempts, info.Err != nil)
		},
		S3AttemptStart: func(ctx context.Context, info S3AttemptInfo) context.Context {
			if ctx.Value(key{}) == nil {
				t.Errorf("%s lies within no transfer", info.Operation)
			}
			return ctx
		},
		S3AttemptEnd: func(ctx context.Context, info S3AttemptInfo) {
			note("%s %d part %d: %d %s %s", info.Operation, info.Number, info.Part, info.Status, info.Code, info.Verdict)
			if strings.Contains(info.URL, "?") {
				t.Errorf("the URL has its query: %s", info.URL)
			}
		},
	})
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Do: runpodtest.Answer(503, "<Error><Code>SlowDown</Code></Error>")})
		if _, err := c.Upload(t.Context(), "a", Bytes("a", []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		want := []string{"PutObject 1 part 0: 503 SlowDown retry after backoff", "PutObject 2 part 0: 200  deliver", "upload a: 5 bytes, 1 parts, 2 requests, failed false"}
		if !slices.Equal(got, want) {
			t.Errorf("upload:\n%s", strings.Join(got, "\n"))
		}
		got = nil
		if _, err := c.Upload(t.Context(), "big", Bytes("big", make([]byte, 12<<20))); err != nil {
			t.Fatal(err)
		}
		parts := 0
		for _, line := range got {
			if strings.HasPrefix(line, "UploadPart ") && strings.HasSuffix(line, "200  deliver") {
				parts++
			}
		}
		if last := got[len(got)-1]; parts != 3 || !strings.HasPrefix(last, "upload big: 12582912 bytes, 3 parts, ") {
			t.Errorf("in parts:\n%s", strings.Join(got, "\n"))
		}
		got = nil
		for range c.List(t.Context(), "a") {
		}
		if err := c.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Download(t.Context(), "a", &strings.Builder{}); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		want = []string{
			"ListObjectsV2 1 part 0: 200  deliver", "list a: 0 bytes, 0 parts, 1 requests, failed false",
			"DeleteObject 1 part 0: 204  deliver", "delete a: 0 bytes, 0 parts, 1 requests, failed false",
			"GetObject 1 part 0: 404 NoSuchKey give up", "download a: 0 bytes, 0 parts, 1 requests, failed true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("the others:\n%s", strings.Join(got, "\n"))
		}
	}, observer, WithPartSize(5<<20))
}
