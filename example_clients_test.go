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
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
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

// Other people's clients that take an http.RoundTripper get the Client's: they
// survive a cold start, and the API key is added.
func ExampleClient_Transport() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"data":[{"id":"llama"}]}`)
	})
	defer stop()

	other := &http.Client{Transport: client.Transport()} // no Timeout: a cold start takes minutes
	resp, err := other.Get("/v1/models")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: {"data":[{"id":"llama"}]}
}

// A session that another worker may take over, for a client that somebody else
// wrote.
func ExampleSession_HTTPClient() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	defer stop()

	session := client.Session(runpod.OrAnyWorker())
	defer session.End()
	for range 2 {
		resp, err := session.HTTPClient().Get("/chat")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id") == session.WorkerID())
	}
	// Output:
	// 200 true
	// 200 true
}
