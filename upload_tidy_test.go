package runpod

import (
	"context"
	"errors"
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
