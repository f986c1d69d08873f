package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	runpod "github.com/gpuburst/runpod-go"
)

// connect connects to the server that the environment names. What it says of a
// failure names files and hosts, never what is in them.
func connect() (*nats.Conn, error) {
	url := os.Getenv("RUNPOD_FLEET_URL")
	if url == "" {
		return nil, errors.New("RUNPOD_FLEET_URL is not set: it names the server that runpod-fleet serve has started")
	}
	opts := []nats.Option{nats.Name("runpod-fleet"), nats.MaxReconnects(-1)}
	if name := os.Getenv("RUNPOD_FLEET_TOKEN_FILE"); name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("RUNPOD_FLEET_TOKEN_FILE: %w", err)
		}
		opts = append(opts, nats.Token(strings.TrimSpace(string(b))))
	}
	if name := os.Getenv("RUNPOD_FLEET_CREDS"); name != "" {
		opts = append(opts, nats.UserCredentials(name))
	}
	if name := os.Getenv("RUNPOD_FLEET_CA"); name != "" {
		opts = append(opts, nats.RootCAs(name))
	}
	conn, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("RUNPOD_FLEET_URL: connect: %w", err)
	}
	return conn, nil
}

// newClient makes a client of the environment's settings. Where something is
// missing that a command needs, the call that needs it says so.
func newClient() (*runpod.Client, error) { return runpod.New(runpod.WithSkipExisting()) }
