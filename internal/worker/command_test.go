//go:build unix

package worker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// TestMain is also the programs that the tests run as processes.
func TestMain(m *testing.M) {
	switch {
	case Mind():
	case os.Getenv("WORKER_TEST") == "serve":
		serve()
	case os.Getenv("WORKER_TEST") == "refuse":
		http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	case os.Getenv("WORKER_TEST") == "simulate":
		simulate()
	default:
		os.Exit(m.Run())
	}
}

// serve is a worker: it loads for a while and can die.
func serve() {
	began := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("/ping", func(w http.ResponseWriter, r *http.Request) {
		if time.Since(began) < 300*time.Millisecond {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("serving", r.URL.Path)
		fmt.Fprint(w, os.Getenv("RUNPOD_POD_ID"), " ", os.Getenv("RUNPOD_VOLUME_DIR"), " ", os.Getenv("GIVEN"))
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}

// logs is an io.Writer that can be read meanwhile.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// self is a command that runs this program in a role.
func self(t *testing.T, role string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "WORKER_TEST=" + role + " exec " + shellQuote(exe)
}

// start is a simulated endpoint with a command's workers.
func start(t *testing.T, c *Command, cfg runpodtest.Config) *runpodtest.Server {
	t.Helper()
	cfg.Loopback, cfg.Start, cfg.ColdStart = true, c.Start, runpodtest.Fixed(0)
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		c.Wait()
	})
	c.Open([]string{"GIVEN=environment"})
	return srv
}

func get(t *testing.T, srv *runpodtest.Server, path string) (status int, worker, body string) {
	t.Helper()
	req, err := http.NewRequest("GET", srv.EndpointURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id"), string(b)
}

// A process becomes a worker once it has loaded; its death is the worker's crash.
func TestCommandIsAWorker(t *testing.T) {
	out := &logs{}
	c := NewCommand(self(t, "serve"))
	c.Logs = out
	srv := start(t, c, runpodtest.Config{MaxWorkers: 1})
	status, id, body := get(t, srv, "/hello")
	if want := id + " " + srv.VolumeDir + " environment"; status != 200 || body != want {
		t.Errorf("%d %q, want %q", status, body, want)
	}
	if w := srv.Workers()[0]; w.Ready < 300*time.Millisecond {
		t.Errorf("ready after %v, while it was loading", w.Ready)
	}
	if status, died, _ := get(t, srv, "/die"); status != 502 || died != id {
		t.Errorf("a process that dies: %d from %q", status, died)
	}
	if status, next, _ := get(t, srv, "/again"); status != 200 || next == id {
		t.Errorf("afterwards: %d from %q", status, next)
	}
	srv.Close()
	c.Wait()
	for _, want := range []string{"[" + id + "] serving /hello\n", "[" + id + "] ended with exit status 3\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if all := srv.Workers(); all[0].End != "crashed" || all[1].End != "closed" {
		t.Errorf("workers %+v", all)
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		_, state, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(state, "Z")
	}
	return syscall.Kill(pid, 0) == nil
}

// gone waits until none of the processes runs.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(20 * time.Second); alive(pid); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				syscall.Kill(pid, syscall.SIGKILL)
				t.Errorf("process %d is still there", pid)
				break
			}
		}
	}
}

// pidsIn reads the process ids that commands wrote to a folder.
func pidsIn(t *testing.T, dir string, n int) (pids []int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); len(pids) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d process ids, want %d", len(pids), n)
		}
		pids = pids[:0]
		files, _ := filepath.Glob(filepath.Join(dir, "pid*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// stubborn is a command that ignores SIGTERM, with a child that does too.
func stubborn(dir string) string {
	return fmt.Sprintf(`trap '' TERM; cd %s; sh -c 'echo $$ > pid.child-{id}; while :; do sleep 1; done' & echo $$ > pid.{id}; while :; do sleep 1; done`, shellQuote(dir))
}

// A program that ends in good order is given the time for it, also behind a shell.
func TestGoodOrder(t *testing.T) {
	dir := t.TempDir()
	c := NewCommand(fmt.Sprintf(`cd %s && sh -c 'trap "sleep 1; echo done > pid.{id}; exit" TERM; echo $$ > started; while :; do sleep 0.1; done'; :`, shellQuote(dir)))
	srv := start(t, c, runpodtest.Config{MinWorkers: 1})
	for range 1000 {
		if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	srv.Close()
	c.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, "pid.*")); len(left) != 1 {
		t.Error("it was killed while it ended")
	}
}

// What ignores SIGTERM gets SIGKILL, its children too.
func TestNothingIsLeftAfterClose(t *testing.T) {
	dir := t.TempDir()
	c := NewCommand(stubborn(dir))
	c.Grace = 200 * time.Millisecond
	srv := start(t, c, runpodtest.Config{MinWorkers: 2})
	pids := pidsIn(t, dir, 4)
	srv.Close()
	c.Wait()
	gone(t, pids)
}

// simulate is a simulator that is going to be killed.
func simulate() {
	c := NewCommand(stubborn(os.Getenv("WORKER_TEST_DIR")))
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, MinWorkers: 2, Start: c.Start})
	if err != nil {
		panic(err)
	}
	c.Open(nil)
	fmt.Println(srv.EndpointURL)
	select {}
}

// Nothing is left running when the simulator itself is killed, not even what its
// processes started.
func TestNothingIsLeftAfterTheSimulatorIsKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sim := exec.Command(exe)
	sim.Env = append(os.Environ(), "WORKER_TEST=simulate", "WORKER_TEST_DIR="+dir)
	out, err := sim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "http://") {
		t.Fatalf("%q, %v", line, err)
	}
	pids := pidsIn(t, dir, 4)
	sim.Process.Kill()
	sim.Wait()
	gone(t, pids)
}

// What cannot be a worker is reported with what to do.
func TestCommandIsNoWorker(t *testing.T) {
	for name, tt := range map[string]struct {
		line string
		says []string
	}{
		"ends at once":           {"echo no module named app; exit 7", []string{"3 processes of", "exit status 7 before it answered 200 at /ping", "no module named app"}},
		"never answers":          {"sleep 1000", []string{"did not answer 200 at /ping within 500ms", "refused"}},
		"answers something else": {self(t, "serve"), []string{"did not answer 200 at /nothing within", "last answer was: 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewCommand(tt.line)
			c.StartTimeout = 500 * time.Millisecond
			if strings.Contains(tt.says[0], "/nothing") {
				c.Health, c.Line, c.StartTimeout = "/nothing", strings.Replace(tt.line, "=serve", "=refuse", 1), 3*time.Second
			}
			failed := make(chan error, 1)
			var times atomic.Int32
			c.Fail = func(err error) {
				times.Add(1)
				failed <- err
			}
			srv := start(t, c, runpodtest.Config{MinWorkers: 3})
			var err error
			select {
			case err = <-failed:
			case <-time.After(20 * time.Second):
				t.Fatal("nobody was told")
			}
			srv.Close()
			c.Wait()
			for _, want := range tt.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
			if times.Load() != 1 {
				t.Errorf("told %d times", times.Load())
			}
		})
	}
}

func TestCommandCheck(t *testing.T) {
	for line, ok := range map[string]bool{
		"sh -c true": true, "A=b anything": true, "cd /tmp && ls": true, "no-such-program --port {port}": false, "  ": false,
	} {
		if err := NewCommand(line).Check(); ok != (err == nil) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// A worker that is stopped while it starts is no failure.
func TestStoppedWhileStarting(t *testing.T) {
	c := NewCommand("sleep 1000")
	c.Fail = func(err error) { t.Error(err) }
	srv := start(t, c, runpodtest.Config{MinWorkers: 1})
	time.Sleep(300 * time.Millisecond)
	srv.Close()
	c.Wait()
	if w := srv.Workers()[0]; w.End != "closed" {
		t.Errorf("%+v", w)
	}
	early := NewCommand("sleep 1000") // not even open
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := early.Start(runpodtest.Worker{Context: ctx}); err == nil {
		t.Error("it started")
	}
}
