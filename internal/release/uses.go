package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// uses has one real use of each command, by its name: it fails unless the
// program does what it is for.
var uses = map[string]func(ctx context.Context, program string) error{
	"runpod-burst":   useBurst,
	"runpod-fleet":   useFleet,
	"runpod-sim":     useSim,
	"runpod-workers": useWorkers,
}

// useBurst sends a small burst to the simulated endpoint.
func useBurst(ctx context.Context, program string) error {
	dir, err := os.MkdirTemp("", "burst-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := dir + "/burst.html"
	if text, err := combined(ctx, program, "-requests", "6", "-concurrency", "3", "-speed", "2000", "-q", "-report", report); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(text, 20))
	}
	page, err := os.ReadFile(report)
	if err == nil && !bytes.Contains(page, []byte("<html")) {
		err = errors.New("the report is no page")
	}
	return err
}

// useSim starts the simulated endpoint and stops it when it has said where it
// serves.
func useSim(ctx context.Context, program string) error {
	return whileServing(ctx, program, []string{"-speed", "100"}, func([]string) error { return nil })
}

// useFleet serves an empty fleet and asks how it stands.
func useFleet(ctx context.Context, program string) error {
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return whileServing(ctx, program, []string{"serve", "-dir", dir, "-listen", "127.0.0.1:0"}, func(env []string) error {
		text, err := combinedIn(ctx, env, program, "status")
		if err != nil || !strings.Contains(text, "done") {
			return fmt.Errorf("status: %v\n%s", err, tail(text, 20))
		}
		return nil
	})
}

// useWorkers lists the workers of an endpoint that its neighbour simulates.
func useWorkers(ctx context.Context, program string) error {
	sim := strings.TrimSuffix(program, "workers") + "sim"
	return whileServing(ctx, sim, []string{"-speed", "100"}, func(env []string) error {
		text, err := combinedIn(ctx, env, program, "list", "-endpoint", "twin")
		if err != nil || !strings.Contains(text, "workers") {
			return fmt.Errorf("list: %v\n%s", err, tail(text, 20))
		}
		return nil
	})
}

// whileServing runs do while a program serves, with the environment that it
// prints, and interrupts it then.
func whileServing(ctx context.Context, program string, args []string, do func(env []string) error) error {
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	env, rest := readExports(out)
	err = do(env)
	if len(env) == 0 {
		err = errors.New("it printed no environment")
	}
	cmd.Process.Signal(os.Interrupt)
	<-rest
	if waited := cmd.Wait(); err == nil {
		err = exitOfInterrupt(waited)
	}
	return err
}

// readExports reads the lines "export NAME=value" that a server begins with, until nothing new has come for a moment, and goes on reading what
// follows.
func readExports(out interface{ Read([]byte) (int, error) }) ([]string, <-chan struct{}) {
	found, rest := make(chan string), make(chan struct{})
	go func() {
		defer close(found)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			line := strings.TrimSpace(scanner.Text())
			if pair, ok := strings.CutPrefix(line, "export "); ok {
				found <- strings.ReplaceAll(strings.ReplaceAll(pair, "'", ""), `"`, "")
			}
		}
		close(rest)
	}()
	var env []string
	patience := 20 * time.Second // for the first line
	for {
		select {
		case pair, ok := <-found:
			if !ok {
				return env, rest
			}
			env, patience = append(env, pair), time.Second
		case <-time.After(patience):
			go func() {
				for range found {
				}
			}()
			return env, rest
		}
	}
}

// exitOfInterrupt takes an end by the interrupt that we sent for a good one.
func exitOfInterrupt(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && (status.Signal() == syscall.SIGINT || status.ExitStatus() == 130) {
			return nil
		}
	}
	return err
}

func combined(ctx context.Context, program string, args ...string) (string, error) {
	return combinedIn(ctx, nil, program, args...)
}

func combinedIn(ctx context.Context, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	return string(text), err
}
