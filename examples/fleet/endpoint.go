package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// speed is how fast the simulated endpoint's time runs.
const speed = 25

// newEndpoint starts an endpoint of four workers at most and none at first, with
// cold starts of 40 to 60 s and 10 to 15 s of work, and a program that writes its
// result to the volume.
func newEndpoint() (endpoint, error) {
	var made atomic.Int64
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Seed: 1, Loopback: true, Speed: speed, MaxWorkers: 4,
		ColdStart:   runpodtest.Range(40*time.Second, 60*time.Second),
		ServiceTime: runpodtest.Range(10*time.Second, 15*time.Second),
		Handler: func(w runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				name := fmt.Sprintf("result-%d.txt", made.Add(1))
				var in struct{ Person, Garment string }
				err := json.NewDecoder(r.Body).Decode(&in)
				if err == nil {
					err = os.WriteFile(filepath.Join(w.VolumeDir, name), []byte(in.Person+" in "+in.Garment+"\n"), 0o644)
				}
				if err != nil {
					http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
					return
				}
				fmt.Fprintf(rw, `{"result":"/runpod-volume/%s"}`, name)
			})
		},
	})
	return endpoint{srv}, err
}

type endpoint struct{ *runpodtest.Server }

// settings are what a process must know to call the endpoint.
type settings struct {
	Endpoint, APIKey, S3, Region, Bucket, AccessKey, SecretKey string
}

func (e endpoint) settings() settings {
	return settings{e.EndpointURL, e.APIKey, e.S3URL, e.Region, e.Bucket, e.AccessKeyID, e.SecretAccessKey}
}

func (s settings) client() (*runpod.Client, error) {
	return runpod.New(runpod.WithEndpoint(s.Endpoint), runpod.WithAPIKey(s.APIKey),
		runpod.WithS3Endpoint(s.S3, s.Region, s.Bucket), runpod.WithS3Credentials(s.AccessKey, s.SecretKey),
		runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1.0/speed)))
}

// photographs makes the jobs: each of 6 persons in each of 10 garments.
func photographs(dir string) (specs []fleet.Spec, err error) {
	write := func(kind string, i int) string {
		name := filepath.Join(dir, fmt.Sprintf("%s-%d.txt", kind, i))
		if e := os.WriteFile(name, fmt.Appendf(nil, "%s %d", kind, i), 0o644); e != nil {
			err = e
		}
		return name
	}
	const persons, garments = 6, jobs / 6
	for p := range persons {
		person := write("person", p)
		for g := range garments {
			specs = append(specs, fleet.Spec{
				ID: fmt.Sprintf("%d-%d", p, g), Files: []string{person, write("garment", g)}, Path: "/api/v1/tryon",
				Body:   map[string]any{"person": "{{0}}", "garment": "{{1}}"},
				Output: "result", SaveTo: fmt.Sprintf("%d-%d.txt", p, g), Idempotent: true,
			})
		}
	}
	return specs, err
}
