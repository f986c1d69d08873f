package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Command runs a process for each worker. Its fields are set before its first
// use; its methods are safe for concurrent use.
type Command struct {
	// Line is a shell's command. {port}, {volume} and {id} in it stand for the port
	// to listen on, the volume's folder and the worker's id.
	Line string

	// Health is the path that answers 200 when the worker is ready. 204 means that
	// it is still loading.
	Health string

	// StartTimeout is how long a process may take to become ready.
	StartTimeout time.Duration

	// Grace is how long a process may take to end after SIGTERM, before SIGKILL.
	Grace time.Duration

	// Logs gets the output of the processes, each line after its worker's id. It is
	// safe for concurrent use.
	Logs io.Writer

	// Fail is called, once, when the command cannot be a worker: the first processes
	// all end before they are ready, or one is not ready in time.
	Fail func(error)

	env      []string
	envKnown chan struct{}
	tasks    sync.WaitGroup
	minder   minder

	mu      sync.Mutex
	ready   bool // some process was
	failed  int  // processes that ended before any was ready
	failing sync.Once
}

// maxFailures is how many processes may end before any was ready.
const maxFailures = 3

// Check returns an error if the command's program is not there.
func (c *Command) Check() error {
	program, plain := c.program()
	if program == "" && plain {
		return errors.New("the command is empty")
	}
	if !plain {
		return nil // the shell's business
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("the command cannot start: %w", err)
	}
	return nil
}

// program is the first word of the command; plain is false if that is something
// only the shell understands.
func (c *Command) program() (word string, plain bool) {
	words := strings.Fields(c.Line)
	if len(words) == 0 {
		return "", true
	}
	return words[0], plainWord.MatchString(words[0]) && !strings.Contains(words[0], "=") && !shellWord[words[0]]
}

// shellWord are commands that are no programs.
var shellWord = map[string]bool{"exec": true, "cd": true, ".": true, "ulimit": true, "umask": true, "trap": true, "if": true, "while": true, "for": true, "set": true}

// Open lets processes start, with env added to the environment of each.
func (c *Command) Open(env []string) {
	c.env = env
	close(c.envKnown)
}

// NewCommand returns a Command that waits for Open.
func NewCommand(line string) *Command {
	return &Command{
		Line: line, Health: "/ping", StartTimeout: 5 * time.Minute, Grace: 5 * time.Second,
		Logs: io.Discard, Fail: func(error) {}, envKnown: make(chan struct{}),
	}
}

// Start is a runpodtest.Config.Start: it starts a process and returns when its
// health path answers 200.
func (c *Command) Start(w runpodtest.Worker) (http.Handler, error) {
	select {
	case <-c.envKnown:
	case <-w.Context.Done():
		return nil, context.Cause(w.Context)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := c.launch(w, port)
	if err != nil {
		c.fail(fmt.Errorf("worker %s: %w", w.ID, err))
		return nil, err
	}
	base := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if err := c.await(w, p, base.JoinPath(c.Health).String()); err != nil {
		return nil, err
	}
	return forward(w, base, c.Logs, p.dead), nil
}

// Wait returns when no process is left. No worker may be alive by then.
func (c *Command) Wait() {
	c.tasks.Wait()
	c.minder.close()
}

func (c *Command) fail(err error) { c.failing.Do(func() { c.Fail(err) }) }

// launch starts a process and sees to its end: with its worker, or before it.
func (c *Command) launch(w runpodtest.Worker, port int) (*process, error) {
	line := strings.NewReplacer("{port}", strconv.Itoa(port), "{volume}", shellQuote(w.VolumeDir), "{id}", w.ID).Replace(c.Line)
	if _, plain := c.program(); plain && !strings.ContainsAny(line, ";&|<>()`\n") {
		line = "exec " + line // no shell remains between us and the program
	}
	env := append(slices.Clone(c.env), "PORT="+strconv.Itoa(port), "PORT_HEALTH="+strconv.Itoa(port), "RUNPOD_POD_ID="+w.ID, "RUNPOD_VOLUME_DIR="+w.VolumeDir)
	p, err := startProcess(line, env, c.Logs, w.ID, &c.minder)
	if err != nil {
		return nil, err
	}
	c.tasks.Go(func() {
		select {
		case <-p.dead:
			if p.ready.Load() { // else Start returns the error
				w.Crash()
			}
			<-p.ended
			fmt.Fprintf(c.Logs, "[%s] %s\n", w.ID, p.how())
		case <-w.Context.Done():
		}
		p.stop(c.Grace)
	})
	return p, nil
}

// await polls the health path until it answers 200.
func (c *Command) await(w runpodtest.Worker, p *process, health string) error {
	ctx, cancel := context.WithTimeoutCause(w.Context, c.StartTimeout, errNotReady)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	last := "nothing"
	for pause := 50 * time.Millisecond; ; pause = min(pause*3/2, time.Second) {
		select {
		case <-p.ended:
			return c.neverReady(p)
		case <-ctx.Done():
			return c.late(ctx, w, last)
		case <-time.After(pause):
		}
		status, err := ask(ctx, client, health)
		switch {
		case status == http.StatusOK:
			c.mu.Lock()
			c.ready = true
			c.mu.Unlock()
			p.ready.Store(true)
			return nil
		case err == nil:
			last = strconv.Itoa(status)
		case ctx.Err() == nil:
			last = err.Error()
		}
	}
}

var errNotReady = errors.New("not ready in time")

// neverReady counts a process that ended before it was ready.
func (c *Command) neverReady(p *process) error {
	c.mu.Lock()
	c.failed++
	hopeless := !c.ready && c.failed >= maxFailures
	c.mu.Unlock()
	err := fmt.Errorf("%s before it answered 200 at %s", p.how(), c.Health)
	if hopeless {
		c.fail(fmt.Errorf("%d processes of %q never became workers; the last one %w%s", maxFailures, c.Line, err, p.lastWords()))
	}
	return err
}

// late is the error of a process that was not ready in time, or whose worker was
// stopped before.
func (c *Command) late(ctx context.Context, w runpodtest.Worker, last string) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errNotReady) {
		c.fail(fmt.Errorf("worker %s: %q did not answer 200 at %s within %v; the last answer was: %s", w.ID, c.Line, c.Health, c.StartTimeout, last))
	}
	return cause
}

// ask returns the status of a GET.
func ask(ctx context.Context, client *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// freePort returns a port of loopback that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_/.:=@%+,-]+$`)

// shellQuote returns a word as a shell reads it back.
func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
