// Resume uploads a large file; run again after Ctrl-C or a crash, it sends only what is missing.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	runpod "github.com/gpuburst/runpod-go"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: resume FILE KEY")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := upload(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func upload(ctx context.Context, file, key string) error {
	client, err := runpod.New(
		runpod.WithResumeDir("unfinished-uploads"), // keep this folder from one run to the next
		runpod.WithPartSize(8<<20),                 // at most so much is sent twice by each connection
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var progress runpod.Progress
	object, err := client.Upload(runpod.WithProgress(ctx, &progress), key, runpod.File(file))
	if err != nil {
		now := progress.Now()
		return fmt.Errorf("%d of %d bytes are on the volume, run again for the rest: %w", now.BytesDone, now.Bytes, err)
	}
	fmt.Printf("%d bytes are at %s on the workers\n", object.Size, object.WorkerPath())
	return nil
}
