package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// workload is what is uploaded, by how many callers over how many connections.
type workload struct {
	name    string
	what    string
	conns   int
	callers func(dir string) [][]task
	null    bool          // on the server that keeps nothing
	latency time.Duration // more for each request, by a proxy
	rate    int           // bytes a second of each connection; 0: no limit
	memory  bool          // the bodies come from memory: processor time is what counts
}

// task is one object: the file at path, or size bytes from memory.
type task struct {
	Key, Path string
	Size      int64
}

const mb = 1_000_000

var workloads = []workload{
	{name: "150x2MB", what: "150 files of 2 MB, 10 connections", conns: 10, callers: spread(10, 150, "small")},
	{name: "5000x64KB", what: "5,000 files of 64 KB, 16 connections", conns: 16, callers: spread(16, 5000, "tiny")},
	{name: "1x1GB", what: "one file of 1 GB, 8 connections", conns: 8, callers: oneCaller("huge", 1)},
	{name: "mixed", what: "30 callers, each 5 files of 2 MB and one of 200 MB, 10 connections, server that keeps nothing", conns: 10, callers: mixed, null: true},
	{name: "150x2MB-slow", what: "the first through a proxy: 40 ms more, 20 MB/s a connection", conns: 10, callers: spread(10, 150, "small"),
		latency: 40 * time.Millisecond, rate: 20 * mb},
	{name: "1x1GB-slow", what: "the third through a proxy: 40 ms more, 20 MB/s a connection", conns: 8, callers: oneCaller("huge", 1),
		latency: 40 * time.Millisecond, rate: 20 * mb},
	{name: "cpu-64MB", what: "24 bodies of 64 MiB from memory, 4 connections, server that keeps nothing", conns: 4, callers: inMemory(4, 24, 64<<20), null: true, memory: true},
	{name: "cpu-1MB", what: "1,000 bodies of 1 MiB from memory, 4 connections, server that keeps nothing", conns: 4, callers: inMemory(4, 1000, 1<<20), null: true, memory: true},
}

// files are what the workloads need: how many of what size.
var files = map[string]struct {
	n    int
	size int64
}{"small": {150, 2 * mb}, "tiny": {5000, 64_000}, "huge": {1, 1000 * mb}, "large": {1, 200 * mb}}

// makeFiles fills a folder with files that do not repeat.
func makeFiles(dir string) error {
	for kind, f := range files {
		r := rand.NewChaCha8([32]byte{byte(f.n)})
		for i := range f.n {
			if err := makeFile(fileOf(dir, kind, i), r, f.size); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeFile(path string, r *rand.ChaCha8, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for size > 0 {
		b := buf[:min(size, int64(len(buf)))]
		r.Read(b)
		if _, err := f.Write(b); err != nil {
			return err
		}
		size -= int64(len(b))
	}
	return f.Close()
}

func fileOf(dir, kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s-%d", kind, i)) }

func taskOf(dir, kind, key string, i int) task {
	return task{Key: key, Path: fileOf(dir, kind, i), Size: files[kind].size}
}

// spread deals n files out to so many callers.
func spread(callers, n int, kind string) func(string) [][]task {
	return func(dir string) [][]task {
		out := make([][]task, callers)
		for i := range n {
			out[i%callers] = append(out[i%callers], taskOf(dir, kind, fmt.Sprintf("%s/%d", kind, i), i))
		}
		return out
	}
}

func oneCaller(kind string, n int) func(string) [][]task { return spread(1, n, kind) }

func mixed(dir string) [][]task {
	out := make([][]task, 30)
	for c := range out {
		for i := range 5 {
			out[c] = append(out[c], taskOf(dir, "small", fmt.Sprintf("mixed/%d/%d", c, i), c*5+i))
		}
		out[c] = append(out[c], taskOf(dir, "large", fmt.Sprintf("mixed/%d/large", c), 0))
	}
	return out
}

func inMemory(callers, n int, size int64) func(string) [][]task {
	return func(string) [][]task {
		out := make([][]task, callers)
		for i := range n {
			out[i%callers] = append(out[i%callers], task{Key: fmt.Sprintf("memory/%d", i), Size: size})
		}
		return out
	}
}
