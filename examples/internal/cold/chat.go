package cold

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Chat is a program that speaks the chat API as vLLM's server does, whole and
// streamed. It knows one answer.
func Chat() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Model    string
			Stream   bool
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Messages) == 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"detail":[{"loc":["body","messages"],"msg":"field required"}]}`)
			return
		}
		words := strings.SplitAfter("The worker is warm now; you said: "+in.Messages[len(in.Messages)-1].Content, " ")
		if in.Stream {
			streamWords(w, in.Model, words)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(completion("chat.completion", in.Model, map[string]any{
			"index": 0, "finish_reason": "stop",
			"message": map[string]any{"role": "assistant", "content": strings.Join(words, "")},
		}))
	})
	return mux
}

func streamWords(w http.ResponseWriter, model string, words []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range words {
		chunk, _ := json.Marshal(completion("chat.completion.chunk", model, map[string]any{
			"index": 0, "delta": map[string]any{"role": "assistant", "content": word},
		}))
		fmt.Fprintf(w, "data: %s\n\n", chunk)
		http.NewResponseController(w).Flush()
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func completion(kind, model string, choice map[string]any) map[string]any {
	return map[string]any{"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": []any{choice}}
}
