package runpod

import (
	"bytes"
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
