// Errors calls the endpoint once and prints what to do about whatever went wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

func main() {
	giveUp := flag.Duration("give-up", 15*time.Minute, "fail after so long without an answer from any worker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := runpod.New(runpod.WithRetryPolicy(runpod.RetryPolicy{GiveUp: *giveUp}))
	if err != nil {
		log.Fatal(err) // names the option or variable to set
	}
	defer client.Close()
	_, err = client.Call(ctx, "POST", "/charge", map[string]int{"cents": 100}, nil)
	fmt.Println(whatNow(err))
}

// whatNow is what the caller of a request that must not run twice does about its error.
func whatNow(err error) string {
	e, _ := errors.AsType[*runpod.Error](err) // every error of a Client is one
	switch {
	case err == nil:
		return "done"
	case e.MayHaveRun:
		return "a worker may have done it: look before sending it again"
	case errors.Is(err, runpod.ErrNoWorkers):
		return "nothing ran: check the endpoint's maximum workers, then send it again"
	case errors.Is(err, runpod.ErrUnauthorized):
		return "check RUNPOD_API_KEY"
	case errors.Is(err, runpod.ErrBadRequest):
		return fmt.Sprintf("correct the request, the worker says: %s", e.Body)
	case errors.Is(err, context.Canceled):
		return "nothing ran: it was stopped"
	}
	return err.Error()
}
