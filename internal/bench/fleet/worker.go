package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/gpuburst/runpod-go/fleet"
)

// workerVariable is the environment's variable that makes this program a worker.
const workerVariable = "RUNPOD_BENCH_FLEET_WORKER"

// order is what a worker is told, by its standard input.
type order struct{ URL, Token, Endpoint, APIKey string }

// startWorkers starts processes; stop has them finish and waits for them.
func startWorkers(n int, o order) (stop func(), err error) {
	var all []*exec.Cmd
	stop = sync.OnceFunc(func() {
		for _, cmd := range all {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		for _, cmd := range all {
			_ = cmd.Wait()
		}
	})
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerVariable+"=1")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
		if err := cmd.Start(); err != nil {
			stop()
			return nil, err
		}
		all = append(all, cmd)
	}
	return stop, nil
}

// work is a worker's process.
func work(ctx context.Context) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	client, err := newClient(o.Endpoint, o.APIKey)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := nats.Connect(o.URL, nats.Token(o.Token))
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := fleet.Open(ctx, conn, fleet.Config{Name: "bench"})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Work(ctx, client, fleet.Slots(inFlight))
}
