package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// One process submits, works and reads the results. Usually these are three.
func Example() {
	ctx := context.Background()
	endpoint, err := runpodtest.NewServer(runpodtest.Config{MinWorkers: 1, Handler: func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"picture":"ready"}`) })
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()
	client, err := runpod.New(runpod.WithEndpoint(endpoint.EndpointURL), runpod.WithAPIKey(endpoint.APIKey), runpod.WithDialContext(endpoint.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	srv, err := embedded.Start(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	f, err := fleet.Open(ctx, srv.Conn(), fleet.Config{Name: "tryon", InFlight: 16})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	n, err := f.Submit(ctx, client, slices.Values([]fleet.Spec{
		{ID: "anna", Path: "/api/v1/tryon", Body: map[string]any{"person": "anna"}, Idempotent: true},
	}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "new")

	working, drain := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- f.Work(working, client, fleet.Slots(8)) }()
	for r, err := range f.Results(ctx) {
		switch {
		case r.ID == "":
			log.Fatal(err) // reading itself has failed
		case errors.Is(err, fleet.ErrMayHaveRun):
			fmt.Println(r.ID, "may have run: look, then Retry")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Printf("%s: %s\n", r.ID, r.Answer)
		}
	}
	drain()
	if err := <-worked; err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 new
	// anna: {"picture":"ready"}
}
