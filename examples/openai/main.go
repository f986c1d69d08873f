// Openai has openai-go, unchanged, meet an endpoint that is scaled to zero: as
// it comes, and on the Client's HTTP client. Against a real endpoint, which
// RUNPOD_ENDPOINT_ID and RUNPOD_API_KEY name, all that is needed is:
//
//	rp, err := runpod.New()
//	client := openai.NewClient(
//		option.WithBaseURL("https://ENDPOINT_ID.api.runpod.ai/v1"),
//		option.WithAPIKey("put in by the transport"),
//		option.WithHTTPClient(rp.HTTPClient()),
//		option.WithMaxRetries(0),
//	)
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/gpuburst/runpod-go/examples/internal/cold"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// speed is how much faster than the service the simulated endpoint is.
const speed = 200

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openai:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	return cold.Compare(w, speed, cold.Chat(),
		cold.Case{Name: "chat, openai-go's own retries off", Ask: with(0, chat)},
		cold.Case{Name: "chat, its retries on", Ask: with(2, chat)},
		cold.Case{Name: "streaming, its retries off", Ask: with(0, stream)},
		cold.Case{Name: "streaming, its retries on", Ask: with(2, stream)},
	)
}

// with makes the client that asks.
func with(retries int, ask func(openai.Client) (string, error)) func(*cold.Endpoint, *http.Client) (string, error) {
	return func(e *cold.Endpoint, hc *http.Client) (string, error) {
		return ask(openai.NewClient(
			option.WithBaseURL(e.EndpointURL+"/v1"),
			option.WithAPIKey(e.APIKey),
			option.WithHTTPClient(hc),
			option.WithMaxRetries(retries),
		))
	}
}

func question() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "qwen3-8b",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
}

func chat(client openai.Client) (string, error) {
	answer, err := client.Chat.Completions.New(context.Background(), question())
	if err != nil {
		return "", err
	}
	return answer.Choices[0].Message.Content, nil
}

func stream(client openai.Client) (string, error) {
	chunks := client.Chat.Completions.NewStreaming(context.Background(), question())
	defer chunks.Close()
	text, n := "", 0
	for ; chunks.Next(); n++ {
		text += chunks.Current().Choices[0].Delta.Content
	}
	return fmt.Sprintf("%s (in %d chunks)", text, n), chunks.Err()
}
