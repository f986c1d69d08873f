//go:build unix

package worker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a shell's command and its children: one process group.
type process struct {
	cmd    *exec.Cmd
	minder *minder
	ready  atomic.Bool   // it has answered 200
	dead   chan struct{} // closed when the command has ended
	ended  chan struct{} // closed when its output is read too
	output *prefixed
	err    error
}

// startProcess starts a command in a process group of its own. env is added to
// this process's environment.
func startProcess(line string, env []string, logs io.Writer, name string, m *minder) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command("/bin/sh", "-c", line), minder: m, dead: make(chan struct{}), ended: make(chan struct{}), output: &prefixed{to: logs, name: name}}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)
	if err := m.open(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	started := make(chan error)
	go p.live(r, w, started)
	if err := <-started; err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go p.output.copy(r)
	return p, nil
}

// live starts the command and waits for its end. w is the end of the output's
// pipe that the command gets, r the other one.
func (p *process) live(r, w *os.File, started chan<- error) {
	// The parent-death signal is sent when the thread that started the process
	// ends: this one lives as long as the process.
	runtime.LockOSThread()
	err := p.cmd.Start()
	w.Close()
	if err != nil {
		started <- err
		return
	}
	p.minder.watch(p.cmd.Process.Pid)
	started <- nil
	p.err = p.cmd.Wait()
	close(p.dead)
	p.drain(r)
	close(p.ended)
}

// drain gives the output that is left a moment to be read: a grandchild may hold
// the pipe open for ever.
func (p *process) drain(r *os.File) {
	r.SetReadDeadline(time.Now().Add(time.Second))
	<-p.output.done()
	r.Close()
}

// stop ends the process group, by SIGTERM and after grace by SIGKILL, and returns
// when all of it has ended.
func (p *process) stop(grace time.Duration) {
	group := -p.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	for end := time.Now().Add(grace); syscall.Kill(group, 0) == nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the kernel tells nobody when a group is empty
	}
	syscall.Kill(group, syscall.SIGKILL)
	<-p.ended
	p.minder.forget(p.cmd.Process.Pid)
}

// how says how the command ended, as "ended with exit status 1".
func (p *process) how() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return "ended with exit status 0"
	case errors.As(p.err, &exit) && exit.ExitCode() >= 0:
		return "ended with " + exit.Error()
	}
	return "ended: " + p.err.Error()
}

// lastWords is the end of the output, for an error.
func (p *process) lastWords() string {
	if last := p.output.last(); last != "" {
		return fmt.Sprintf(" and said: %q", last)
	}
	return ""
}

// prefixed copies lines, each after a name.
type prefixed struct {
	to   io.Writer
	name string

	mu   sync.Mutex
	line string
	end  chan struct{}
}

// done returns a channel that is closed when copy has ended.
func (p *prefixed) done() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = make(chan struct{})
	}
	return p.end
}

// maxLine is where a line without an end is cut.
const maxLine = 16 << 10

func (p *prefixed) copy(r io.Reader) {
	defer close(p.done())
	in := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := in.ReadSlice('\n')
		if len(b) > 0 {
			text := strings.TrimRight(string(b), "\r\n")
			fmt.Fprintf(p.to, "[%s] %s\n", p.name, text)
			p.mu.Lock()
			p.line = text
			p.mu.Unlock()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (p *prefixed) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line[:min(len(p.line), 500)]
}
