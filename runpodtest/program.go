package runpodtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// Worker describes a worker to the program that runs in it.
type Worker struct {
	ID        string          // as in X-Runpod-Worker-Id
	Number    int             // 1 is the first worker of this server
	VolumeDir string          // the folder that would be /runpod-volume
	Context   context.Context // ends with the worker

	// Crash ends the worker as if its program had died: its requests get the 502.
	// It may be called at any time, more than once, from any goroutine.
	Crash func()
}

// Job is a job of the queue API as Config.JobHandler receives it.
type Job struct {
	ID     string          // as /run answered it
	Input  json.RawMessage // as it was submitted
	Worker Worker          // the worker that runs it
	Emit   func(chunk any) // sends a part of the output to clients that stream the job
}

// echo is the default Config.Handler: it describes the request.
func echo(w Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "application/json")
		json.NewEncoder(rw).Encode(map[string]any{
			"worker": w.ID, "method": r.Method, "path": r.URL.Path, "bytes": n,
		})
	})
}

// echoJob is the default Config.JobHandler: it returns the input.
func echoJob(_ context.Context, job Job) (any, error) {
	return map[string]any{"input": job.Input, "worker": job.Worker.ID}, nil
}
