package runpod

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRunRefusesBeforeTraffic(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		good := Bytes("a", []byte("a"))
		for field, job := range map[string]Job{
			"Path":            {Path: "https://elsewhere.example/x"},
			"Method":          {Path: "/", Method: "GE T"},
			"SaveTo":          {Path: "/", SaveTo: "/no/such/folder/x"},
			"Inputs[0].Input": {Path: "/", Inputs: []JobInput{{Key: "k"}}},
			"Inputs[1].Input": {Path: "/", Inputs: []JobInput{{Input: good}, {Input: File("/no/such/file")}}},
			"Inputs[0].Key":   {Path: "/", Inputs: []JobInput{{Key: "a/../b", Input: good}}},
			"Inputs[1].Key":   {Path: "/", Inputs: []JobInput{{Key: "k", Input: good}, {Key: "k", Input: good}}},
		} {
			_, err := c.Run(t.Context(), job)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Field != field || e.JobID == "" {
				t.Errorf("%s: got %v", field, err)
			}
		}
		if _, err := c.Run(t.Context(), Job{Path: "/", Inputs: []JobInput{{Input: File("/no/such/file")}}}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
		if st := srv.Stats(); st.Requests+st.S3Requests > 0 {
			t.Errorf("there was traffic: %+v", st)
		}
	})
}

func TestRunSavesTheResponseItself(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	}
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		path := filepath.Join(t.TempDir(), "out.json")
		r, err := c.Run(t.Context(), Job{Path: "/echo", SaveTo: path, Body: func([]Object) (any, error) { return "hello", nil }})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if string(got) != `"hello"` || r.Response.WorkerID == "" || len(r.Attempts) != 1 {
			t.Errorf("saved %q; %+v", got, r)
		}
	})
}

func TestInputsAreKeptWhenAsked(t *testing.T) {
	cfg := coldEndpoint(3)
	cfg.MinWorkers = 1
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		job := tryonJob(t.TempDir(), 1)
		job.KeepInputs = true
		r, err := c.Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if left := inputsLeft(t, srv); len(left) != 2 {
			t.Errorf("%d inputs on the volume", len(left))
		}
		for _, in := range r.Inputs {
			if err := c.Delete(t.Context(), in.Key); err != nil {
				t.Error(err)
			}
			if err := c.Delete(t.Context(), in.Key); err != nil {
				t.Errorf("deleting again: %v", err)
			}
		}
	})
}

// A job deletes what it uploaded, not what it found there.
func TestInputsThatWereThereStay(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		shared := JobInput{Key: "shared/cat.jpg", Input: Bytes("cat.jpg", []byte("meow"))}
		if _, err := c.Upload(t.Context(), shared.Key, shared.Input); err != nil {
			t.Fatal(err)
		}
		own := JobInput{Key: "own/dog.jpg", Input: Bytes("dog.jpg", []byte("woof"))}
		r, err := c.Run(t.Context(), Job{Path: "/x", Inputs: []JobInput{shared, own}})
		if err != nil || !r.Inputs[0].Existed || r.Inputs[1].Existed {
			t.Fatalf("got %+v, %v", r, err)
		}
		if left := remains(t, srv, "shared"); len(left) != 1 {
			t.Errorf("the shared input is gone")
		}
		if left := remains(t, srv, "own"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}, WithSkipExisting())
}

// Save gets what SaveTo would have, the answer or the output.
func TestRunSavesToAWriter(t *testing.T) {
	cfg := coldEndpoint(3)
	cfg.MinWorkers = 1
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Do: runpodtest.ResetReply(4)})
		var got bytes.Buffer
		job := tryonJob("", 1)
		job.SaveTo, job.Save = "", &got
		r, err := c.Run(t.Context(), job)
		if err != nil || got.String() != "person 1+garment 1" || r.Output.Size != int64(got.Len()) {
			t.Errorf("%q, %+v, %v", got.String(), r.Output, err)
		}
		got.Reset()
		job = tryonJob("", 2)
		job.SaveTo, job.Save, job.Output = "", &got, nil
		if r, err = c.Run(t.Context(), job); err != nil || got.String() != string(r.Response.Body) || got.Len() == 0 {
			t.Errorf("%q, %v", got.String(), err)
		}
		job = tryonJob(t.TempDir(), 3)
		job.Save = &got
		if _, err = c.Run(t.Context(), job); fieldOf(err) != "Save" || !errors.Is(err, ErrBadRequest) {
			t.Errorf("both targets: %v", err)
		}
		full := errors.New("disk full")
		job = tryonJob("", 4)
		job.SaveTo, job.Output, job.Save = "", nil, writerFunc(func([]byte) (int, error) { return 0, full })
		if _, err = c.Run(t.Context(), job); fieldOf(err) != "Save" || !errors.Is(err, full) {
			t.Errorf("a writer that fails: %v", err)
		}
	})
}

// A job's options are its call's.
func TestRunTakesCallOptions(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{Do: runpodtest.AnswerAfterWork(524, ""), Times: 2})
		opts := []CallOption{Idempotent()}
		if r, err := c.Run(t.Context(), Job{Path: "/x", Options: opts}); err != nil || len(r.Attempts) != 3 {
			t.Errorf("%d attempts, %v", len(r.Attempts), err)
		}
	})
}
