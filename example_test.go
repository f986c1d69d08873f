package runpod_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The examples run against simulated endpoints, whose time runs 1,000 times
// faster. Against the real service, runpod.New() is enough.

// simulated starts an endpoint with this program on its workers, and a client.
// Its first worker takes 3 minutes to start.
func simulated(program http.HandlerFunc, opts ...runpod.Option) (client *runpod.Client, stop func()) {
	srv := serve(runpodtest.Config{
		ColdStart: runpodtest.Fixed(3 * time.Minute),
		Handler:   func(runpodtest.Worker) http.Handler { return program },
	})
	client = connect(srv, opts...)
	return client, func() { client.Close(); srv.Close() }
}

// simulatedVolume is simulated with a volume that has these files, and without
// workers.
func simulatedVolume(files map[string]string, opts ...runpod.Option) (client *runpod.Client, stop func()) {
	client, stop = simulated(func(http.ResponseWriter, *http.Request) {}, opts...)
	for key, content := range files {
		if _, err := client.Upload(context.Background(), key, runpod.Bytes(key, []byte(content))); err != nil {
			log.Fatal(err)
		}
	}
	return client, stop
}

// serve starts an endpoint.
func serve(cfg runpodtest.Config) *runpodtest.Server {
	cfg.Speed, cfg.IdleTimeout = 1_000, cmp.Or(cfg.IdleTimeout, time.Hour)
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return srv
}

// connect makes a client for an endpoint.
func connect(srv *runpodtest.Server, opts ...runpod.Option) *runpod.Client {
	client, err := runpod.New(append([]runpod.Option{
		runpod.WithAPIKey(srv.APIKey),
		runpod.WithEndpoint(srv.EndpointURL),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket),
		runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0 / 1_000)),
	}, opts...)...)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// folder makes a temporary folder.
func folder() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

// A call succeeds although the endpoint is cold.
func Example() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"caption":"a cat"}`) })
	defer stop()

	var answer struct{ Caption string }
	_, err := client.Call(context.Background(), "POST", "/caption", map[string]string{"image": "cat.jpg"}, &answer)
	if errors.Is(err, runpod.ErrNoWorkers) {
		log.Fatal("no worker for 15 minutes: check the endpoint's maximum workers")
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Caption)
	// Output: a cat
}
