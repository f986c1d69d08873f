// Package fleettest has what tests of fleets share: processes that can be killed,
// and a network that can be cut.
package fleettest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

// roleVariable is the environment's variable with the role.
const roleVariable = "FLEET_TEST_ROLE"

// Role is what a process is told. A test's binary plays it, see [Main].
type Role struct {
	Engine       string // the folder of an engine to run; "": work
	Listen       string
	URL, Token   string // of the engine to work for
	Endpoint     string
	APIKey, Name string
	Slots        int
}

// Main is what TestMain calls: it plays a role if this process was started for
// one, otherwise it runs the tests.
func Main(m *testing.M) {
	text := os.Getenv(roleVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var r Role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		panic(err)
	}
	if err := r.play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play runs until the process is killed or its standard input ends with the
// test's process.
func (r Role) play() error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	if r.Engine != "" {
		srv, err := embedded.Start(r.Engine, embedded.Listen(r.Listen), embedded.Token(r.Token))
		if err != nil {
			return err
		}
		fmt.Println("ready")
		<-ctx.Done()
		return srv.Close()
	}
	conn, err := nats.Connect(r.URL, nats.Token(r.Token))
	if err != nil {
		return err
	}
	f, err := fleet.Open(ctx, conn, fleet.Config{Name: "test"})
	if err != nil {
		return err
	}
	client, err := runpod.New(runpod.WithEndpoint(r.Endpoint), runpod.WithAPIKey(r.APIKey))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return f.Work(ctx, client, fleet.Slots(r.Slots), fleet.MachineName(r.Name))
}

// Process is a role that runs.
type Process struct {
	*exec.Cmd
	ended chan struct{}
}

// Start starts a process and returns when it is ready. It is killed at the test's
// end at the latest.
func (r Role) Start(t testing.TB) *Process {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{Cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.Env = append(os.Environ(), roleVariable+"="+string(text))
	p.Stderr = os.Stderr
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("the process says %q: %v", line, err)
	}
	go func() {
		p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		stdin.Close()
		p.Kill()
	})
	return p
}

// Kill kills the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	p.Process.Kill()
	<-p.ended
}

// FreePort is an address that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
