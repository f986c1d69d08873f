package control_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// An operator raises the maximum of an endpoint's workers. Against the real
// service, control.New() is enough, with RUNPOD_API_KEY set.
func ExampleClient_Update() {
	srv, err := runpodtest.NewServer(runpodtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithDialContext(srv.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	defer plane.Close()

	ctx := context.Background()
	before, err := plane.Endpoint(ctx, srv.EndpointID)
	if err != nil {
		log.Fatal(err)
	}
	after, err := plane.Update(ctx, srv.EndpointID, control.Change{MaxWorkers: new(5)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("maximum workers:", before.Workers.Max, "then", after.Workers.Max)
	// Output: maximum workers: 3 then 5
}

// The endpoint's workers and what each is doing.
func ExampleClient_ListWorkers() {
	srv, err := runpodtest.NewServer(runpodtest.Config{MinWorkers: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithDialContext(srv.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	defer plane.Close()

	workers, err := plane.ListWorkers(context.Background(), srv.EndpointID)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range workers {
		fmt.Println(w.Status)
	}
	// Output:
	// IDLE
	// IDLE
}
