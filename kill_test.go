package runpod

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

const (
	killPart  = 8 << 20
	killConns = 4
)

// The longer form: go test -run Kill -kill.moments 20 -kill.mb 1024 .
var (
	killMoments = flag.Int("kill.moments", 5, "how often TestKill kills an upload")
	killMB      = flag.Int64("kill.mb", 256, "how large its uploads are, in MiB")
)

// A process that is killed in the middle of an upload leaves it for the next
// one, which sends what was missing and no more.
func TestKill(t *testing.T) {
	if os.Getenv("RUNPOD_TEST_KILL") != "" {
		killedClient(t)
		return
	}
	if testing.Short() {
		t.Skip("it moves 256 MB ten times")
	}
	killSize := *killMB << 20
	cfg := warm()
	cfg.Loopback = true
	srv := newServer(t, cfg)
	parts := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Times: runpodtest.Always, Do: runpodtest.Delay(0)})
	path := filepath.Join(t.TempDir(), "big")
	data := content(int(killSize))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range *killMoments {
		moment := r.Int64N(killSize)
		t.Run(fmt.Sprintf("after %d MB, seed %d", moment>>20, seed), func(t *testing.T) {
			dir, key := t.TempDir(), fmt.Sprint("killed/", round)
			before := parts.Fired()
			runKilled(t, srv, path, dir, key, moment)
			there := partsThere(t, srv, dir)
			first := parts.Fired() - before
			runKilled(t, srv, path, dir, key, -1)
			second := parts.Fired() - before - first
			missing := int(killSize/killPart) - there
			t.Logf("%d parts were there and %d were missing; %d were sent", there, missing, second)
			if second > missing+killConns {
				t.Errorf("%d parts sent, %d were missing", second, missing)
			}
			if !bytes.Equal(stored(t, srv, key), data) {
				t.Error("stored something else")
			}
			if left := append(files(t, dir), remains(t, srv, ".s3compat_uploads")...); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			os.Remove(filepath.Join(srv.VolumeDir, key))
		})
	}
}

// runKilled uploads in a process of its own, which is killed when so many
// bytes have gone; -1: it is not.
func runKilled(t *testing.T, srv *runpodtest.Server, path, dir, key string, after int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "RUNPOD_TEST_KILL="+strings.Join([]string{srv.S3URL, srv.Bucket, srv.AccessKeyID, srv.SecretAccessKey, path, dir, key}, "\n"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = lines.Text()
		if n, err := strconv.ParseInt(said, 10, 64); err == nil && after >= 0 && n > after {
			cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	if after < 0 && err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// killedClient is the process that is killed. It tells how many bytes it has
// read for sending.
func killedClient(t *testing.T) {
	f := strings.Split(os.Getenv("RUNPOD_TEST_KILL"), "\n")
	c, err := New(WithS3Endpoint(f[0], "EU-RO-1", f[1]), WithS3Credentials(f[2], f[3]), WithS3Conns(killConns), WithPartSize(killPart), WithResumeDir(f[5]))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := new(Progress)
	done, quit := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				fmt.Println(p.Now().BytesDone)
			case <-quit:
				return
			}
		}
	}()
	_, err = c.Upload(WithProgress(context.Background(), p), f[6], File(f[4]))
	close(quit)
	<-done
	if err != nil {
		t.Fatal(err)
	}
}

// partsThere asks how many parts the gateway has of the upload that the folder
// tells of.
func partsThere(t *testing.T, srv *runpodtest.Server, dir string) int {
	t.Helper()
	names := files(t, dir)
	if len(names) == 0 {
		return 0 // killed before it began
	}
	text, err := os.ReadFile(filepath.Join(dir, names[0]))
	var u unfinishedUpload
	if err == nil {
		err = json.Unmarshal(text, &u)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	there, err := listParts(t.Context(), c.volume.gw.newTask(t.Context(), "look"), u.Key, u.UploadID)
	if err != nil {
		t.Fatal(err)
	}
	return len(there)
}
