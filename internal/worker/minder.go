//go:build unix

package worker

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// minder is a second process of this program that ends the process groups of the
// workers when the simulator has gone, however it went. The kernel's own signal
// reaches only the processes that the simulator started, not their children.
type minder struct {
	once sync.Once
	err  error
	cmd  *exec.Cmd

	mu   sync.Mutex
	pipe io.WriteCloser
}

// minderEnv marks the second process.
const minderEnv = "RUNPOD_SIM_MINDER"

// open starts the second process, once.
func (m *minder) open() error {
	m.once.Do(func() {
		self, err := os.Executable()
		if err != nil {
			m.err = err
			return
		}
		m.cmd = exec.Command(self)
		m.cmd.Env = append(os.Environ(), minderEnv+"=1")
		m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
		if m.pipe, m.err = m.cmd.StdinPipe(); m.err == nil {
			m.err = m.cmd.Start()
		}
	})
	return m.err
}

func (m *minder) watch(group int)  { m.tell("+", group) }
func (m *minder) forget(group int) { m.tell("-", group) }

func (m *minder) tell(what string, group int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.pipe, "%s%d\n", what, group)
}

// close ends the second process. No group may be left.
func (m *minder) close() {
	if m.cmd != nil && m.err == nil {
		m.pipe.Close()
		m.cmd.Wait()
	}
}

// Mind reports whether this process was started to end others; then it returns
// when there is nothing left to do, and the program ends. A program that uses
// Command calls it first in main.
func Mind() bool {
	if os.Getenv(minderEnv) == "" {
		return false
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	mind(os.Stdin, time.Second)
	return true
}

// mind reads which groups there are until the other end has gone, and ends those
// that are left.
func mind(r io.Reader, grace time.Duration) {
	left := map[int]bool{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		what := lines.Text()
		group, err := strconv.Atoi(what[min(1, len(what)):])
		switch {
		case err != nil || group <= 1:
		case what[0] == '+':
			left[group] = true
		default:
			delete(left, group)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		alive := false
		for group := range left {
			alive = syscall.Kill(-group, sig) == nil || alive
		}
		if alive && sig == syscall.SIGTERM {
			time.Sleep(grace)
		}
	}
}
