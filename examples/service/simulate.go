package main

import (
	"errors"
	"net/http"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/control"
	"github.com/gpuburst/runpod-go/internal/worker"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// simulate starts an endpoint that is as many times as fast as the service. Its
// first worker is up later than the balancer lets a request wait, so that a page
// has something to say. A service on a real endpoint needs nothing of this file.
func simulate(speed float64) (opts []runpod.Option, end func(), err error) {
	if !(speed > 0) {
		return nil, nil, errors.New("-speed: want more than 0")
	}
	srv, err := runpodtest.NewServer(simulated(speed))
	if err != nil {
		return nil, nil, err
	}
	opts, err = optionsFor(srv, speed)
	return opts, func() { srv.Close() }, err
}

func simulated(speed float64) runpodtest.Config {
	return runpodtest.Config{
		Speed: speed, MaxWorkers: 3, IdleTimeout: time.Minute,
		ColdStart:   runpodtest.Range(130*time.Second, 150*time.Second),
		ServiceTime: runpodtest.Range(10*time.Second, 15*time.Second),
		Handler:     func(w runpodtest.Worker) http.Handler { return worker.TryOn(w.VolumeDir, nil) },
	}
}

// optionsFor are those of a Client on the simulated endpoint.
func optionsFor(srv *runpodtest.Server, speed float64) ([]runpod.Option, error) {
	plane, err := control.New(control.WithAPIKey(srv.APIKey), control.WithURL(srv.ControlURL), control.WithDialContext(srv.DialContext))
	if err != nil {
		return nil, err
	}
	return []runpod.Option{
		runpod.WithEndpoint(srv.EndpointURL), runpod.WithAPIKey(srv.APIKey), runpod.WithControl(plane.For(srv.EndpointID)),
		runpod.WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), runpod.WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		runpod.WithDialContext(srv.DialContext), runpod.WithRetryPolicy(runpod.DefaultRetryPolicy().Scaled(1 / speed)),
	}, nil
}
