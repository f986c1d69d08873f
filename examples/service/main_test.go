package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"image/jpeg"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// program is the service as a process of its own.
type program struct {
	*exec.Cmd
	url string
	log bytes.Buffer
}

// startProgram runs the service with -live on a simulated endpoint.
func startProgram(t *testing.T, path string, sim *runpodtest.Server) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(path, "-live", "-addr", "127.0.0.1:0")}
	p.Env = []string{
		"RUNPOD_API_KEY=" + sim.APIKey, "RUNPOD_ENDPOINT_URL=" + sim.EndpointURL,
		"RUNPOD_S3_ENDPOINT_URL=" + sim.S3URL, "RUNPOD_S3_REGION=" + sim.Region, "RUNPOD_S3_BUCKET_NAME=" + sim.Bucket,
		"RUNPOD_S3_ACCESS_KEY_ID=" + sim.AccessKeyID, "RUNPOD_S3_SECRET_ACCESS_KEY=" + sim.SecretAccessKey,
	}
	p.Stderr = &p.log
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	first, _ := bufio.NewReader(out).ReadString('\n')
	_, p.url, _ = strings.Cut(strings.TrimSpace(first), "at ")
	if p.url == "" {
		t.Fatalf("it prints %q", first)
	}
	return p
}

// end sends SIGTERM and wants the process to end well.
func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &p.log)
	}
}

// The process gets SIGTERM while ten jobs are at the endpoint, which is cold. It
// ends by itself, and a second process has all ten pictures.
func TestSIGTERMLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "service")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const jobs = 10
	cfg := simulated(1)
	cfg.Loopback, cfg.ColdStart = true, runpodtest.Fixed(0)
	cfg.MaxWorkers = runpodtest.NoWorkers // until the signal is out
	cfg.ServiceTime = runpodtest.Fixed(0)
	sim, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	first := startProgram(t, path, sim)

	ids, ended := make([]string, jobs), make([]chan string, jobs)
	for i := range ids {
		body, kind := formOf(t, file{"person", sample(t, "person/astronaut.jpg")}, file{"garment", sample(t, "garment/coffee.jpg")})
		resp, err := http.Post(first.url+"/tryon", kind, body)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ ID string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %v", resp.Status, err)
		}
		resp.Body.Close()
		ids[i], ended[i] = answer.ID, make(chan string, 1)
		at := make(chan bool)
		go watch(first.url+"/jobs/"+answer.ID+"/events", at, ended[i])
		<-at
	}
	for sim.Stats().PeakInFlight < jobs {
		<-time.After(time.Millisecond) // the last ones are on their way
	}
	var down sync.WaitGroup
	down.Go(func() { first.end(t) })
	for resp := (*http.Response)(nil); resp == nil || resp.StatusCode != http.StatusServiceUnavailable; {
		if resp, err = http.Get(first.url + "/readyz"); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	sim.SetWorkers(0, 3)
	down.Wait()
	for i := range ended {
		if last := <-ended[i]; !strings.Contains(last, `"phase":"done"`) {
			t.Errorf("job %d: the last event is %s", i, last)
		}
	}

	second := startProgram(t, path, sim)
	for _, id := range ids {
		resp, err := http.Get(second.url + "/jobs/" + id + "/result")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jpeg.Decode(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", id, resp.Status, err)
		}
		resp.Body.Close()
	}
	second.end(t)
	entries, err := os.ReadDir(sim.VolumeDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "input-") {
			t.Errorf("%s is left on the volume", e.Name())
		}
	}
}

// watch says when a job is at the endpoint, and what its last event was.
func watch(url string, at chan<- bool, last chan<- string) {
	resp, err := http.Get(url)
	if err != nil {
		last <- err.Error()
		close(at)
		return
	}
	defer resp.Body.Close()
	text, sent := "", false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data: ") {
			text = lines.Text()
		}
		if !sent && strings.Contains(text, `"phase":"sent"`) {
			sent = true
			close(at)
		}
	}
	last <- text
}
