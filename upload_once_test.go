package runpod

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestContentKey(t *testing.T) {
	data := []byte("a photograph")
	want := fmt.Sprintf("photos/%x.jpg", sha256.Sum256(data))
	path := filepath.Join(t.TempDir(), "other name.jpg")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err1 := ContentKey(t.Context(), "photos/", Bytes("person.jpg", data))
	b, err2 := ContentKey(t.Context(), "photos", File(path))
	if err1 != nil || err2 != nil || a != want || b != want {
		t.Errorf("got %q, %v and %q, %v", a, err1, b, err2)
	}
	if c, _ := ContentKey(t.Context(), "", Bytes("person.jpg", data[1:])); c == a || strings.Contains(c, "/") {
		t.Errorf("other content: %q", c)
	}
	for _, bad := range []string{"../up", "a//b", "/lead"} {
		if key, err := ContentKey(t.Context(), bad, Bytes("x", nil)); err == nil {
			t.Errorf("prefix %q: got %q", bad, key)
		}
	}
	if _, err := ContentKey(t.Context(), "", Input{}); !errors.Is(err, ErrBadRequest) {
		t.Errorf("no input: %v", err)
	}
}

// The same content is stored once, also when many upload it at the same moment
// and when it goes in parts.
func TestSkipExisting(t *testing.T) {
	for name, size := range map[string]int{"whole": 10_000, "in parts": 3*testPart + 5} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				puts := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
				data := content(size)
				var wg sync.WaitGroup
				sent := 0
				var mu sync.Mutex
				for range 20 {
					wg.Go(func() {
						obj, err := c.Upload(t.Context(), "k", Bytes("k", data))
						mu.Lock()
						defer mu.Unlock()
						if err != nil || obj.Size != int64(size) {
							t.Errorf("got %+v, %v", obj, err)
						}
						if !obj.Existed {
							sent++
						}
					})
				}
				wg.Wait()
				again, err := newClient(t, srv, smallParts, WithSkipExisting()).Upload(t.Context(), "k", Bytes("k", data))
				if err != nil || !again.Existed || sent != 1 {
					t.Errorf("sent %d times; later: %+v, %v", sent, again, err)
				}
				if want := max(1, (size+testPart-1)/testPart); puts.Fired() != want {
					t.Errorf("%d bodies sent, want %d", puts.Fired(), want)
				}
				data[0]++
				if obj, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil || obj.Existed || !bytes.Equal(stored(t, srv, "k"), data) {
					t.Errorf("other content: %+v, %v", obj, err)
				}
				put(t, srv, "worker", data)
				if obj, err := c.Upload(t.Context(), "worker", Bytes("w", data)); err != nil || obj.Existed {
					t.Errorf("what a worker wrote: %+v, %v", obj, err)
				}
			}, smallParts, WithSkipExisting())
		})
	}
}

// Who gives up does not take those along who wait for the same upload.
func TestSkipExistingWithAnImpatientCaller(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(5 * time.Second)})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Upload(ctx, "k", Bytes("k", content(99))); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient one: %v", err)
			}
		})
		time.Sleep(time.Second)
		for range 3 {
			wg.Go(func() {
				if _, err := c.Upload(t.Context(), "k", Bytes("k", content(99))); err != nil {
					t.Errorf("one who waited: %v", err)
				}
			})
		}
		wg.Wait()
	}, WithSkipExisting())
}

// What has told the content apart from others is sent as its checksum too: it
// is not read a third time for another.
func TestSkipExistingReadsTwice(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		data := content(1000)
		opened := 0
		in := Reader("r", int64(len(data)), func(context.Context) (io.ReadCloser, error) {
			opened++
			return io.NopCloser(bytes.NewReader(data)), nil
		})
		if _, err := c.Upload(t.Context(), "k", in); err != nil || opened != 2 || !bytes.Equal(stored(t, srv, "k"), data) {
			t.Errorf("opened %d times, %v", opened, err)
		}
	}, WithSkipExisting())
}
