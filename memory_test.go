package runpod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	memoryJobs  = 30
	memorySize  = 200_000_000
	memoryLimit = 300_000_000
)

// Thirty jobs of 200 MB at once stay under 300 MB resident, also where half of
// the inputs are streams. The client is a process of its own, so that the
// server's memory does not count.
func TestMemory(t *testing.T) {
	if os.Getenv("RUNPOD_TEST_MEMORY") != "" {
		memoryClient(t)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("the resident memory is read from /proc")
	}
	if testing.Short() || raceDetector {
		t.Skip("it moves 6 GB, and the race detector takes memory of its own")
	}
	store := &nullStore{objects: map[string]*nullObject{}}
	srv := httptest.NewServer(store)
	defer srv.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
	child.Env = append(os.Environ(), "RUNPOD_TEST_MEMORY="+srv.URL)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, said, _ := strings.Cut(string(out), "resident: ")
	peak, err := strconv.ParseInt(strings.Fields(said + " ?")[0], 10, 64)
	if err != nil {
		t.Fatalf("the client said %s", out)
	}
	t.Logf("%d jobs of %d MB: at most %d MB resident", memoryJobs, memorySize/1_000_000, peak/1_000_000)
	if peak > memoryLimit {
		t.Errorf("%d bytes resident, want at most %d", peak, memoryLimit)
	}
	if store.bytes != memoryJobs*memorySize {
		t.Errorf("%d bytes arrived, want %d", store.bytes, memoryJobs*memorySize)
	}
}

// memoryClient is the process that is measured.
func memoryClient(t *testing.T) {
	url, dir := os.Getenv("RUNPOD_TEST_MEMORY"), t.TempDir()
	c, err := New(WithAPIKey("k"), WithEndpoint(url), WithS3Endpoint(url, "EU-RO-1", "vol"), WithS3Credentials("user_x", "rps_x"),
		WithMaxInFlight(memoryJobs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(dir, "in")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, memorySize)); err != nil {
		t.Fatal(err)
	}
	jobs := func(yield func(Job) bool) {
		for i := range memoryJobs {
			in := File(path)
			if i%2 == 0 {
				in = Reader("stream", -1, func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(io.LimitReader(zeros{}, memorySize)), nil
				})
			}
			job := Job{Inputs: []JobInput{{Input: in}}, Path: "/job", SaveTo: filepath.Join(dir, fmt.Sprint("out", i)),
				Output: func(*Response) (string, error) { return "results/big", nil }}
			if !yield(job) {
				return
			}
		}
	}
	for r, err := range c.RunAll(t.Context(), jobs) {
		if err != nil {
			t.Error(r.JobID, err)
		}
	}
	fmt.Println("resident:", peakMemory(t))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// peakMemory is the most memory that this process ever had resident, in bytes.
func peakMemory(t testing.TB) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kb, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			return n << 10
		}
	}
	t.Fatal("no VmHWM in /proc/self/status")
	return 0
}

// nullStore is a store and an endpoint that keep nothing but names and sizes.
type nullStore struct {
	mu      sync.Mutex
	objects map[string]*nullObject
	bytes   int64
}

type nullObject struct {
	own  string
	size int64
}

func (s *nullStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == "PUT" {
		s.bytes += n
	}
	q := r.URL.Query()
	switch {
	case r.Method == "GET":
		w.Header().Set("Content-Length", "20000000")
		w.Header().Set("ETag", `"e"`)
		s.mu.Unlock()
		io.Copy(w, io.LimitReader(zeros{}, 20_000_000))
		s.mu.Lock()
	case r.Method == "POST" && q.Has("uploads"):
		s.objects[r.URL.Path] = &nullObject{own: r.Header.Get("X-Amz-Meta-" + ownID)}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%d</UploadId></InitiateMultipartUploadResult>", len(s.objects))
	case r.Method == "PUT":
		w.Header().Set("X-Amz-Checksum-Crc32c", r.Header.Get("X-Amz-Checksum-Crc32c"))
		w.Header().Set("ETag", `"e"`)
		if o := s.objects[r.URL.Path]; o != nil {
			o.size += n
		}
	case r.Method == "POST" && q.Has("uploadId"):
		io.WriteString(w, "<CompleteMultipartUploadResult/>")
	case r.Method == "HEAD":
		o := s.objects[r.URL.Path]
		w.Header().Set("X-Amz-Meta-"+ownID, o.own)
		w.Header().Set("Content-Length", strconv.FormatInt(o.size, 10))
	default:
		w.Header().Set("X-Runpod-Worker-Id", "w")
		io.WriteString(w, "{}")
	}
}
