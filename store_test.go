package runpod

import (
	"errors"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestStat(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		up, err := c.Upload(t.Context(), "a/b", Bytes("b", []byte("hello")))
		if err != nil {
			t.Fatal(err)
		}
		before := c.Stats()
		if got, err := c.Stat(t.Context(), "a/b"); err != nil || got != up || got.Size != 5 {
			t.Errorf("%+v, %v: want %+v", got, err, up)
		}
		if st := c.Stats(); st.S3Attempts != before.S3Attempts+1 || st.Downloads != before.Downloads {
			t.Errorf("it took more than a look: %+v", st)
		}
		if _, err := c.Stat(t.Context(), "a/c"); !errors.Is(err, ErrNotFound) {
			t.Errorf("what is not there: %v", err)
		}
		if _, err := c.Stat(t.Context(), "../c"); fieldOf(err) != "key" {
			t.Errorf("a key that cannot be: %v", err)
		}
	})
}
