package runpod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// A stream is read once, however long it turns out to be.
func TestStreamsOfEveryLength(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		smallBuffers(c, 2)
		for _, n := range []int{0, 1, testPart - 1, testPart, testPart + 1, 3 * testPart} {
			opened := 0
			data := content(n)
			in := Reader("r", -1, func(context.Context) (io.ReadCloser, error) {
				opened++
				return io.NopCloser(bytes.NewReader(data)), nil
			})
			obj, err := c.Upload(t.Context(), "k", in)
			if err != nil || obj.Size != int64(n) || !bytes.Equal(stored(t, srv, "k"), data) || opened != 1 {
				t.Errorf("%d bytes: got %+v, %v; opened %d times", n, obj, err, opened)
			}
		}
		for _, lie := range []int64{2 * testPart, 4 * testPart} {
			_, err := c.Upload(t.Context(), "lie", Reader("r", lie, onlyForward(content(3*testPart))))
			if err == nil || !strings.Contains(err.Error(), "not") {
				t.Errorf("%d bytes were said: %v", lie, err)
			}
		}
		if left := append(unfinished(t, srv, c), remains(t, srv, "lie")...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if free, spare := c.volume.uploads.buffers.Counts(); free != c.volume.uploads.buffers.Blocks() || spare != 0 {
			t.Errorf("%d of %d blocks came back, %d kept", free, c.volume.uploads.buffers.Blocks(), spare)
		}
	}, smallParts)
}

// A stream that turns out longer than an object may be ends with an error, not
// short: nothing of it stays.
func TestStreamThatIsTooLong(t *testing.T) {
	for _, size := range []int{3*testPart + 1, 5 * testPart} {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			smallBuffers(c, 4)
			c.volume.uploads.largest = 3 * testPart
			_, err := c.Upload(t.Context(), "k", Reader("r", -1, onlyForward(content(size))))
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
			if left := append(unfinished(t, srv, c), remains(t, srv, "k")...); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if free, _ := c.volume.uploads.buffers.Counts(); free != 4 {
				t.Errorf("%d blocks came back", free)
			}
			if obj, err := c.Upload(t.Context(), "k", Reader("r", -1, onlyForward(content(3*testPart)))); err != nil || obj.Size != 3*testPart {
				t.Errorf("one that just fits: %+v, %v", obj, err)
			}
		}, smallParts)
	}
}
