package clients

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

const (
	wantedEnv    = "RUNPOD_TEST_CLIENTS" // set: start other people's programs
	namespaceEnv = "RUNPOD_TEST_CLIENTS_NAMESPACE"
	programsEnv  = "RUNPOD_TEST_CLIENTS_PROGRAMS"
	noLoopback   = 97
)

// TestMain builds what the tests run of this repository, and runs the tests in a network namespace if it can.
func TestMain(m *testing.M) {
	if os.Getenv(namespaceEnv) != "" {
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(noLoopback)
		}
		os.Exit(m.Run())
	}
	if flag.Parse(); !wanted() {
		os.Exit(m.Run()) // they are all skipped
	}
	os.Exit(built(m))
}

// wanted reports whether other people's programs are started: they take minutes,
// and one burst of theirs is a draw.
func wanted() bool { return !testing.Short() && os.Getenv(wantedEnv) != "" }

func built(m *testing.M) int {
	dir, err := os.MkdirTemp("", "runpod-sim-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/runpod-sim", "../../examples/quickstart").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	os.Setenv(programsEnv, dir)
	if status, ok := inNamespace(); ok {
		return status
	}
	return m.Run()
}

// simulator is a runpod-sim that runs.
type simulator struct {
	Env   map[string]string
	Unset []string
	Files struct {
		CA          string
		S3cmd       string `json:"s3cmd_config"`
		NodePreload string `json:"node_preload"`
	}
	VolumeDir  string `json:"volume_dir"`
	EndpointID string `json:"endpoint_id"`

	cmd     *exec.Cmd
	out     *bufio.Reader
	home    string
	account string
}

// program is the path of a program of this repository.
func program(name string) string { return filepath.Join(os.Getenv(programsEnv), name) }

// simulate starts runpod-sim -proxy.
func simulate(t *testing.T, args ...string) *simulator {
	t.Helper()
	return start(t, append([]string{"-proxy"}, args...)...)
}

// start starts runpod-sim.
func start(t *testing.T, args ...string) *simulator {
	t.Helper()
	if !wanted() {
		t.Skip("it takes minutes; .ci/run clients starts it, and so does " + wantedEnv + "=1")
	}
	s := &simulator{home: t.TempDir()}
	s.account = filepath.Join(s.home, "account.jsonl")
	s.cmd = exec.Command(program("runpod-sim"), append([]string{"-json", "-account", s.account}, args...)...)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	s.out = bufio.NewReader(out)
	line, err := s.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, s)
	}
	if err != nil {
		t.Fatalf("runpod-sim printed %q: %v", line, err)
	}
	return s
}

// environ is a client's environment: what runpod-sim printed, and no more than
// that.
func (s *simulator) environ(without ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "LANG=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true"}
	if root := os.Getenv("PYENV_ROOT"); root != "" {
		env = append(env, "PYENV_ROOT="+root)
	}
	for name, value := range s.Env {
		if !slices.Contains(without, name) {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// run starts a client, waits for its end and returns what it printed.
func (s *simulator) run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = env, s.home
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ended is what runpod-sim says at its end.
type ended struct {
	Totals  runpodtest.Stats
	Passed  map[string]int `json:"proxy_passed"`
	Refused map[string]int `json:"proxy_refused"`
}

// end interrupts runpod-sim and checks that no client went around its proxy: all
// requests came through it, and only hosts named in tried were asked for besides.
func (s *simulator) end(t *testing.T, tried ...string) ended {
	t.Helper()
	s.cmd.Process.Signal(os.Interrupt)
	var e ended
	rest, _ := io.ReadAll(s.out)
	if err := json.Unmarshal(rest, &e); err != nil {
		t.Fatalf("runpod-sim printed %q: %v", rest, err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("runpod-sim ended with %v", err)
	}
	for host := range e.Refused {
		if !slices.Contains(tried, host) {
			t.Errorf("the client tried to reach %s", host)
		}
	}
	s3, endpoint, control := 0, 0, 0
	for host, n := range e.Passed {
		switch {
		case strings.HasPrefix(host, "s3api-"):
			s3 += n
		case host == "api.runpod.io", host == "rest.runpod.io":
			control += n
		case host != "api.runpod.ai":
			endpoint += n
		}
	}
	if s3 != e.Totals.S3Requests || endpoint != e.Totals.Requests || control != e.Totals.ControlRequests {
		t.Errorf("through the proxy %v, but served in all: %d S3, %d endpoint, %d control plane",
			e.Passed, e.Totals.S3Requests, e.Totals.Requests, e.Totals.ControlRequests)
	}
	return e
}

// need returns the path of a program, or skips the test.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; .ci/clients installs it", name)
	}
	return path
}

// python returns an interpreter that has the modules, or skips the test.
func python(t *testing.T, modules string) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import "+modules).Run() == nil {
			return name
		}
	}
	t.Skipf("no python3 has %s; .ci/clients installs it", modules)
	return ""
}

// testdata returns the absolute path of a file.
func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNothingElseIsReachable shows that the namespace is one.
func TestNothingElseIsReachable(t *testing.T) {
	if os.Getenv(namespaceEnv) == "" {
		t.Skip("no network namespace here: that no client went around the proxy is shown by its counts alone")
	}
	conn, err := net.DialTimeout("tcp", "192.0.2.1:443", 5*time.Second)
	if err == nil {
		conn.Close()
		t.Error("1.1.1.1:443 answers")
	}
}
