package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// shout is a worker's program: it writes a file in capital letters into a new
// one, and answers with its path.
func shout(w runpodtest.Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ File string }
		json.NewDecoder(r.Body).Decode(&in)
		text, err := os.ReadFile(filepath.Join(w.VolumeDir, strings.TrimPrefix(in.File, "/runpod-volume/")))
		if err == nil {
			err = os.WriteFile(filepath.Join(w.VolumeDir, "loud.txt"), bytes.ToUpper(text), 0o644)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		io.WriteString(rw, `{"result":"/runpod-volume/loud.txt"}`)
	})
}

// A job uploads its input, calls the endpoint with the input's path on the
// workers, and downloads the result that the answer names.
func ExampleClient_Run() {
	srv := serve(runpodtest.Config{Handler: shout})
	defer srv.Close()
	client := connect(srv)
	defer client.Close()
	dir, remove := folder()
	defer remove()

	result, err := client.Run(context.Background(), runpod.Job{
		Inputs: []runpod.JobInput{{Input: runpod.Bytes("note.txt", []byte("hello"))}},
		Path:   "/shout",
		Body:   func(in []runpod.Object) (any, error) { return map[string]string{"file": in[0].WorkerPath()}, nil },
		Output: func(resp *runpod.Response) (string, error) {
			var answer struct{ Result string }
			err := resp.JSON(&answer)
			return answer.Result, err
		},
		SaveTo: filepath.Join(dir, "loud.txt"),
	})
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "loud.txt"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s is %s, status %d\n", result.Output.Key, text, result.Response.Status)
	// Output: loud.txt is HELLO, status 200
}

// After a burst, the jobs to run again are those that failed and those that
// RunAll had not read when its context ended. A job that the worker refuses is
// not among them.
func ExampleClient_RunAll() {
	srv := serve(runpodtest.Config{MinWorkers: 4, MaxWorkers: 4})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Path: "/two", Do: runpodtest.WorkerAnswer(422, "no such picture")})
	srv.Fault(runpodtest.Fault{Path: "/three", Do: runpodtest.ResetAfterWork()}) // the answer is lost
	client := connect(srv)
	defer client.Close()

	jobs := []runpod.Job{{ID: "one", Path: "/one"}, {ID: "two", Path: "/two"}, {ID: "three", Path: "/three"}, {ID: "four", Path: "/four"}}
	todo := map[string]runpod.Job{}
	for _, job := range jobs {
		todo[job.ID] = job
	}
	for result, err := range client.RunAll(context.Background(), slices.Values(jobs)) {
		e, _ := errors.AsType[*runpod.Error](err)
		switch {
		case err == nil:
			delete(todo, result.JobID)
		case errors.Is(err, runpod.ErrBadRequest):
			fmt.Println(result.JobID, "was refused")
			delete(todo, result.JobID)
		case errors.Is(err, runpod.ErrNoWorkers):
			fmt.Println(result.JobID, "did not run: check the endpoint's maximum workers")
		case e.MayHaveRun:
			fmt.Println(result.JobID, "may have run")
		}
	}
	fmt.Println("again:", slices.Sorted(maps.Keys(todo)))
	// Unordered output:
	// two was refused
	// three may have run
	// again: [three]
}

// The workers start while the first inputs are uploaded.
func ExampleWithWarmup() {
	srv := serve(runpodtest.Config{Handler: shout})
	defer srv.Close()
	client := connect(srv, runpod.WithWarmup(2))
	defer client.Close()

	result, err := client.Run(context.Background(), runpod.Job{
		Inputs: []runpod.JobInput{{Input: runpod.Bytes("note.txt", []byte("hello"))}},
		Path:   "/shout",
		Body:   func(in []runpod.Object) (any, error) { return map[string]string{"file": in[0].WorkerPath()}, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Response.Status, "- light requests were sent:", client.Stats().WakePings > 0)
	// Output: 200 - light requests were sent: true
}
