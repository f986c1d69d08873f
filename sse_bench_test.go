package runpod

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// writeStream answers with n bytes in chunks, of no length known before.
func writeStream(w http.ResponseWriter, n int64) {
	chunk := make([]byte, 64<<10)
	for ; n > 0; n -= int64(len(chunk)) {
		if _, err := w.Write(chunk[:min(n, int64(len(chunk)))]); err != nil {
			return
		}
	}
}

// BenchmarkTransportOverhead is BenchmarkOverhead for http.Client over
// Client.Transport.
func BenchmarkTransportOverhead(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			measureOverhead(b, goroutines, func(c *Client) doer { return c.HTTPClient().Do })
		})
	}
}

// BenchmarkStream reads 1 GB through Client.Transport and through a bare
// client, in turn: the throughput as a ratio, the median of the rounds, and by
// how much the heap ever grew.
func BenchmarkStream(b *testing.B) {
	const size, rounds = 1 << 30, 5
	url := fmt.Sprintf("%s/?stream=%d", startOverheadServer(b), int64(size))
	plain := &http.Client{Transport: &http.Transport{Protocols: http1()}}
	defer plain.CloseIdleConnections()
	c, err := New(WithAPIKey("key"), WithEndpoint(url[:len(url)-len(fmt.Sprintf("/?stream=%d", int64(size)))]), WithHTTPTransport(&http.Transport{}))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ours := c.HTTPClient()
	readStream(b, plain, url, size)
	readStream(b, ours, url, size)
	var ratios, speeds []float64
	var grown int64
	for range rounds {
		bare, _ := readStream(b, plain, url, size)
		took, heap := readStream(b, ours, url, size)
		ratios = append(ratios, float64(bare)/float64(took))
		speeds = append(speeds, size/1e6/took.Seconds())
		grown = max(grown, heap)
	}
	b.ReportMetric(median(ratios), "throughput-ratio")
	b.ReportMetric(median(speeds), "MB/s")
	b.ReportMetric(float64(grown)/1024, "heap-growth-KiB")
	b.ReportMetric(0, "ns/op")
}

// readStream reads a stream to its end, and says how far the heap grew over it.
func readStream(b *testing.B, hc *http.Client, url string, size int64) (took time.Duration, grown int64) {
	runtime.GC()
	before := heapNow()
	start := time.Now()
	resp, err := hc.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 64<<10)
	total, next := int64(0), int64(0)
	for err == nil {
		var n int
		n, err = resp.Body.Read(buf)
		if total += int64(n); total >= next {
			grown, next = max(grown, heapNow()-before), next+size/16
		}
	}
	if err != io.EOF || total != size {
		b.Fatalf("%d of %d bytes, %v", total, size, err)
	}
	return time.Since(start), grown
}

func heapNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
