// Websocket opens a WebSocket with github.com/coder/websocket on an endpoint
// that is scaled to zero: as it comes, and through the Client. Then it is silent
// for a minute, twice: an open socket does not keep its worker from being scaled
// down, requests beside it do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/examples/internal/cold"
)

// speed is how much faster than the service the simulated endpoint is. The
// socket must be kept alive every few seconds of its time.
const speed = 40

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "websocket:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	return cold.Compare(w, speed, http.HandlerFunc(echo),
		cold.Case{Name: "a socket, used at once", Ask: func(e *cold.Endpoint, hc *http.Client) (string, error) {
			return talk(e, hc, 0)
		}},
		cold.Case{Name: "a socket that is silent for a minute, without keep-alive and with it", Ask: silent},
	)
}

// echo is the worker's program: it answers every message with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, data) != nil {
			return
		}
	}
}

// talk opens a socket and, after a silence, sends a message.
func talk(e *cold.Endpoint, hc *http.Client, silence time.Duration) (string, error) {
	ctx := context.Background()
	conn, resp, err := websocket.Dial(ctx, e.EndpointURL+"/ws", &websocket.DialOptions{
		HTTPClient: hc,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + e.APIKey}},
	})
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	time.Sleep(e.Real(silence))
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return "", fmt.Errorf("after %v of silence: %w", silence, err)
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		return "", fmt.Errorf("after %v of silence: %w", silence, err)
	}
	return fmt.Sprintf("%s, from worker %s", data, resp.Header.Get("X-Runpod-Worker-Id")), conn.Close(websocket.StatusNormalClosure, "")
}

// silent is a socket in a session, which the Client keeps alive where it may.
func silent(e *cold.Endpoint, hc *http.Client) (string, error) {
	session := e.Client.Session()
	defer session.End()
	var keeping sync.WaitGroup
	defer keeping.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, plain := hc.Transport.(*http.Transport); !plain {
		keeping.Go(func() { keepAlive(ctx, session, e) })
	}
	return talk(e, session.HTTPClient(), time.Minute)
}

func keepAlive(ctx context.Context, session *runpod.Session, e *cold.Endpoint) {
	err := session.KeepAlive(ctx, "/ping", e.Real(2*time.Second))
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Println("  keep-alive:", err)
	}
}
