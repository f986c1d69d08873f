// Go-openai is examples/openai with another client, github.com/sashabaranov/go-openai,
// which shares no code with the official one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/gpuburst/runpod-go/examples/internal/cold"
	openai "github.com/sashabaranov/go-openai"
)

// speed is how much faster than the service the simulated endpoint is.
const speed = 200

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "go-openai:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	return cold.Compare(w, speed, cold.Chat(),
		cold.Case{Name: "chat", Ask: with(chat)},
		cold.Case{Name: "streaming", Ask: with(stream)},
	)
}

// with makes the client that asks.
func with(ask func(*openai.Client) (string, error)) func(*cold.Endpoint, *http.Client) (string, error) {
	return func(e *cold.Endpoint, hc *http.Client) (string, error) {
		config := openai.DefaultConfig(e.APIKey)
		config.BaseURL = e.EndpointURL + "/v1"
		config.HTTPClient = hc
		return ask(openai.NewClientWithConfig(config))
	}
}

func question() openai.ChatCompletionRequest {
	return openai.ChatCompletionRequest{
		Model:    "qwen3-8b",
		Messages: []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleUser, Content: "hello"}},
	}
}

func chat(client *openai.Client) (string, error) {
	answer, err := client.CreateChatCompletion(context.Background(), question())
	if err != nil {
		return "", err
	}
	return answer.Choices[0].Message.Content, nil
}

func stream(client *openai.Client) (string, error) {
	chunks, err := client.CreateChatCompletionStream(context.Background(), question())
	if err != nil {
		return "", err
	}
	defer chunks.Close()
	text, n := "", 0
	for ; ; n++ {
		chunk, err := chunks.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%s (in %d chunks)", text, n), nil
		}
		if err != nil {
			return text, err
		}
		text += chunk.Choices[0].Delta.Content
	}
}
