package runpod

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		errs := make(chan error, 3)
		go func() {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			errs <- err
		}()
		go func() {
			_, err := c.Run(t.Context(), tryonJob(t.TempDir(), 1))
			errs <- err
		}()
		go func() {
			for _, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 1)) {
				errs <- err
			}
		}()
		time.Sleep(10 * time.Second)
		start := time.Now()
		c.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %s", took)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		c.Close()
		if _, err := c.Call(t.Context(), "GET", "/", nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		if _, err := c.Upload(t.Context(), "k", Bytes("k", nil)); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		for r, err := range c.RunAll(t.Context(), tryonJobs("", 5)) {
			if !errors.Is(err, ErrClosed) || r.Index != -1 {
				t.Errorf("after closing: %v, %v", r, err)
			}
		}
	})
}

func TestCloseEndsOpenBodies(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "beginning")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "/stream", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		go func() {
			time.Sleep(time.Minute)
			c.Close()
		}()
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		if got.String() != "beginning" || !errors.Is(err, ErrClosed) {
			t.Errorf("read %q, then %v", got.String(), err)
		}
		synctest.Wait()
	})
}
