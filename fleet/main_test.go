package fleet_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

// Tests that kill a process start this binary again in a role.
const roleVariable = "FLEET_TEST_ROLE"

// role is what such a process is told.
type role struct {
	Engine       string // the folder of an engine to run; "": work
	Listen       string
	URL, Token   string // of the engine to work for
	Endpoint     string
	APIKey, Name string
	Slots        int
}

func TestMain(m *testing.M) {
	text := os.Getenv(roleVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
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
func (r role) play() error {
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

// process is a role that runs.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// start starts a process and returns when it is ready.
func (r role) start(t testing.TB) *process {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
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
		p.kill()
	})
	return p
}

// kill kills the process with SIGKILL and waits for its end.
func (p *process) kill() {
	p.Process.Kill()
	<-p.ended
}

// freePort is an address that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wire is a connection to an engine that a test can cut: a proxy.
type wire struct {
	net.Listener
	to     string
	change func([]byte) []byte // what clients send, as it goes on

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t testing.TB, to string, change func([]byte) []byte) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: strings.TrimPrefix(to, "nats://"), change: change}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); w.set(true) })
	return w
}

func (w *wire) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	w.conns = append(w.conns, c, s)
	w.mu.Unlock()
	go w.copy(c, s, nil)
	w.copy(s, c, w.change)
}

// copy loses everything while the wire is cut, and closes nothing: neither end
// is told.
func (w *wire) copy(to, from net.Conn, change func([]byte) []byte) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut {
			continue
		}
		b := buf[:n]
		if change != nil {
			b = change(b)
		}
		if _, err := to.Write(b); err != nil {
			return
		}
	}
}

// set cuts the wire, or mends it: what was open then breaks, since bytes were
// lost on it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if !cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

func (w *wire) connect(t testing.TB, srv *embedded.Server) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("nats://"+w.Addr().String(), nats.Token(srv.Token()), nats.PingInterval(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}
