package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// everyone is the order of the rows and of the runs in a round.
var everyone = []string{"bare", "runpod", "runpod-md5", "sdk", "sdk-crc32c", "sdk-defaults", "manager", "transfermanager", "minio-go", "boto3", "boto3-defaults", "rclone"}

// compare runs every client in every workload, in turns, and prints.
func compare(rounds int, only, clients []string, stop <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-stop; cancel() }()
	dir, err := os.MkdirTemp(memoryDisk(), "upload-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := makeFiles(dir); err != nil {
		return err
	}
	s, err := startServers(dir)
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Printf("%d processors, %s; the server runs on the same machine: %s\n", runtime.NumCPU(), runtime.Version(), s.name)
	var targets []target
	for _, w := range workloads {
		if only != nil && !slices.Contains(only, w.name) {
			continue
		}
		results, err := runWorkload(ctx, s, w, dir, rounds, clients)
		if err != nil {
			return err
		}
		printTable(w, results)
		targets = append(targets, judge(w, results)...)
	}
	return printTargets(targets)
}

func memoryDisk() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// takesPart reports whether a client can run a workload, and is wanted.
func takesPart(name string, w workload, wanted []string) bool {
	switch {
	case wanted != nil && !slices.Contains(wanted, name):
		return false
	case w.memory:
		return goClients[name] != nil
	case name == "boto3" || name == "boto3-defaults":
		return haveBoto3()
	case name == "rclone":
		return haveRclone()
	case name == "sdk-defaults":
		return w.memory
	}
	return true
}

// runWorkload gives each client's figures of each round.
func runWorkload(ctx context.Context, s *servers, w workload, dir string, rounds int, clients []string) (map[string][]figures, error) {
	results := map[string][]figures{}
	ctx, done := context.WithCancel(ctx)
	defer done()
	url := s.real
	if w.null {
		url = s.null
	}
	if w.rate > 0 {
		var err error
		if url, err = proxy(ctx, url, w.latency, w.rate); err != nil {
			return nil, err
		}
	}
	for range rounds {
		for _, name := range everyone {
			if !takesPart(name, w, clients) {
				continue
			}
			f, err := runClient(ctx, name, w, url, dir)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				fmt.Printf("%s in %s: %v\n", name, w.name, err)
				f = figures{Seconds: math.Inf(1), CPU: math.Inf(1), Opened: -1}
			}
			results[name] = append(results[name], f)
			if err := s.clear(); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// middle is a median over the rounds.
func middle(fs []figures, of func(figures) float64) float64 {
	if len(fs) == 0 {
		return math.NaN()
	}
	var all []float64
	for _, f := range fs {
		all = append(all, of(f))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func seconds(f figures) float64 { return f.Seconds }
func cpu(f figures) float64     { return f.CPU }
func rss(f figures) float64     { return float64(f.RSS) / 1e6 }
func opened(f figures) float64  { return float64(f.Opened) }

func printTable(w workload, results map[string][]figures) {
	fmt.Printf("\n%s: %s\n", w.name, w.what)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "client\trounds\twall s\tCPU s\tRSS MB\tconnections\twall / bare\tCPU / bare\t")
	for _, name := range everyone {
		fs := results[name]
		if len(fs) == 0 {
			continue
		}
		conns := fmt.Sprint(middle(fs, opened))
		if middle(fs, opened) < 0 {
			conns = "?"
		}
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.0f\t%s\t%.2f\t%.2f\t\n", name, len(fs), middle(fs, seconds), middle(fs, cpu), middle(fs, rss), conns,
			middle(fs, seconds)/middle(results["bare"], seconds), middle(fs, cpu)/middle(results["bare"], cpu))
	}
	t.Flush()
}

// target is one line to be met.
type target struct {
	what      string
	got, most float64
}

// judge holds the library, with its defaults, against the targets of a workload.
func judge(w workload, results map[string][]figures) (out []target) {
	bareWall, bareCPU := middle(results["bare"], seconds), middle(results["bare"], cpu)
	mine := results["runpod"]
	if len(mine) == 0 {
		return nil
	}
	add := func(what string, got, most float64) {
		out = append(out, target{w.name + ": " + what, got, most})
	}
	if w.memory {
		add("CPU / (bare + checksum)", middle(mine, cpu)/(bareCPU+checksumSeconds(w)), map[string]float64{"cpu-64MB": 1.2, "cpu-1MB": 1.3}[w.name])
		add("CPU / best peer's", middle(mine, cpu)/best(results, cpu, everyone), 1)
		add("CPU / best protected peer's", middle(mine, cpu)/best(results, cpu, protected), 1)
		return out
	}
	add("wall / best peer's", middle(mine, seconds)/best(results, seconds, everyone), 1)
	add("wall / best protected peer's", middle(mine, seconds)/best(results, seconds, protected), 1)
	add("wall / bare", middle(mine, seconds)/bareWall, 1.15)
	if w.name == "mixed" {
		add("connections opened", middle(mine, opened), float64(w.conns))
		add("RSS MB", middle(mine, rss), 150)
	}
	return out
}

// protected are the peers whose bodies carry a checksum, or are signed; the
// others are quicker by what that costs.
var protected = []string{"sdk-crc32c", "sdk-defaults", "minio-go", "boto3", "boto3-defaults", "rclone"}

// best is the median of the best of these peers.
func best(results map[string][]figures, of func(figures) float64, peers []string) float64 {
	least := math.Inf(1)
	for _, name := range peers {
		if fs := results[name]; len(fs) > 0 && name != "bare" && !strings.HasPrefix(name, "runpod") {
			least = min(least, middle(fs, of))
		}
	}
	return least
}

// checksumSeconds measures what the CRC32C of a workload's bytes costs by
// itself.
func checksumSeconds(w workload) float64 {
	callers := w.callers("")
	data := make([]byte, callers[0][0].Size)
	n := 0
	for _, tasks := range callers {
		n += len(tasks)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	start := time.Now()
	for range n {
		crc32.Checksum(data, table)
	}
	return time.Since(start).Seconds()
}

func printTargets(targets []target) error {
	fmt.Println("\nTargets")
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, x := range targets {
		verdict := "met"
		if !(x.got <= x.most) {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\tat most %.2f\n", verdict, x.what, x.got, x.most)
	}
	return t.Flush()
}
