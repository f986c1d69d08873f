// Group sends 20 jobs to two simulated endpoints, of which the first has no GPU: the second does them all.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func main() {
	romania, closeRomania := open(runpodtest.Config{EndpointID: "romania", MaxWorkers: runpodtest.NoWorkers})
	defer closeRomania()
	czechia, closeCzechia := open(runpodtest.Config{EndpointID: "czechia", ColdStart: runpodtest.Fixed(20 * time.Second)})
	defer closeCzechia()
	group, err := runpod.NewGroup([]*runpod.Client{romania, czechia}) // in order of preference
	if err != nil {
		log.Fatal(err)
	}
	defer group.Close() // closes the clients too
	failed := 0
	for result, err := range group.RunAll(context.Background(), jobs) {
		if err != nil {
			log.Print(err) // names the job
			failed++
			continue
		}
		last := result.Attempts[len(result.Attempts)-1]
		fmt.Printf("job %s is done by worker %s, attempt %d\n", result.JobID, last.WorkerID, len(result.Attempts))
	}
	stats := group.Stats()
	fmt.Printf("%d jobs failed; %d attempts in Romania, %d in Czechia\n", failed, stats[0].Attempts, stats[1].Attempts)
}

func jobs(yield func(runpod.Job) bool) {
	for i := range 20 {
		if !yield(runpod.Job{Path: "/upscale", Inputs: []runpod.JobInput{{Input: runpod.Bytes("photo.jpg", fmt.Append(nil, i))}}}) {
			return
		}
	}
}

// open makes a client of a simulated endpoint, 100 times as fast as the service. Yours have WithEndpoint and WithVolume.
func open(cfg runpodtest.Config) (*runpod.Client, func() error) {
	cfg.Loopback, cfg.Speed = true, 100
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		log.Fatal(err)
	}
	client, err := runpod.New(runpod.WithEndpoint(srv.EndpointURL), runpod.WithAPIKey(srv.APIKey),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey))
	if err != nil {
		log.Fatal(err)
	}
	return client, srv.Close
}
