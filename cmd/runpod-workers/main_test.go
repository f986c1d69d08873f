package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// TestMain lets the test binary be the program, so that it can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("RUNPOD_WORKERS_TEST") == "" {
		os.Exit(m.Run())
	}
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		os.Exit(1)
	}
}

// world is a simulated endpoint that the environment names; withVolume says
// whether it names the network volume too.
func world(t *testing.T, withVolume bool) *runpodtest.Server {
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, ControlPerMinute: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	set := map[string]string{
		"RUNPOD_API_KEY": srv.APIKey, "RUNPOD_ENDPOINT_ID": srv.EndpointID, "RUNPOD_ENDPOINT_URL": "", "RUNPOD_CONTROL_URL": srv.ControlURL,
		"XDG_CACHE_HOME": t.TempDir(), "RUNPOD_S3_ENDPOINT_URL": "", "RUNPOD_S3_ACCESS_KEY_ID": "", "RUNPOD_S3_SECRET_ACCESS_KEY": "",
	}
	if withVolume {
		set["RUNPOD_S3_ENDPOINT_URL"], set["RUNPOD_S3_REGION"], set["RUNPOD_S3_BUCKET_NAME"] = srv.S3URL, srv.Region, srv.Bucket
		set["RUNPOD_S3_ACCESS_KEY_ID"], set["RUNPOD_S3_SECRET_ACCESS_KEY"] = srv.AccessKeyID, srv.SecretAccessKey
	}
	for name, value := range set {
		t.Setenv(name, value)
	}
	return srv
}

// lines is an output that several goroutines may use.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func do(t *testing.T, args ...string) string {
	t.Helper()
	var out lines
	if err := run(t.Context(), args, &out); err != nil {
		t.Errorf("%v: %v", args, err)
	}
	return out.String()
}

func minimum(t *testing.T, srv *runpodtest.Server, want int) {
	t.Helper()
	if got, _ := srv.WorkerBounds(); got != want {
		t.Errorf("the minimum is %d, want %d", got, want)
	}
}

func TestListAndSet(t *testing.T) {
	srv := world(t, false)
	if out := do(t, "list"); !strings.Contains(out, "minimum 0, maximum 3, idle timeout 5 s; one for every 4 requests") || !strings.Contains(out, "0 workers\n0 holds recorded") {
		t.Error(out)
	}
	if out := do(t, "set", "-min", "1", "-max", "5"); !strings.Contains(out, "minimum 1, maximum 5") {
		t.Error(out)
	}
	minimum(t, srv, 1)
	if out := do(t, "list"); !strings.Contains(out, "1 workers\n") || !strings.Contains(out, "INITIALIZING") {
		t.Error(out)
	}
	do(t, "set", "-min", "0", "-max", "0")
	if out := do(t, "list"); !strings.Contains(out, "maximum is 0 workers") {
		t.Error(out)
	}
}

// What Ready warns of is shown, and names from elsewhere move no cursor.
func TestListWarnsInPlainText(t *testing.T) {
	srv := world(t, true)
	endpoint := `{"id":"` + srv.EndpointID + `","name":"a\u001b[2Jb","type":"LOAD_BALANCER","workers":{"min":0,"max":3,"idleTimeout":5},
		"scaling":{"type":"REQUEST_COUNT","requestCount":4},"dataCenterIds":["US-KS-2"],"networkVolumes":["v1","v2"]}`
	srv.Fault(runpodtest.Fault{On: runpodtest.OnControl, Path: "*/" + srv.EndpointID, Times: runpodtest.Always, Do: runpodtest.Answer(200, endpoint)})
	out := do(t, "list")
	for _, says := range []string{"(a?[2Jb)", "Warning: the endpoint has 2 network volumes", "Warning: the Client's volume is in EU-RO-1"} {
		if !strings.Contains(out, says) {
			t.Errorf("%q is not in %s", says, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
}

func TestHoldForAWhile(t *testing.T) {
	srv := world(t, false)
	if out := do(t, "hold", "-n", "2", "-for", "50ms"); !strings.Contains(out, "Holding 2 workers for 50ms") || !strings.Contains(out, "Released. Held for") {
		t.Error(out)
	}
	minimum(t, srv, 0)
}

func TestInterruptedHoldIsReleased(t *testing.T) {
	srv := world(t, true)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"hold", "-n", "2", "-for", "1h"}, in)
		in.Close()
	}()
	head := make([]byte, 8)
	if _, err := io.ReadFull(out, head); err != nil {
		t.Fatal(err)
	}
	minimum(t, srv, 2)
	interrupt()
	go io.Copy(io.Discard, out)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	minimum(t, srv, 0)
}

// A process that is really killed leaves the minimum raised; its record, on the
// volume or in a file, leads back.
func TestKilledHold(t *testing.T) {
	for name, withVolume := range map[string]bool{"volume": true, "file": false} {
		t.Run(name, func(t *testing.T) {
			srv := world(t, withVolume)
			cmd := exec.Command(os.Args[0], "hold", "-n", "3", "-for", "1h")
			cmd.Env = append(os.Environ(), "RUNPOD_WORKERS_TEST=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			head := make([]byte, len("Holding 3 workers"))
			if _, err := io.ReadFull(out, head); err != nil {
				t.Error(err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			minimum(t, srv, 3)
			if text := do(t, "list"); !strings.Contains(text, "1 holds recorded\n  3 workers since") {
				t.Error(text)
			}
			if text := do(t, "release"); !strings.Contains(text, "0 holds cleared\n1 holds recorded") || !strings.Contains(text, "minimum 3") {
				t.Errorf("a record that may be a living process's was cleared:\n%s", text)
			}
			if text := do(t, "release", "-all"); !strings.Contains(text, "1 holds cleared") || !strings.Contains(text, "minimum 0") {
				t.Error(text)
			}
			minimum(t, srv, 0)
		})
	}
}

func TestRefused(t *testing.T) {
	world(t, false)
	for args, says := range map[string]string{
		"up": `"up"`, "set": "-min", "hold -n 2": "-for", "hold -for 1m": "-n", "list x": `"x"`, "set -min 9": "min", "hold -n 9 -for 1s": "maximum is 3",
	} {
		if err := run(t.Context(), strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	t.Setenv("RUNPOD_ENDPOINT_ID", "")
	if err := run(t.Context(), []string{"list"}, io.Discard); err == nil || !strings.Contains(err.Error(), "RUNPOD_ENDPOINT_ID") {
		t.Errorf("no endpoint: %v", err)
	}
	var out lines
	if err := run(t.Context(), []string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "release") {
		t.Errorf("%v: %s", err, out.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := run(ctx, []string{"list", "-endpoint", "twin"}, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
