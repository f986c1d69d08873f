package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	ws "github.com/coder/websocket"
	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
	"github.com/gpuburst/runpod-go/websocket"
)

// A socket on an endpoint that is scaled to zero, silent for longer than a
// worker's idle timeout. Against the real service runpod.New() is enough, with
// RUNPOD_API_KEY and RUNPOD_ENDPOINT_ID set.
func ExampleDial() {
	client, stop := simulated()
	defer stop()

	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, client, "/ws", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.CloseNow()
	time.Sleep(time.Second) // 10 s of the simulated endpoint's time
	if err := conn.Write(ctx, ws.MessageText, []byte("still the same worker")); err != nil {
		log.Fatal(err)
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	conn.Close(ws.StatusNormalClosure, "")
	// Output: still the same worker
}

// simulated is an endpoint whose workers echo, 10 times as fast as the service,
// and a Client for it.
func simulated() (client *runpod.Client, stop func()) {
	const speed = 10
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed: speed, ColdStart: runpodtest.Fixed(10 * time.Second), SocketsIdle: true,
		Handler: func(runpodtest.Worker) http.Handler { return http.HandlerFunc(echo) },
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err = runpod.New(
		runpod.WithAPIKey(srv.APIKey),
		runpod.WithEndpoint(srv.EndpointURL),
		runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0/speed)),
	)
	if err != nil {
		log.Fatal(err)
	}
	return client, func() { client.Close(); srv.Close() }
}
