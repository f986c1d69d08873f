package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/gpuburst/runpod-go/fleet"
)

// workerVariable is the environment's variable that makes this program a worker;
// what a worker must know comes by its standard input, where nobody sees it.
const workerVariable = "RUNPOD_FLEET_EXAMPLE_WORKER"

// order is what a worker is told.
type order struct {
	Settings         settings
	URL, Token, Name string
}

// crew is the worker processes. It is safe for concurrent use.
type crew struct {
	settings   settings
	url, token string

	mu      sync.Mutex
	out     io.Writer
	members map[string]*exec.Cmd
}

// Write writes a whole line between those of others.
func (c *crew) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(line)
}

func (c *crew) start(names ...string) error {
	for _, name := range names {
		text, err := json.Marshal(order{c.settings, c.url, c.token, name})
		if err != nil {
			return err
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerVariable+"=1")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(text), c
		if err := cmd.Start(); err != nil {
			return err
		}
		c.mu.Lock()
		if c.members == nil {
			c.members = map[string]*exec.Cmd{}
		}
		c.members[name] = cmd
		c.mu.Unlock()
		fmt.Fprintf(c, "      + %s is process %d\n", name, cmd.Process.Pid)
	}
	return nil
}

// kill kills a process, which has no chance to tell anybody.
func (c *crew) kill(name string) error {
	c.mu.Lock()
	cmd := c.members[name]
	delete(c.members, name)
	c.mu.Unlock()
	fmt.Fprintf(c, "      - %s is killed (SIGKILL)\n", name)
	err := cmd.Process.Kill()
	_ = cmd.Wait() // "signal: killed"
	return err
}

// end has the processes finish, and waits for them.
func (c *crew) end() {
	c.mu.Lock()
	members := c.members
	c.mu.Unlock()
	for _, cmd := range members {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range members {
		_ = cmd.Wait()
	}
}

// work is a worker's process: all that a machine of a fleet has to do.
func work(ctx context.Context, _ io.Writer) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	client, err := o.Settings.client()
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := nats.Connect(o.URL, nats.Token(o.Token))
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := fleet.Open(ctx, conn, fleet.Config{Name: "tryon"})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Work(ctx, client, fleet.Slots(slots), fleet.MachineName(o.Name))
}
