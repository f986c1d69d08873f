package runpod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
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

// Shutdown lets what is in flight end, retries included, and begins nothing.
func TestShutdownLetsWhatIsInFlightEnd(t *testing.T) {
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy"), Times: 3})
		dir := t.TempDir()
		errs := make(chan error, 2)
		go func() {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			errs <- err
		}()
		go func() {
			_, err := c.Run(t.Context(), tryonJob(dir, 1000))
			errs <- err
		}()
		all := make(chan [2]int)
		go func() {
			done, refused := 0, 0
			for r, err := range c.RunAll(t.Context(), tryonJobs(dir, 500)) {
				switch {
				case err == nil:
					done++
				case errors.Is(err, ErrClosed):
					refused++
				default:
					t.Errorf("%s: %v", r.JobID, err)
				}
			}
			all <- [2]int{done, refused}
		}()
		time.Sleep(10 * time.Second)
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		shut := time.Now()
		if err := <-errs; err != nil && fieldOf(err) == "" && !errors.Is(err, ErrBadRequest) {
			t.Error(err)
		}
		if err := <-errs; err != nil && !errors.Is(err, ErrBadRequest) {
			t.Error(err)
		}
		if got := <-all; got[0] < 10 || got[0] > 100 || got[1] > 1 {
			t.Errorf("of 500 jobs %d were done, %d refused", got[0], got[1])
		}
		if late := time.Since(shut); late > 0 {
			t.Errorf("something ended %s after the shutdown", late)
		}
		if _, err := c.Upload(t.Context(), "k", Bytes("k", nil)); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		nothingHeld(t, c)
	})
}

// While it drains, a Client refuses new work at once.
func TestShutdownRefusesNewWork(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		begun := make(chan error)
		go func() {
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			begun <- err
		}()
		time.Sleep(100 * time.Millisecond)
		shut := make(chan error)
		go func() { shut <- c.Shutdown(t.Context()) }()
		synctest.Wait()
		at := time.Now()
		_, call := c.Call(t.Context(), "POST", "/x", nil, nil)
		_, run := c.Run(t.Context(), Job{Path: "/x"})
		req, _ := http.NewRequest("GET", "/x", nil)
		_, do := c.Do(req)
		for _, err := range []error{call, run, do, c.Delete(t.Context(), "k")} {
			if !errors.Is(err, ErrClosed) || time.Since(at) > 0 {
				t.Errorf("after %s: %v", time.Since(at), err)
			}
		}
		for r, err := range c.RunAll(t.Context(), tryonlessJobs(3)) {
			if r.Index != -1 || !errors.Is(err, ErrClosed) {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if err := errors.Join(<-begun, <-shut, c.Shutdown(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// Shutdown waits for the bodies that callers still read.
func TestShutdownWaitsForBodies(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				io.WriteString(w, "piece ")
				http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		})
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "/stream", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		begun, took := time.Now(), make(chan time.Duration)
		go func() {
			if err := c.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			took <- time.Since(begun)
		}()
		got, err := io.ReadAll(resp.Body)
		if len(got) != 60 || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if d := <-took; d < 9*time.Second {
			t.Errorf("the shutdown took %s, the stream 10 s", d)
		}
		resp.Body.Close()
	})
}

// When its context ends, Shutdown closes, and says how much it cut off.
func TestShutdownThatTakesTooLong(t *testing.T) {
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		errs := make(chan error, 3)
		for range 2 {
			go func() {
				_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
				errs <- err
			}()
		}
		go func() {
			_, err := c.Run(t.Context(), tryonJob(t.TempDir(), 1))
			errs <- err
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := c.Shutdown(ctx)
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cut off 3 operations") {
			t.Errorf("got %v", err)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		nothingHeld(t, c)
	})
}
