package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/queue"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// Caption is what the workers of these examples return.
type Caption struct{ Text string }

// simulated is a Client for a simulated endpoint, whose workers write captions.
// For the real service queue.New("abc123") is enough, with RUNPOD_API_KEY set.
func simulated() (q *queue.Client, stop func()) {
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed: 10_000,
		JobHandler: func(_ context.Context, job runpodtest.Job) (any, error) {
			var in struct{ Image string }
			if json.Unmarshal(job.Input, &in); in.Image == "" {
				return nil, errors.New("no image")
			}
			for _, word := range []string{"A", "picture", "of"} {
				job.Emit(word)
			}
			return Caption{"A picture of " + strings.TrimSuffix(in.Image, ".jpg")}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	q, err = queue.New(srv.JobsURL, runpod.WithAPIKey(srv.APIKey), runpod.WithDialContext(srv.DialContext),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1e-4)))
	if err != nil {
		log.Fatal(err)
	}
	return q, func() { q.Close(); srv.Close() }
}

func image(name string) queue.Request {
	return queue.Request{Input: map[string]string{"image": name}}
}

// Most programs queue a job and wait for it. Many goroutines may do so at once.
func ExampleRun() {
	q, stop := simulated() // q, err := queue.New("abc123")
	defer stop()
	ctx := context.Background()

	job, err := queue.Run[Caption](ctx, q, image("cat.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.State, result.Output.Text)
	// Output: COMPLETED A picture of cat
}

// A job that failed is an error with the worker's report in it.
func ExampleFailure() {
	q, stop := simulated()
	defer stop()

	_, err := queue.RunSync[Caption](context.Background(), q, image(""))
	if failure, ok := errors.AsType[*queue.Failure](err); ok && errors.Is(err, queue.ErrFailed) {
		fmt.Println(failure.Message)
	}
	// Output: no image
}

// A batch runs thousands of jobs when there is room. Its results come in an
// order of the service's.
func ExampleNewBatch() {
	q, stop := simulated()
	defer stop()
	ctx := context.Background()

	batch, err := queue.NewBatch[Caption](ctx, q, image("cat.jpg"), image("dog.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	if err := batch.Finalize(ctx); err != nil { // nothing runs before
		log.Fatal(err)
	}
	if _, err := batch.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	var texts []string
	for result, err := range batch.Results(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		texts = append(texts, result.Output.Text)
	}
	slices.Sort(texts)
	fmt.Println(strings.Join(texts, ", "))
	// Output: A picture of cat, A picture of dog
}

// A job's output may come in parts, as its worker makes them.
func ExampleStream() {
	q, stop := simulated()
	defer stop()
	ctx := context.Background()

	job, err := queue.Run[any](ctx, q, image("cat.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	for word, err := range queue.Stream[string](ctx, q, job.ID) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(word)
	}
	// Output:
	// A
	// picture
	// of
}

// A job can be found again by its id, by another process too.
func ExampleOpen() {
	q, stop := simulated()
	defer stop()
	ctx := context.Background()

	queued, err := queue.Run[any](ctx, q, image("cat.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	result, err := queue.Open[Caption](q, queued.ID).Wait(ctx, queue.LongPoll())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Output.Text)
	// Output: A picture of cat
}
