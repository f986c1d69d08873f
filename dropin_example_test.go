package runpod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Any Go HTTP client takes the Client's: openai-go by option.WithHTTPClient,
// coder/websocket by DialOptions.HTTPClient, a generated client by its Doer.
func ExampleClient_HTTPClient() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	defer stop()

	resp, err := client.HTTPClient().Post("/v1/echo", "text/plain", strings.NewReader("through a cold start"))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: through a cold start
}

func ExampleEvents() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range []string{"one", "token", "at", "a", "time"} {
			fmt.Fprintf(w, "data: %s\n\n", word)
		}
	})
	defer stop()

	resp, err := client.HTTPClient().Get("/generate")
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range runpod.Events(resp) {
		if err != nil {
			log.Fatal(err) // a stream cut short is one too
		}
		fmt.Print(event.Data, " ")
	}
	// Output: one token at a time
}

// A chat stays with the worker that has its cache.
func ExampleClient_Session() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) })
	defer stop()

	session := client.Session(runpod.Strict(), runpod.OrAnyWorker())
	defer session.End()
	ctx := context.Background()
	first, err := session.Call(ctx, "POST", "/chat", "hello", nil)
	if err != nil {
		log.Fatal(err)
	}
	second, err := session.Call(ctx, "POST", "/chat", "and now?", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same worker:", first.WorkerID == second.WorkerID)
	// Output: the same worker: true
}

// A job of a queue-based endpoint, with an output of the caller's type. Against
// the real service runpod.New() is enough, with RUNPOD_ENDPOINT_ID set.
func ExampleRunJob() {
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed: 10_000,
		JobHandler: func(_ context.Context, job runpodtest.Job) (any, error) {
			var in struct{ Prompt string }
			json.Unmarshal(job.Input, &in)
			return map[string]any{"text": strings.ToUpper(in.Prompt)}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := runpod.New(
		runpod.WithAPIKey(srv.APIKey),
		runpod.WithJobsURL(srv.JobsURL),
		runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1e-4)),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	job, err := runpod.RunJob[struct{ Text string }](ctx, client, runpod.JobRequest{Input: map[string]string{"prompt": "hello"}})
	if err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.State, result.Output.Text)
	// Output: COMPLETED HELLO
}
