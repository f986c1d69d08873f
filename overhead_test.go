package runpod

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/internal/cputime"
	"github.com/hashicorp/go-retryablehttp"
)

// overheadServer answers at once. It runs in a process of its own, so that only
// the client's side is measured.
const overheadServer = "RUNPOD_TEST_OVERHEAD_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(overheadServer) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() { // ends with the test that started it
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(workerIDHeader, "w1")
		if n, err := strconv.ParseInt(r.URL.Query().Get("stream"), 10, 64); err == nil {
			writeStream(w, n)
			return
		}
		io.WriteString(w, `{"ok":true}`)
	}))
}

func startOverheadServer(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), overheadServer+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stdin.Close(); cmd.Wait() })
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return "http://" + strings.TrimSpace(addr)
}

// BenchmarkOverhead measures the whole path of Do against http.Client.Do, both
// with ReadAll, on a server that answers at once: allocations a request more,
// and processor time as a ratio, the median of alternating rounds.
func BenchmarkOverhead(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			measureOverhead(b, goroutines, func(c *Client) doer { return c.Do })
		})
	}
}

// BenchmarkOverheadFloor is BenchmarkOverhead for the least that a client can be
// which is built on go-retryablehttp and hears from net/http whether a request
// was written: no verdict, no limit, no place, no record.
func BenchmarkOverheadFloor(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			transport := &http.Transport{MaxIdleConnsPerHost: goroutines, Protocols: http1()}
			defer transport.CloseIdleConnections()
			loop := &retryablehttp.Client{
				HTTPClient: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					hooks := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {}, WroteHeaders: func() {}}
					return transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), hooks)))
				})},
				CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
			}
			measureOverhead(b, goroutines, func(*Client) doer {
				return func(req *http.Request) (*http.Response, error) { return loop.Do(&retryablehttp.Request{Request: req}) }
			})
		})
	}
}

type doer = func(*http.Request) (*http.Response, error)

func measureOverhead(b *testing.B, goroutines int, of func(*Client) doer) {
	const rounds = 10
	url := startOverheadServer(b)
	plain := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: goroutines, Protocols: http1()}}
	defer plain.CloseIdleConnections()
	c, err := New(WithAPIKey("key"), WithEndpoint(url), WithMaxInFlight(goroutines), WithHTTPTransport(&http.Transport{}))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	requests := max(2000, b.N/rounds)
	ours := of(c)
	run := func(do doer) (cpu time.Duration, allocs float64) {
		var wg sync.WaitGroup
		before, cpuBefore := mallocs(), cputime.Used()
		for range goroutines {
			wg.Go(func() {
				for range requests / goroutines {
					req, _ := http.NewRequest("POST", url+"/x", strings.NewReader(`{"in":1}`))
					req.Header.Set("Authorization", "Bearer key")
					resp, err := do(req)
					if err != nil {
						b.Error(err)
						return
					}
					io.ReadAll(resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		n := float64(requests / goroutines * goroutines)
		return cputime.Used() - cpuBefore, float64(mallocs()-before) / n
	}
	run(plain.Do)
	run(ours)
	var ratios, more []float64
	for range rounds {
		plainCPU, plainAllocs := run(plain.Do)
		cpu, allocs := run(ours)
		ratios = append(ratios, float64(cpu)/float64(plainCPU))
		more = append(more, allocs-plainAllocs)
	}
	b.ReportMetric(median(ratios), "cpu-ratio")
	b.ReportMetric(median(more), "allocs-more/op")
	b.ReportMetric(0, "ns/op")
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
