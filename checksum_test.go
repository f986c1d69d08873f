package runpod

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// A store that refuses the header of the CRC32C gets every body with its MD5,
// and is asked no more; one that has confirmed a CRC32C means what it says.
func TestStoreThatRefusesCRC32C(t *testing.T) {
	hasCRC32C := func(r *http.Request) bool {
		return r.Header.Get("X-Amz-Checksum-Crc32c")+r.Header.Get("X-Amz-Checksum-Algorithm") != ""
	}
	for _, c := range []struct {
		name      string
		answer    runpodtest.Action
		size      int
		confirmed bool
		ok        bool
	}{
		{name: "400, whole", answer: runpodtest.Answer(400, s3Error("InvalidRequest")), size: 1000, ok: true},
		{name: "501, whole", answer: runpodtest.Answer(501, s3Error("NotImplemented")), size: 1000, ok: true},
		{name: "400, in parts", answer: runpodtest.Answer(400, s3Error("InvalidRequest")), size: 3 * testPart, ok: true},
		{name: "400 after a CRC32C was confirmed", answer: runpodtest.Answer(400, s3Error("InvalidRequest")), size: 1000, confirmed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, client *Client) {
				if c.confirmed {
					if _, err := client.Upload(t.Context(), "before", Bytes("b", content(10))); err != nil {
						t.Fatal(err)
					}
				}
				rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Match: hasCRC32C, Times: runpodtest.Always, Do: c.answer})
				data := content(c.size)
				for _, key := range []string{"k1", "k2"} {
					_, err := client.Upload(t.Context(), key, Bytes("b", data))
					if c.ok && (err != nil || !bytes.Equal(stored(t, srv, key), data)) || !c.ok && err == nil {
						t.Errorf("%s: %v", key, err)
					}
				}
				if n := rule.Fired(); c.ok && n != 1 {
					t.Errorf("refused %d times, want once", n)
				}
			}, smallParts, WithS3Conns(1))
		})
	}
}

// flipping damages one byte of what a connection sends, n bytes from its
// beginning.
type flipping struct {
	net.Conn
	at int
}

func (c *flipping) Write(p []byte) (int, error) {
	if c.at >= 0 && c.at < len(p) {
		p = bytes.Clone(p)
		p[c.at] ^= 0x10
	}
	c.at -= len(p)
	return c.Conn.Write(p)
}

// A byte that flips on the way is noticed, and what carried it is sent again.
func TestFlippedByte(t *testing.T) {
	for _, kind := range []Checksum{ChecksumMD5, ChecksumCRC32C} {
		for name, size := range map[string]int{"whole": testPart, "in parts": 6 * testPart} {
			t.Run(fmt.Sprint(name, kind), func(t *testing.T) {
				inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
					dials := 0
					c := newClient(t, srv, smallParts, WithChecksum(kind), WithS3Conns(2), WithDialContext(
						func(ctx context.Context, network, addr string) (net.Conn, error) {
							conn, err := srv.DialContext(ctx, network, addr)
							if dials++; dials == 1 {
								return &flipping{conn, 30_000}, err
							}
							return conn, err
						}))
					data := content(size)
					if _, err := c.Upload(t.Context(), "k", Bytes("k", data)); err != nil {
						t.Error(err)
					}
					if !bytes.Equal(stored(t, srv, "k"), data) {
						t.Error("stored damaged")
					}
					if n := c.Stats().S3Attempts; n != 2 && n != 10 {
						t.Errorf("%d requests", n)
					}
					if no := c.volume.uploads.sums.crc32c.lacking.Load(); no != (kind == ChecksumCRC32C && size > testPart) {
						t.Errorf("parts' CRC32C counted as checked: %v", !no) // gofakes3 checks those of whole objects
					}
				})
			})
		}
	}
}
