package runpod_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
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
