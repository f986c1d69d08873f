// Runall sends every photograph in the folder in to the endpoint, and downloads the results to the folder out.
package main

import (
	"context"
	"errors"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"

	runpod "github.com/gpuburst/runpod-go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := runpod.New(runpod.WithWarmup(3)) // workers start during the first uploads
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	files, err := filepath.Glob("in/*.jpg")
	if err := errors.Join(err, os.MkdirAll("out", 0o755)); err != nil {
		log.Fatal(err)
	}
	todo := map[string]runpod.Job{} // by ID
	for _, file := range files {
		todo[file] = runpod.Job{
			ID: file, Path: "/upscale", Idempotent: true, SaveTo: filepath.Join("out", filepath.Base(file)),
			Inputs: []runpod.JobInput{{Input: runpod.File(file)}},
			Body:   func(in []runpod.Object) (any, error) { return map[string]string{"image": in[0].WorkerPath()}, nil },
			Output: func(r *runpod.Response) (path string, err error) { err = r.JSON(&path); return path, err },
		}
	}
	for round := 1; round <= 3 && len(todo) > 0 && ctx.Err() == nil; round++ {
		burst(ctx, client, todo)
	}
	log.Printf("%d of %d are not done", len(todo), len(files))
}

// burst runs the jobs and removes those that must not run again. Those left failed, or were not read before ctx ended.
func burst(ctx context.Context, client *runpod.Client, todo map[string]runpod.Job) {
	for result, err := range client.RunAll(ctx, maps.Values(maps.Clone(todo))) {
		switch {
		case err == nil:
			delete(todo, result.JobID)
		case errors.Is(err, runpod.ErrBadRequest):
			log.Print("not sent again: ", err) // names the job
			delete(todo, result.JobID)
		case errors.Is(err, runpod.ErrNoWorkers):
			log.Print("check the endpoint's maximum workers: ", err)
		default:
			log.Print(err)
		}
	}
}
