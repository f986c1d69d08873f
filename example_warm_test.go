package runpod_test

import (
	"context"
	"fmt"
	"log"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Warm starts workers ahead of a burst. Most callers should use WithWarmup,
// which does so during the first uploads.
func ExampleClient_Warm() {
	srv := serve(runpodtest.Config{ColdStart: runpodtest.Fixed(time.Minute)})
	defer srv.Close()
	client := connect(srv)
	defer client.Close()

	n, err := client.Warm(context.Background(), 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "workers have answered")
	// Output: 2 workers have answered
}

// A hold raises the endpoint's minimum of workers, which costs money until it
// is released.
func ExampleClient_HoldWorkers() {
	srv := serve(runpodtest.Config{})
	defer srv.Close()
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithDialContext(srv.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	defer plane.Close()
	client := connect(srv, runpod.WithControl(plane.For(srv.EndpointID)))
	defer client.Close() // releases what is still held

	ctx := context.Background()
	hold, err := client.HoldWorkers(ctx, 2)
	if err != nil {
		log.Fatal(err)
	}
	minimum, _ := srv.WorkerBounds()
	fmt.Println("minimum while held:", minimum)
	if err := hold.Release(ctx); err != nil {
		log.Fatal(err) // the minimum may be left raised: run runpod-workers release
	}
	minimum, _ = srv.WorkerBounds()
	fmt.Println("minimum afterwards:", minimum)
	// Output:
	// minimum while held: 2
	// minimum afterwards: 0
}

// A service's own health check asks what is known of the endpoint. That wakes
// no worker.
func ExampleClient_Ready() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithDialContext(srv.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	defer plane.Close()
	client := connect(srv, runpod.WithControl(plane.For(srv.EndpointID)))
	defer client.Close()

	ready, err := client.Ready(context.Background())
	if err != nil {
		log.Fatal(err) // no call can succeed: Error.Advice says what to do
	}
	up, _ := ready.Up()
	fmt.Println(up, "of at most", ready.MaxWorkers, "workers are up")
	// Output: 1 of at most 3 workers are up
}
