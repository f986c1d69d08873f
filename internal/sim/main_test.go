package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/worker"
)

// TestMain is also a worker's process.
func TestMain(m *testing.M) {
	switch {
	case worker.Mind():
	case os.Getenv("SIM_TEST") == "serve":
		fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, os.Getenv("RUNPOD_ENDPOINT_ID"), " ", os.Getenv("RUNPOD_POD_ID"), " ", os.Getenv("RUNPOD_API_KEY"), " ", os.Getenv("RUNPOD_ENDPOINT_URL"))
		})))
	default:
		os.Exit(m.Run())
	}
}

// running is a command that serves.
type running struct {
	started
	t    *testing.T
	stop context.CancelFunc
	out  *bytes.Buffer
	done chan error
}

// launch runs the command until it serves.
func launch(t *testing.T, args ...string) *running {
	t.Helper()
	env := filepath.Join(t.TempDir(), "env")
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, stop: stop, out: &bytes.Buffer{}, done: make(chan error, 1)}
	t.Cleanup(stop)
	go func() { r.done <- run(ctx, append([]string{"-json", "-env", env}, args...), r.out, io.Discard) }()
	for {
		select {
		case err := <-r.done:
			t.Fatalf("it ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if _, err := os.Stat(env); err == nil {
			break
		}
	}
	return r
}

// end interrupts the command; what it printed can be read then.
func (r *running) end() string {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
	first, rest, _ := strings.Cut(r.out.String(), "\n")
	if err := json.Unmarshal([]byte(first), &r.started); err != nil {
		r.t.Errorf("%q: %v", first, err)
	}
	return rest
}

func TestExitStatus(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"no such flag":       {[]string{"-nonesuch"}, "-nonesuch"},
		"no such worker":     {[]string{"-worker", "nonesuch"}, `-worker "nonesuch": want tryon, echo or`},
		"no such program":    {[]string{"-exec", "nonesuch --port {port}"}, `-exec: the command cannot start: exec: "nonesuch"`},
		"two workers":        {[]string{"-exec", "true", "-worker", "echo"}, "leave one of them out"},
		"no command":         {[]string{"-exec", " "}, "-exec is empty"},
		"no server":          {[]string{"-worker", "http://127.0.0.1:1"}, "start yours first"},
		"no path":            {[]string{"-health", "ping"}, "-health"},
		"preset and -max":    {[]string{"-exec", "true", "-preset", "run2", "-max", "9"}, "-max contradicts -preset"},
		"no folder for -env": {[]string{"-env", filepath.Join(dir, "none", "env")}, "-env: "},
		"-env is a folder":   {[]string{"-env", dir}, "is no file"},
		"no account":         {[]string{"-account", filepath.Join(dir, "none", "account")}, "-account: "},
		"no volume":          {[]string{"-volume", filepath.Join(dir, "none")}, "-volume: "},
		"port in use":        {[]string{"-addr", taken.Addr().String()}, "address already in use"},
		"never healthy":      {[]string{"-min", "1", "-exec", "sleep 100", "-start-timeout", "300ms"}, "did not answer 200 at /ping within 300ms"},
		"worker ends":        {[]string{"-min", "3", "-exec", "echo no app; exit 1"}, "never became workers"},
		"bad id":             {[]string{"-endpoint-id", "a/b"}, "-endpoint-id"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(tt.says, "wor") {
				t.Skip("processes as workers need a Unix")
			}
			var stderr bytes.Buffer
			status := make(chan int, 1)
			go func() { status <- Main(tt.args, io.Discard, &stderr) }()
			select {
			case got := <-status:
				if got != 2 || !strings.Contains(stderr.String(), tt.says) {
					t.Errorf("status %d, %s", got, stderr.String())
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it serves")
			}
		})
	}
	var stdout bytes.Buffer
	if got := Main([]string{"-h"}, &stdout, io.Discard); got != 0 || !strings.Contains(stdout.String(), "-exec") {
		t.Errorf("-h: status %d, %s", got, stdout.String())
	}
}

// A process of one's own knows where it is, and is told nothing of a real
// endpoint.
func TestExecServes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("processes as workers need a Unix")
	}
	t.Setenv("RUNPOD_API_KEY", "rpa_real")
	t.Setenv("RUNPOD_ENDPOINT_URL", "https://real.api.runpod.ai")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	account := filepath.Join(t.TempDir(), "account")
	addr := fixedPort(t)
	r := launch(t, "-exec", "SIM_TEST=serve exec "+shellQuote(exe), "-endpoint-id", "mine", "-addr", addr, "-account", account)
	body := call(t, "http://"+addr, apiKeyOfSeed0)
	end := r.end()
	if r.EndpointID != "mine" || r.EndpointURL != "http://"+addr || r.Unset[0] != "RUNPOD_ENDPOINT_ID" || !strings.Contains(end, `"Succeeded":1`) {
		t.Errorf("%+v, %s", r.started, end)
	}
	if lines, err := os.ReadFile(account); err != nil || bytes.Count(lines, []byte("\n")) != 3 {
		t.Errorf("the account: %s, %v", lines, err)
	}
	if want := "mine " + firstWorkerOfSeed0 + " " + apiKeyOfSeed0 + " "; body != want {
		t.Errorf("the process says %q, want %q", body, want)
	}
}

// What the seed 0 makes.
const (
	apiKeyOfSeed0      = "rpa_sh5yd7o065insvf7mbixfc8kr7rycemfupiocyda"
	firstWorkerOfSeed0 = "jrulr1cj778dtz"
)

// fixedPort returns an address with four free ports from it on.
func fixedPort(t *testing.T) string {
	t.Helper()
	for port := 21700; port < 30000; port += 4 {
		var open []net.Listener
		for i := range 4 {
			if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+i)); err == nil {
				open = append(open, l)
			}
		}
		for _, l := range open {
			l.Close()
		}
		if len(open) == 4 {
			return "127.0.0.1:" + strconv.Itoa(port)
		}
	}
	t.Fatal("no free ports")
	return ""
}

func call(t *testing.T, base, key string) string {
	t.Helper()
	req, err := http.NewRequest("GET", base+"/where", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// A shell with a real endpoint's variables reads the environment: nothing of the
// real endpoint is left to compete.
func TestEnvironmentCannotBeOverruled(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"addresses": {nil, "id= url=http://127.0.0.1 jobs=http://127.0.0.1 token= proxy=other"},
		"proxy":     {[]string{"-proxy"}, "id=twin url= jobs= token= proxy=http://127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			env := filepath.Join(t.TempDir(), "the env")
			os.WriteFile(env, []byte("echo stale\n"), 0o600)
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := run(ctx, append([]string{"-quiet", "-env", env}, tt.args...), io.Discard, io.Discard); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(sh, "-c", `. "$0"; echo "id=$RUNPOD_ENDPOINT_ID url=${RUNPOD_ENDPOINT_URL%:*} jobs=${RUNPOD_JOBS_URL%:*} token=$AWS_SESSION_TOKEN proxy=${https_proxy%:*}"`, env)
			cmd.Env = append(os.Environ(), "RUNPOD_ENDPOINT_ID=real", "RUNPOD_ENDPOINT_URL=https://real.api.runpod.ai",
				"RUNPOD_JOBS_URL=https://api.runpod.ai/v2/real", "https_proxy=other:1")
			if name == "proxy" {
				cmd.Env = append(cmd.Env, "AWS_SESSION_TOKEN=real")
			}
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestQuietPrintsNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out bytes.Buffer
	if err := run(ctx, []string{"-quiet"}, &out, &out); err != nil || out.Len() > 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}
