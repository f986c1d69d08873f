package clients

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestCurl(t *testing.T) {
	curl := need(t, "curl")
	s := simulate(t, "-worker", "echo", "-speed", "1000")
	auth := "Authorization: Bearer " + s.Env["RUNPOD_API_KEY"]
	out := s.run(t, s.environ(), curl, "-sS", "-i", "-H", auth, "-d", `{"a":1}`, "https://"+s.EndpointID+".api.runpod.ai/generate")
	if !strings.Contains(out, "HTTP/1.1 200") || !strings.Contains(strings.ToLower(out), "x-runpod-worker-id: ") || !strings.Contains(out, `"path":"/generate"`) {
		t.Errorf("the endpoint: %s", out)
	}
	out = s.run(t, s.environ(), curl, "-sS", "-H", auth, "https://api.runpod.ai/v2/"+s.EndpointID+"/health")
	if !strings.Contains(out, `"inQueue"`) {
		t.Errorf("the job API: %s", out)
	}
	out = s.run(t, s.environ(), curl, "-sS", "-H", auth, "-X", "PATCH", "-d", `{"workers":{"min":1}}`, "https://api.runpod.io/v2/serverless/"+s.EndpointID)
	if !strings.Contains(out, `"min":1`) {
		t.Errorf("the control plane: %s", out)
	}
	out = s.run(t, s.environ(), curl, "-s", "-o", "/dev/null", "-w", "%{http_connect}", "--retry", "0", "https://rest.runpod.io/v1/endpoints")
	if out != "200" {
		t.Errorf("rest.runpod.io: CONNECT got %s", out)
	}
	out = s.run(t, s.environ(), "sh", "-c", curl+" -sS https://example.org/ 2>&1; echo status $?")
	if !strings.Contains(out, "403") || strings.Contains(out, "status 0") {
		t.Errorf("another host: %s", out)
	}
	s.end(t, "example.org")
}

func TestBoto3(t *testing.T) {
	py := python(t, "boto3")
	s := simulate(t, "-worker", "echo")
	t.Log(s.run(t, s.environ(), py, testdata(t, "objects.py")))
	if e := s.end(t); e.Totals.S3Requests < 20 {
		t.Errorf("%d S3 requests", e.Totals.S3Requests)
	}
}

// tree makes a folder of n small files and a large one.
func tree(t *testing.T, n int, large int) string {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, large)
	rand.Read(data)
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("folder %d", i%10), fmt.Sprintf("file+%d.bin", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data[i:i+2000], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large.bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAWSCommandLine(t *testing.T) {
	aws := need(t, "aws")
	s := simulate(t, "-worker", "echo")
	dir, back := tree(t, 20, 20_000_000), filepath.Join(t.TempDir(), "back")
	bucket := "s3://" + s.Env["RUNPOD_S3_BUCKET_NAME"]
	call := func(args ...string) string {
		t.Helper()
		return s.run(t, s.environ(), aws, append(append([]string{"s3"}, args...), "--endpoint-url", s.Env["RUNPOD_S3_ENDPOINT_URL"])...)
	}
	call("cp", filepath.Join(dir, "large.bin"), bucket+"/one/large.bin", "--no-progress")
	call("sync", dir, bucket+"/dir", "--no-progress")
	if out := call("ls", bucket+"/dir/"); strings.Count(out, "PRE folder ") != 10 || !strings.Contains(out, "20000000 large.bin") {
		t.Errorf("ls: %s", out)
	}
	if out := call("ls"); !strings.Contains(out, s.Env["RUNPOD_S3_BUCKET_NAME"]) {
		t.Errorf("ls of buckets: %s", out)
	}
	if out := call("sync", dir, bucket+"/dir", "--no-progress"); out != "" {
		t.Errorf("a second sync sent: %s", out)
	}
	call("sync", bucket+"/dir", back, "--no-progress")
	s.run(t, s.environ(), "diff", "-r", dir, back)
	call("mv", bucket+"/one/large.bin", bucket+"/two/large.bin", "--no-progress")
	call("rm", bucket+"/dir", "--recursive")
	if out := call("ls", bucket, "--recursive"); !strings.Contains(out, "two/large.bin") || strings.Contains(out, ".bin\n") && strings.Count(out, ".bin") != 1 {
		t.Errorf("left: %s", out)
	}
	s.end(t)
}

func TestRclone(t *testing.T) {
	rclone := need(t, "rclone")
	s := simulate(t, "-worker", "echo")
	dir := tree(t, 200, 100_000_000)
	remote := fmt.Sprintf(":s3,provider=Other,env_auth=true,region=%s,endpoint='%s',no_check_bucket=true:%s",
		s.Env["RUNPOD_S3_REGION"], s.Env["RUNPOD_S3_ENDPOINT_URL"], s.Env["RUNPOD_S3_BUCKET_NAME"])
	env := append(s.environ("AWS_CA_BUNDLE"), "RCLONE_CONFIG=/dev/null")
	s.run(t, env, rclone, "copy", dir, remote+"/rc")
	if out := s.run(t, env, rclone, "check", dir, remote+"/rc"); !strings.Contains(out, "0 differences found") || !strings.Contains(out, "201 matching files") {
		t.Errorf("check: %s", out)
	}
	if out := s.run(t, env, rclone, "ls", remote+"/rc"); strings.Count(out, "\n") != 201 {
		t.Errorf("ls shows %d files", strings.Count(out, "\n"))
	}
	s.run(t, env, rclone, "delete", remote+"/rc")
	if out := s.run(t, env, rclone, "ls", remote+"/rc"); out != "" {
		t.Errorf("left: %s", out)
	}
	s.end(t)
}

func TestS3cmd(t *testing.T) {
	s3cmd := need(t, "s3cmd")
	s := simulate(t, "-worker", "echo")
	dir, back := tree(t, 10, 20_000_000), filepath.Join(t.TempDir(), "back")
	bucket := "s3://" + s.Env["RUNPOD_S3_BUCKET_NAME"]
	call := func(args ...string) string {
		t.Helper()
		return s.run(t, s.environ(), s3cmd, append([]string{"-c", s.Files.S3cmd, "--no-progress"}, args...)...)
	}
	call("sync", dir+"/", bucket+"/dir/")
	if out := call("ls", bucket+"/dir/"); strings.Count(out, "DIR") != 10 || !strings.Contains(out, "large.bin") {
		t.Errorf("ls: %s", out)
	}
	call("sync", bucket+"/dir/", back+"/")
	s.run(t, s.environ(), "diff", "-r", dir, back)
	call("put", filepath.Join(dir, "large.bin"), bucket+"/one")
	call("cp", bucket+"/one", bucket+"/two")
	call("get", bucket+"/two", filepath.Join(s.home, "two"))
	s.run(t, s.environ(), "cmp", filepath.Join(dir, "large.bin"), filepath.Join(s.home, "two"))
	call("del", bucket+"/one")
	call("del", bucket+"/two")
	if out := call("ls", bucket+"/"); strings.Contains(out, "one") || strings.Contains(out, "two") {
		t.Errorf("left: %s", out)
	}
	// DeleteObjects, which the service has not, is refused by name.
	if out := s.run(t, s.environ(), "sh", "-c", s3cmd+" -c "+s.Files.S3cmd+" del -r "+bucket+"/dir/ 2>&1; true"); !strings.Contains(out, "DeleteObjects is not supported") {
		t.Errorf("del -r: %s", out)
	}
	s.end(t)
}

func TestJavaScriptSDK(t *testing.T) {
	node := need(t, "node")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	sdk := filepath.Join(cache, "runpod-go-clients", "node_modules", "runpod-sdk")
	if _, err := os.Stat(sdk); err != nil {
		t.Skip("runpod-sdk is not installed; .ci/clients installs it")
	}
	s := simulate(t, "-worker", "echo", "-speed", "50")
	env := append(s.environ(), "NODE_OPTIONS=--require="+s.Files.NodePreload)
	if out := s.run(t, env, node, testdata(t, "jobs.mjs"), sdk); !strings.Contains(out, "ok") {
		t.Errorf("%s", out)
	}
	e := s.end(t, "example.org")
	if e.Passed["api.runpod.ai"] < 7 || e.Refused["example.org"] != 1 {
		t.Errorf("passed %v, refused %v", e.Passed, e.Refused)
	}
}

// TestQuickstart runs the README's program against the printed addresses, and
// through the proxy as against the live service.
func TestQuickstart(t *testing.T) {
	person, garment := photographs(t)
	for name, args := range map[string][]string{"addresses": nil, "proxy": {"-proxy"}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, append([]string{"-speed", "50"}, args...)...)
			s.run(t, s.environ(), "cp", person, "person.jpg")
			s.run(t, s.environ(), "cp", garment, "garment.jpg")
			if out := s.run(t, s.environ(), program("quickstart")); !strings.Contains(out, "result.jpg is here") {
				t.Errorf("%s", out)
			}
			if picture, err := os.ReadFile(filepath.Join(s.home, "result.jpg")); err != nil || !bytes.HasPrefix(picture, []byte("\xff\xd8\xff")) {
				t.Errorf("the picture: %d bytes, %v", len(picture), err)
			}
			s.cmd.Process.Signal(os.Interrupt)
			if err := s.cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// photographs returns the paths of a person's and of a garment's.
func photographs(t *testing.T) (person, garment string) {
	t.Helper()
	paths := make([]string, 2)
	for i, pattern := range []string{"person/*.jpg", "garment/*.jpg"} {
		found, err := filepath.Glob("../burst/tryon/photos/" + pattern)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("no photograph %s", pattern)
		}
		if err == nil {
			paths[i], err = filepath.Abs(found[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return paths[0], paths[1]
}

// TestPythonRoundTrips is the second stress test: what the live service did to 26
// and 28 of 30 it does here too.
func TestPythonRoundTrips(t *testing.T) {
	py := python(t, "boto3, httpx")
	person, garment := photographs(t)
	const speed = 10 // a tenth of a second more in refusing is a second of the service's
	s := simulate(t, "-preset", "run2", "-speed", fmt.Sprint(speed))
	out := s.run(t, s.environ(), py, testdata(t, "roundtrips.py"), person, garment)
	succeeded, refused := 0, 0
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var r struct {
			Status  int
			Seconds float64
			Picture int
			Text    string
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		switch {
		case r.Status == 200 && r.Picture > 1000:
			succeeded++
		case r.Status == 400 && strings.Contains(r.Text, "no workers available"):
			refused++
			t.Logf("refused after %.1f s of the service's time, as the client saw it", r.Seconds*speed)
		default:
			t.Errorf("%+v", r)
		}
	}
	t.Logf("%d of 30 succeeded, %d refused", succeeded, refused)
	if succeeded < 25 || succeeded > 29 || succeeded+refused != 30 {
		t.Errorf("%d of 30 succeeded, %d were refused; want 25 to 29", succeeded, refused)
	}
	e := s.end(t)
	if e.Totals.Succeeded != succeeded || e.Totals.Refused != refused {
		t.Errorf("the account says %d and %d", e.Totals.Succeeded, e.Totals.Refused)
	}
	for _, r := range requests(t, s.account) {
		if took := r.Ended - r.Waiting; r.Outcome == runpodtest.OutcomeRefused && (took < 120*time.Second || took > 121*time.Second) {
			t.Errorf("refused after %v", took)
		}
	}
}

// requests reads an account.
func requests(t *testing.T, name string) (all []runpodtest.Request) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var l struct{ Request *runpodtest.Request }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if l.Request != nil {
			all = append(all, *l.Request)
		}
	}
	return all
}
