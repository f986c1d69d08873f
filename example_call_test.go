package runpod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The endpoint is cold and takes 3 minutes to start. The first attempt is
// refused after 2, and the call succeeds nevertheless.
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

// Do sends any request and returns any status as a response.
func ExampleClient_Do() {
	client, stop := simulated(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		io.Copy(w, r.Body)
	})
	defer stop()

	req, err := http.NewRequest("PUT", "/notes/1", strings.NewReader("remember the milk"))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, string(body))
	// Output: 202 remember the milk
}

// A worker crashes on the first request. The call may run twice, so it is sent
// again.
func ExampleIdempotent() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterWork()})
	client := connect(srv)
	defer client.Close()

	resp, err := client.Call(context.Background(), "POST", "/caption", nil, nil, runpod.Idempotent())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status, "after", len(resp.Attempts), "attempts")
	// Output: 200 after 2 attempts
}

// Options of a request that is sent by Do are in its context.
func ExampleWithCallOptions() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterWork()})
	client := connect(srv)
	defer client.Close()

	ctx := runpod.WithCallOptions(context.Background(), runpod.Idempotent())
	req, err := http.NewRequestWithContext(ctx, "POST", "/caption", strings.NewReader(`{"image":"cat.jpg"}`))
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
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

// A worker crashes on a request that must not run twice: the library does not
// send it again, and the error says that it may have run.
func ExampleError_mayHaveRun() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.ResetAfterWork()})
	client := connect(srv)
	defer client.Close()

	_, err := client.Call(context.Background(), "POST", "/charge", map[string]int{"cents": 100}, nil)
	if e, ok := errors.AsType[*runpod.Error](err); ok && e.MayHaveRun {
		fmt.Println("look whether the customer was charged, after", len(e.Attempts), "attempt")
	}
	// Output: look whether the customer was charged, after 1 attempt
}

// A service that answers people gives up sooner than the default of 15 minutes.
// Most callers leave the other times alone.
func ExampleWithRetryPolicy() {
	srv := serve(runpodtest.Config{MaxWorkers: runpodtest.NoWorkers})
	defer srv.Close()
	policy := runpod.RetryPolicy{GiveUp: 5 * time.Minute} // zero fields have their defaults
	client := connect(srv, runpod.WithRetryPolicy(policy.Scaled(1.0/1_000)))
	defer client.Close()

	_, err := client.Call(context.Background(), "POST", "/caption", nil, nil)
	fmt.Println("no workers:", errors.Is(err, runpod.ErrNoWorkers))
	// Output: no workers: true
}

// The workers answer 409 while their model loads, which the table would take
// for a mistake in the request.
func ExampleWithClassifier() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.WorkerAnswer(http.StatusConflict, "model is loading")})
	client := connect(srv, runpod.WithClassifier(func(o runpod.Observation) (runpod.Verdict, bool) {
		return runpod.VerdictRetryBackoff, o.Status == http.StatusConflict // false: as the table says
	}))
	defer client.Close()

	resp, err := client.Call(context.Background(), "POST", "/caption", nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range resp.Attempts {
		fmt.Println(a.Status, a.Verdict)
	}
	// Output:
	// 409 retry after backoff
	// 200 deliver
}

// An observer sees every attempt of every call.
func ExampleWithObserver() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(503, "busy")})
	client := connect(srv, runpod.WithObserver(runpod.Observer{
		AttemptEnd: func(_ context.Context, info runpod.AttemptInfo, a runpod.Attempt) {
			fmt.Printf("%s, attempt %d: %d, %v\n", info.Op, info.Number, a.Status, a.Verdict)
		},
	}))
	defer client.Close()

	if _, err := client.Call(context.Background(), "POST", "/caption", nil, nil); err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /caption, attempt 1: 503, retry after backoff
	// POST /caption, attempt 2: 200, deliver
}

func ExampleClient_Stats() {
	srv := serve(runpodtest.Config{MinWorkers: 1})
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(400, `{"error":"no workers available"}`)})
	client := connect(srv)
	defer client.Close()

	if _, err := client.Call(context.Background(), "POST", "/caption", nil, nil); err != nil {
		log.Fatal(err)
	}
	s := client.Stats()
	fmt.Println("calls:", s.Calls, "attempts:", s.Attempts, "cold refusals:", s.ColdRefusals)
	// Output: calls: 1 attempts: 2 cold refusals: 1
}
