package fleet_test

import (
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

var million = flag.Int("jobs", 0, "run promise 5 with so many jobs, such as 1000000, and print its figures")

// cost is what a run of so many jobs took.
type cost struct {
	jobs                   int
	submit, work, read     time.Duration // on the clock
	cpu                    time.Duration // of the whole process, server and endpoint included, a job
	heap                   uint64        // bytes in use after the run, of clients and server
	disk                   int64         // bytes a job
	submitted, done, ended int
}

func (c cost) String() string {
	n := time.Duration(c.jobs)
	return fmt.Sprintf("%d jobs: submit %s, work %s, read %s, processor %s a job; heap %.1f MB; disk %d B a job",
		c.jobs, c.submit/n, c.work/n, c.read/n, c.cpu, float64(c.heap)/1e6, c.disk)
}

// measure runs n jobs on an endpoint that answers at once.
func measure(t *testing.T, n int) (c cost) {
	t.Helper()
	answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Runpod-Worker-Id", "w1")
		fmt.Fprint(w, `{"ok":true}`)
	}))
	defer answer.Close()
	dir := t.TempDir()
	srv, err := embedded.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	client, err := runpod.New(runpod.WithEndpoint(answer.URL), runpod.WithAPIKey("key"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f := open(t, srv, fleet.Config{Lease: 20 * time.Second})
	before := processor()
	start := time.Now()
	if c.submitted, err = f.Submit(t.Context(), client, jobs(n, numbered(work{}))); err != nil {
		t.Fatal(err)
	}
	c.submit = time.Since(start)
	start = time.Now()
	stop := working(t, f, client, fleet.Slots(16))
	pos := uint64(0)
	for r, err := range f.Results(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c.done++
		pos = r.Pos
	}
	c.work = time.Since(start)
	stop()
	c.cpu = (processor() - before) / time.Duration(n)
	start = time.Now()
	for range f.Results(t.Context()) {
		c.ended++
	}
	c.read = time.Since(start)
	for range f.Results(t.Context(), fleet.From(pos)) {
		t.Error("there is a result behind the last one")
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.jobs, c.heap = n, m.HeapInuse
	f.Close()
	srv.Close()
	c.disk = size(t, dir) / int64(n)
	return c
}

// complete checks that every job was submitted, done and read again.
func (c cost) complete(t *testing.T) {
	t.Helper()
	if c.submitted != c.jobs || c.done != c.jobs || c.ended != c.jobs {
		t.Errorf("of %d jobs %d were submitted, %d and %d read", c.jobs, c.submitted, c.done, c.ended)
	}
}

func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && d.Type().IsRegular() {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Promise 5: a job costs the same however many there are. What is compared is
// processor time: the clock shows the disk and whatever else the machine does.
func TestPromise5AMillionJobs(t *testing.T) {
	if *million > 0 {
		c := measure(t, *million)
		t.Log(c)
		c.complete(t)
		return
	}
	counts := []int{1_000, 10_000, 100_000}
	if testing.Short() || raced {
		counts = []int{500, 2_500}
	}
	measure(t, 300) // the first run of a process pays for more
	first := measure(t, counts[0])
	t.Log(first)
	for _, n := range counts[1:] {
		c := measure(t, n)
		t.Log(c)
		if float64(c.cpu) > 1.5*float64(first.cpu) {
			t.Errorf("a job costs %s of processor time with %d jobs, %s with %d", c.cpu, n, first.cpu, counts[0])
		}
		if c.disk > 1024 {
			t.Errorf("a job takes %d bytes in the server", c.disk)
		}
		c.complete(t)
		// The server keeps some bytes of every subject in memory, clients none.
		if most := first.heap + uint64(n)*1024 + 64<<20; c.heap > most {
			t.Errorf("%d bytes of memory are in use: want at most %d", c.heap, most)
		}
	}
}
