// Websocket opens a WebSocket on an endpoint that is scaled to zero: with
// github.com/coder/websocket as it comes, and through this library. Then it is
// silent for a minute, twice: an open socket does not keep its worker from being
// scaled down, the library's requests beside it do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/gpuburst/runpod-go/examples/internal/cold"
	runpodws "github.com/gpuburst/runpod-go/websocket"
)

// speed is how much faster than the service the simulated endpoint is.
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
			if plain(hc) {
				return dialPlain(e, hc)
			}
			return dial(e, 0, nil)
		}},
		cold.Case{Name: "a socket that is silent for a minute, without keep-alive and with it", Ask: func(e *cold.Endpoint, hc *http.Client) (string, error) {
			if plain(hc) {
				return dial(e, time.Minute, &runpodws.Options{KeepAliveEvery: -1})
			}
			return dial(e, time.Minute, nil)
		}},
	)
}

// plain reports whether this is the client of the round without the library.
func plain(hc *http.Client) bool {
	_, ok := hc.Transport.(*http.Transport)
	return ok
}

// dial opens a socket through the library, and is silent.
func dial(e *cold.Endpoint, silence time.Duration, o *runpodws.Options) (string, error) {
	conn, _, err := runpodws.Dial(context.Background(), e.Client, "/ws", o)
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	time.Sleep(e.Real(silence))
	answer, err := talk(conn.Conn)
	return answer + ", from worker " + conn.WorkerID, errors.Join(err, conn.KeepAliveErr())
}

// dialPlain opens a socket as coder/websocket does it by itself.
func dialPlain(e *cold.Endpoint, hc *http.Client) (string, error) {
	conn, _, err := websocket.Dial(context.Background(), e.EndpointURL+"/ws", &websocket.DialOptions{
		HTTPClient: hc,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + e.APIKey}},
	})
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	return talk(conn)
}

// talk sends a message and hears the answer.
func talk(conn *websocket.Conn) (string, error) {
	ctx := context.Background()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return "", err
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		return "", err
	}
	return string(data), conn.Close(websocket.StatusNormalClosure, "")
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
