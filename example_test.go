package runpod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// simulated starts an endpoint whose time runs 1,000 times faster, and a
// client for it. Against the real service, runpod.New() is enough.
func simulated(program http.HandlerFunc) (*runpod.Client, func()) {
	const speed = 1_000
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed:     speed,
		ColdStart: runpodtest.Fixed(3 * time.Minute),
		Handler:   func(runpodtest.Worker) http.Handler { return program },
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := runpod.New(
		runpod.WithAPIKey(srv.APIKey),
		runpod.WithEndpoint(srv.EndpointURL),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket),
		runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0/speed)),
	)
	if err != nil {
		log.Fatal(err)
	}
	return client, func() { client.Close(); srv.Close() }
}

// The endpoint is cold and takes 3 minutes to start: the first attempt is
// refused after 2, and the call succeeds all the same.
func ExampleClient_Call() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"hello":"world"}`) })
	defer stop()

	var answer struct{ Hello string }
	resp, err := client.Call(context.Background(), "POST", "/greet", map[string]string{"to": "world"}, &answer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("hello", answer.Hello, "- cold refusals:", len(resp.Attempts) > 1)
	// Output: hello world - cold refusals: true
}

func ExampleClient_RunAll() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"detail":"no such picture"}`)
		}
	})
	defer stop()

	jobs := []runpod.Job{{ID: "one", Path: "/good"}, {ID: "two", Path: "/bad"}, {ID: "three", Path: "/good"}}
	var failed []string
	for result, err := range client.RunAll(context.Background(), slices.Values(jobs)) {
		if err != nil {
			failed = append(failed, result.JobID) // run these again, alone
			fmt.Println("refused by the worker:", errors.Is(err, runpod.ErrBadRequest))
		}
	}
	fmt.Println("failed:", failed)
	// Output:
	// refused by the worker: true
	// failed: [two]
}

func ExampleClient_Upload() {
	client, stop := simulated(func(http.ResponseWriter, *http.Request) {})
	defer stop()

	obj, err := client.Upload(context.Background(), "photos/cat.jpg", runpod.Bytes("cat.jpg", []byte("meow")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(obj.Size, "bytes at", obj.WorkerPath())
	// Output: 4 bytes at /runpod-volume/photos/cat.jpg
}

func ExampleError() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, `{"detail":"person is missing"}`)
	})
	defer stop()

	_, err := client.Call(context.Background(), "POST", "/tryon", nil, nil)
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		fmt.Println(e.Kind, e.Status, string(e.Body), e.MayHaveRun)
	}
	// Output: bad request 422 {"detail":"person is missing"} false
}
