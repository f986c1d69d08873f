package runpod

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// An upload that is cancelled while the gateway is silent returns within
// seconds; what is aborted after it goes on until the Client is closed.
func TestCancelledUploadOfASilentGateway(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "DELETE", Do: runpodtest.Delay(20 * time.Second)})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Upload(ctx, "k", Bytes("k", content(3*testPart))); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(start); took > 3*time.Second+tidyWait {
			t.Errorf("back after %s", took)
		}
		time.Sleep(time.Minute)
		if left := unfinished(t, srv, c); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}, smallParts)
}

// Closing waits seconds for a gateway that never answers, and no longer.
func TestCloseWhileASilentGatewayIsTold(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "DELETE", Times: runpodtest.Always, Do: runpodtest.Delay(time.Hour)})
		go func() {
			time.Sleep(3 * time.Second)
			c.Close()
		}()
		start := time.Now()
		if _, err := c.Upload(t.Context(), "k", Bytes("k", content(3*testPart))); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		c.Close() // again, until all is over
		if took := time.Since(start); took > 3*time.Second+2*tidyWait {
			t.Errorf("closed after %s", took)
		}
	}, smallParts)
}

// A job that is cancelled while the gateway is silent returns within seconds too:
// its inputs are deleted afterwards.
func TestCancelledJobOfASilentGateway(t *testing.T) {
	inBubble(t, sleepy(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "DELETE", Times: 2, Do: runpodtest.Delay(20 * time.Second)})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Run(ctx, tryonJob(t.TempDir(), 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(start); took > 3*time.Second+tidyWait {
			t.Errorf("back after %s", took)
		}
		time.Sleep(time.Minute)
		if left := inputsLeft(t, srv); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// Some stores send a blank now and then while they put an object together, to
// show that they live: it is not ended for its rate.
func TestCompleteThatSendsBlanks(t *testing.T) {
	data := content(2 * testPart)
	own := ""
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == "POST" && r.URL.Query().Has("uploads"):
			own = r.Header.Get("X-Amz-Meta-" + ownID)
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case r.Method == "PUT":
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
		case r.Method == "POST":
			for range 60 {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Second)
			}
			io.WriteString(w, "<CompleteMultipartUploadResult/>")
		case r.Method == "HEAD":
			w.Header().Set("X-Amz-Meta-"+ownID, own)
		}
	}, func(t *testing.T, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
			t.Error(err)
		}
		if n := c.Stats().S3Attempts; n != 5 {
			t.Errorf("%d requests", n)
		}
	}, smallParts, WithChecksum(ChecksumMD5))
}

// An observer that panics while an upload is aborted does not end the process:
// nobody could recover it there.
func TestObserverThatPanicsWhileAnUploadIsAborted(t *testing.T) {
	var said logs
	observer := Observer{S3AttemptStart: func(ctx context.Context, a S3AttemptInfo) context.Context {
		if a.Operation == "AbortMultipartUpload" {
			panic("the observer")
		}
		return ctx
	}}
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Answer(507, "")})
		if _, err := c.Upload(t.Context(), "k", Bytes("k", content(2*testPart))); !errors.Is(err, ErrVolumeFull) {
			t.Error(err)
		}
		if held, _, _ := c.volume.gw.pool.Counts(); held != 0 {
			t.Errorf("%d places held", held)
		}
		if !strings.Contains(said.String(), "not tidied up") {
			t.Errorf("the log says %s", said.String())
		}
	}, smallParts, WithObserver(observer), WithLogger(said.logger()))
}
